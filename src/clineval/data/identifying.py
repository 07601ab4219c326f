"""Columns whose names say that they identify a person, in several languages; none of them is published."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

# Words that identify, written without accents, and phrases of which every word must occur.
_WORDS = """
name names surname surnames forename firstname lastname middlename fullname maidenname nickname username
initials birthdate birthday birthdates dob address addresses street postcode postcodes zip zipcode phone
phones telephone tel mobile cellphone fax email emails mail ssn nhs mrn chi passport licence_number
nachname vorname nachnamen vornamen familienname geburtsname geburtsdatum geburtstag geb gebdat gebdatum
adresse anschrift strasse plz postleitzahl telefon telefonnummer handy handynummer versichertennummer
krankenversicherungsnummer kvnr ahv nom noms prenom prenoms rue courriel telephones nir ipp nombre nombres
apellido apellidos direccion domicilio calle telefono telefonos correo dni nie cedula curp cognome nome
nomi indirizzo cellulare codicefiscale sobrenome apelido endereco morada telefone cpf cep naam voornaam
achternaam geboortedatum adres straat telefoon telefoonnummer bsn namn fornamn efternamn personnummer
fodelsedatum navn fornavn etternavn efternavn cpr fodselsdato fodselsnummer personnr imie nazwisko pesel
telefonu soyad soyadi tckimlik фамилия имя отчество фио адрес телефон снилс 姓名 名字 出生日期 身份证
身份证号 电话 手机 地址 邮编 氏名 名前 生年月日 住所 電話番号 이름 성명 생년월일 주소 전화 الاسم
"""
WORDS = frozenset(_WORDS.split())
_PHRASES = """
birth date; birth day; born on; social security; postal code; post code; medical record; hospital number;
hospital no; national id; national number; insurance number; insurance id; health card; patient id;
patient number; patient no; patient nr; patienten nr; patienten id; accession number; case note; geburts
datum; geb datum; haus nummer; code postal; date naissance; securite sociale; fecha nacimiento; codigo
postal; seguridad social; data nascita; codice fiscale; data nascimento; data urodzenia; dogum tarihi; tc
kimlik; дата рождения
"""
PHRASES = tuple(frozenset(phrase.split()) for phrase in _PHRASES.split(";"))
# Words that say nothing beside the above: "patient's full name", "address line 1", "name of physician".
_NEUTRAL = """
s of the no nr num number nummer numero numer id code line full first last middle given family maiden
birth date day patient patients patienten pat pt person subject participant client mother father parent
relative contact emergency home work primary secondary private personal user doctor physician consultant
referring treating operator reader staff gp next kin vor and und et y e de der des del du di da do la le
las los des l d
"""
NEUTRAL = frozenset(_NEUTRAL.split())
_PIECE = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+")
_SHORTEST = 3  # letters of a word that is recognised inside another one, as in "patientname"


@cache
def identifies(name: str) -> bool:
    """Whether a column's name says that it identifies a person.

    The words of the name decide, however they are joined or spelt: ``Patient's Name``, ``NHS No``,
    ``full_name``, ``dateOfBirth``, ``Nachname``. A name with any other word in it, such as
    ``scanner_name`` or ``phone_model``, does not identify.

    Examples
    --------
    >>> [identifies(name) for name in ("Patient's Name", "ZIP", "Date de naissance", "MRN")]
    [True, True, True, True]
    >>> [identifies(name) for name in ("scanner name", "age", "birth weight", "site")]
    [False, False, False, False]
    """
    words = [word for piece in _pieces(name) for word in _split(piece)]
    kinds = {word: word in WORDS for word in words}
    phrased = set().union(*(phrase for phrase in PHRASES if phrase <= kinds.keys()))
    if not phrased and not any(kinds.values()):
        return False
    return all(known or word in phrased or word in NEUTRAL for word, known in kinds.items())


def left_out(names: Iterable[str]) -> tuple[str, ...]:
    """Those of some columns' names that identify a person."""
    return tuple(name for name in names if identifies(name))


NOTE = "Columns left out because their names say that they identify people: "


def note(names: Iterable[str]) -> str:
    """A sentence that says which columns were left out; empty where none was."""
    listed = ", ".join(names)
    return f"{NOTE}{listed}." if listed else ""


def _pieces(name: str) -> list[str]:
    """The words of a name as its spelling separates them, in small letters without accents."""
    plain = name.replace("ß", "ss").replace("ø", "o").replace("Ø", "O").replace("ł", "l").replace("ı", "i")
    letters = unicodedata.normalize("NFKD", plain)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return [piece.casefold() for piece in _PIECE.findall(unicodedata.normalize("NFC", bare))]


def _split(piece: str) -> list[str]:
    """The known words that a piece is joined from, as in "patientname"; the piece itself where it is not."""
    if piece in WORDS or piece in NEUTRAL or len(piece) < 2 * _SHORTEST:
        return [piece]
    ways: dict[int, list[str]] = {0: []}
    for end in range(_SHORTEST, len(piece) + 1):
        for start in [place for place in ways if end - place >= 2]:
            part = piece[start:end]
            joins = len(part) >= _SHORTEST or part in ("of", "no", "id", "nr")
            if joins and end not in ways and (part in WORDS or part in NEUTRAL):
                ways[end] = [*ways[start], part]
    return ways.get(len(piece), [piece])
