"""A user's table of images, checked row by row: file, outcome, patient, split; what identifies a person."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clineval.errors import InputError, listed_columns, option
from clineval.tables.columns import (
    COUNTED_APART,
    MOST_ALIKE,
    TAKEN_FOR_ONE,
    Warn,
    in_other_case,
    named_outcome,
    plain_numbers,
    shortened,
    spelt_alike,
    split_of,
)
from clineval.tables.reading import Origin, read_columns

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
krankenkassennummer krankenkassennr versichertennr sozialversicherungsnummer svnr steuernummer steuerid
personalausweis ausweisnummer fallnummer fallnr wohnort pid accession aadhaar aadhar
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
datum; geb datum; geb dat; versicherten nr; kv nummer; kv nr; sv nummer; sv nr; fall nummer; fall nr;
study uid; series uid; instance uid; study instance; series instance; sop instance; haus nummer;
code postal; date naissance; securite sociale; fecha nacimiento; codigo postal; seguridad social; data
nascita; codice fiscale; data nascimento; data urodzenia; dogum tarihi; tc kimlik; дата рождения
"""
PHRASES = tuple(frozenset(phrase.split()) for phrase in _PHRASES.split(";"))
# Words that say nothing beside the above: "patient's full name", "address line 1", "name of physician".
_NEUTRAL = """
s of the no nr num number nummer numero numer id code line full first last middle given family maiden
birth date day patient patients patienten pat pt person subject participant client mother father parent
relative contact emergency home work primary secondary private personal user doctor physician consultant
dd mm yyyy yy tt jjjj instance uid
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
    words = [word for piece in _pieces(name) for word in _words_in(piece)]
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


_PATIENTS = frozenset(["patient", "patients", "patienten", "person", "subject", "participant"])
_NUMBERS = frozenset(["s", "id", "no", "nr", "num", "number", "nummer", "code", "pseudonym"])


def names_patients(name: str) -> bool:
    """Whether a column's name says that each value is a patient: ``patient``, ``Subject ID``, not ``age``."""
    words = {word for piece in _pieces(name) for word in _words_in(piece)}
    return bool(words & _PATIENTS) and words <= _PATIENTS | _NUMBERS


def independence_warning(column: str, how: str) -> str:
    """A sentence that says that a column which may name patients groups nothing; ``how`` it would."""
    naming = "name it with" if names_patients(column) else "if it names the patient, give"
    return (
        f"Column {column!r} has repeated values, and cases count as independent: {naming} "
        f"{how}, or intervals may be too narrow."
    )


def _pieces(name: str) -> list[str]:
    """The words of a name as its spelling separates them, in small letters without accents."""
    plain = name.replace("ß", "ss").replace("ø", "o").replace("Ø", "O").replace("ł", "l").replace("ı", "i")
    letters = unicodedata.normalize("NFKD", plain)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return [piece.casefold() for piece in _PIECE.findall(unicodedata.normalize("NFC", bare))]


def _words_in(piece: str) -> list[str]:
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


Text = NDArray[np.str_]

RESERVED = ("model", "split", "case", "group", "outcome", "risk", "seed", "fold")  # columns of the tables


@dataclass(frozen=True)
class Columns:
    """Which column of a table means what; ``positive`` is the outcome column's value of the condition."""

    image: str = "image"
    outcome: str = "outcome"
    positive: str = "1"
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class OwnTable:
    """A checked table, one entry per row in every array.

    Attributes
    ----------
    origin : finds the line of a row, for refusals.
    image : the file as the table names it; ``outcome`` : True where the condition is present.
    values : the outcome column's values and how many rows have each.
    group, split : None where no column was named; splits are ``train``, ``val`` and ``test``.
    attributes : every further column, without those whose name says that they identify a patient.
    left_out : the names of those.
    notes : in a sentence each, which columns of numbers were written with decimal commas or units, and which
        have values that differ only in how they are spelt; that an outcome column has more than two values.
    """

    name: str
    origin: Origin
    image: Text
    outcome: NDArray[np.bool_]
    values: Mapping[str, int]
    group: Text | None
    split: Text | None
    attributes: Mapping[str, Text] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def row(self, index: int) -> str:
        """A row as its owner counts it."""
        return self.origin.row(index)

    def select(self, kept: NDArray[np.int64]) -> "OwnTable":
        """The table of some of its rows only."""
        return replace(
            self,
            image=self.image[kept],
            outcome=self.outcome[kept],
            group=None if self.group is None else self.group[kept],
            split=None if self.split is None else self.split[kept],
            attributes={name: values[kept] for name, values in self.attributes.items()},
        )


def read_own_table(path: Path, columns: Columns) -> OwnTable:
    """Read a CSV or Parquet table that names images, and check what can be checked without opening them.

    The columns ``image`` and ``outcome`` are found whatever their case; others as they are named.

    Raises
    ------
    InputError : no such table, no rows, a missing column or cell, the same image twice, the condition's
        value not seen, one class only, a split of another name, or a patient in two splits.
    """
    cells, origin = _cells(path)
    alike = in_other_case(cells, (Columns.image, Columns.outcome))
    columns = replace(
        columns,
        image=alike.get(columns.image, columns.image),
        outcome=alike.get(columns.outcome, columns.outcome),
    )
    named = {
        "--image-column": columns.image,
        "--outcome-column": columns.outcome,
        "--group-column": columns.group,
        "--split-column": columns.split,
    }
    for asked, column in named.items():
        if column is not None and column not in cells:
            raise InputError(
                f"{path.name} has no column {column!r} ({option(asked)}); "
                f"it has {listed_columns(column, cells)}."
            )
    if columns.outcome in (columns.image, columns.group, columns.split):
        raise InputError(
            f"{option('--outcome-column')} needs a column of its own; {columns.outcome!r} means "
            "something else too."
        )
    used = {column: _filled(origin, column, cells[column]) for column in named.values() if column}
    image = used[columns.image]
    _check_once(origin, columns.image, image)
    said: list[str] = []
    outcome, values = _outcome(path.name, columns, used[columns.outcome], warn=said.append)
    group = used[columns.group] if columns.group else None
    split = _split(origin, columns.split, used[columns.split]) if columns.split else None
    if group is not None and split is not None:
        _check_groups(origin, columns, group, split)
    further = {name: values for name, values in cells.items() if name not in used}
    hidden = left_out(further)
    attributes, notes = _plain({name: further[name] for name in further if name not in hidden}, origin)
    notes = (*said, *notes, *_spelt_alike(attributes, {} if group is None else {str(columns.group): group}))
    return OwnTable(path.name, origin, image, outcome, values, group, split, attributes, hidden, notes)


def _plain(further: Mapping[str, Text], origin: Origin) -> tuple[dict[str, Text], tuple[str, ...]]:
    """The further columns under their names in results, numbers in plain writing; what was different."""
    plain = {
        name: plain_numbers(cells, comma_is_decimal=origin.delimiter == ";")
        for name, cells in further.items()
    }
    notes = tuple(
        f"Column {name}: read as numbers, with {words}." for name, (_, words) in plain.items() if words
    )
    return {_own_name(name): cells for name, (cells, _) in plain.items()}, notes


def _spelt_alike(attributes: Mapping[str, Text], groups: Mapping[str, Text]) -> Iterator[str]:
    """A sentence for each column of which some values differ only in how they are spelt."""
    for most, named in ((MOST_ALIKE, attributes), (None, groups)):
        for name, cells in named.items():
            if words := spelt_alike(pa.array(cells), most=most):
                yield f"Column {name}: {words}, and {COUNTED_APART}"
            if most is None and (words := shortened(pa.array(cells))):
                yield f"Column {name}: {words}, {TAKEN_FOR_ONE}"


def _cells(path: Path) -> tuple[dict[str, Text], Origin]:
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "is not there"
        raise InputError(f"{path} {state}; name a CSV or Parquet table with one row per image.")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty; a header line and one row per image are needed.")
    found, origin = read_columns(path)
    cells = {name: np.array([_text(cell) for cell in column.to_pylist()]) for name, column in found.items()}
    if not len(next(iter(cells.values()), ())):
        raise InputError(f"{path.name} has a header but no rows; one row per image is needed.")
    return cells, origin


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _filled(origin: Origin, column: str, values: Text) -> Text:
    empty = np.flatnonzero(values == "")
    if len(empty):
        raise InputError(
            f"{origin.row(int(empty[0]))}, column {column!r}: a value is needed; got nothing"
            f"{_and_more(len(empty))}. Fill the cell or take the row out."
        )
    return values


def _check_once(origin: Origin, column: str, image: Text) -> None:
    first: dict[str, int] = {}
    for index, value in enumerate(image.tolist()):
        earlier = first.setdefault(value, index)
        if earlier != index:
            raise InputError(
                f"{origin.row(index)}, column {column!r}: image {value!r} stands twice (first in row "
                f"{earlier + 1}); keep one row per image."
            )


def _outcome(
    name: str, columns: Columns, given: Text, *, warn: Warn
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    seen, code, count = np.unique(given, return_inverse=True, return_counts=True)
    place = f"{name}, column {columns.outcome!r}"
    outcome = named_outcome(seen, count, columns.positive, place=place, warn=warn)[code]
    if outcome.all():
        raise InputError(f"{place}: expected both classes; every row says {columns.positive!r}.")
    return outcome, dict(zip(seen.tolist(), count.tolist(), strict=True))


def _split(origin: Origin, column: str, given: Text) -> Text:
    meant = {word: split_of(word) for word in np.unique(given).tolist()}
    for index, value in enumerate(given.tolist()):
        if meant[value] is None:
            raise InputError(
                f"{origin.row(index)}, column {column!r}: expected train, val or test, got {value!r}."
            )
    return np.array([meant[value] for value in given.tolist()])


def _check_groups(origin: Origin, columns: Columns, group: Text, split: Text) -> None:
    first: dict[str, int] = {}
    for index, who in enumerate(group.tolist()):
        earlier = first.setdefault(who, index)
        if split[earlier] != split[index]:
            raise InputError(
                f"{origin.row(index)}: {columns.group} {who!r} is in {split[index]} here and in "
                f"{split[earlier]} in row {earlier + 1}; keep all images of a patient in one split."
            )


def _and_more(count: int) -> str:
    return f" (and in {count - 1} rows more)" if count > 1 else ""


def _own_name(name: str) -> str:
    return f"own_{name}" if name in RESERVED else name
