"""Columns that identify a person are known by the words of their names, in several languages."""

import json
import subprocess

import pandas as pd
import pytest

from clineval.cli import main
from clineval.tables.own_table import Columns, identifies, read_own_table

PEOPLE = (
    "Patient's Name", "NHS No", "full_name", "Nachname", "ZIP", "MRN", "name", "PatientName",
    "patientbirthdate",
    "DateOfBirth", "DOB", "date_of_birth", "Geburtsdatum", "geb. Datum", "Straße", "PLZ", "prénom", "Nom",
    "Fecha de nacimiento", "Código postal", "Apellidos", "nhsnumber", "NHSNumber", "phone", "Phone number",
    "E-Mail", "email address", "Telefonnummer", "姓名", "出生日期", "фамилия", "Дата рождения",
    "födelsedatum",
    "patient_id", "PatientID", "hospital number", "address line 1", "Postal Code", "LASTNAME", "Family Name",
    "name of referring physician", "social security number", "Imię", "codice fiscale", "Vor- und Nachname",
    "mother's name", "ssn_last4", "CPR-nummer", "生年月日", "username", "Name (patient)",
    "Geb.-Dat.", "DOB (dd.mm.yyyy)", "Krankenkassennummer", "Versicherten-Nr", "KV-Nummer", "svnr", "Fallnr",
    "accession", "StudyInstanceUID", "Series Instance UID", "study_uid", "pid", "Aadhaar No", "Wohnort",
)  # fmt: skip
OTHERS = (
    "scanner_name", "age", "birth_weight", "birthweight", "site", "device", "model name", "file name",
    "filename", "phone_model", "denominator", "denom", "genome", "hospital", "image_name", "lesion name",
    "side", "BIRADS", "manufacturer", "histology", "density", "patient", "patient_age", "number", "id",
    "date", "study date", "day", "code", "line", "case_id", "dataset_name", "first", "nominal", "",
    "instance", "uid", "study", "fall", "rapid", "birth_year", "accession_year",
)  # fmt: skip


@pytest.mark.parametrize("name", PEOPLE)
def test_a_name_that_identifies_is_known(name):
    assert identifies(name)


@pytest.mark.parametrize("name", OTHERS)
def test_a_name_that_says_something_else_is_kept(name):
    assert not identifies(name)


def test_evaluate_publishes_no_such_column_and_says_so(tmp_path, capsys):
    rows = range(40)
    pd.DataFrame(
        {
            "case": [f"c{k}" for k in rows],
            "outcome": [k % 2 for k in rows],
            "risk": [(k * 7 % 40) / 40 for k in rows],
            "Patient's Name": [f"secret {k}" for k in rows],
            "NHS No": ["943 476 5919"] * 40,
            "site": [f"s{k % 4 // 2}" for k in rows],
        }
    ).to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    assert main.run_command(["evaluate", str(tmp_path / "t.csv"), "--draws", "20", "--out", str(out)]) == 0
    said = "Columns left out because their names say that they identify people: Patient's Name, NHS No."
    assert said in capsys.readouterr().err
    (grouped,) = json.loads((out / "evaluation.json").read_text())["warnings"]
    assert grouped.startswith("Column 'NHS No' has repeated values, and cases count as independent: if it")
    assert "--group-column &#39;NHS No&#39;" in (out / "report.html").read_text()
    assert said in json.loads((out / "provenance.json").read_text())["data"]["notes"]
    found = subprocess.run(["grep", "-rlE", "secret|943 476", str(out)], capture_output=True, text=True)
    assert found.stdout == ""
    assert "site" in pd.read_csv(out / "predictions.csv").columns


def test_an_outcome_of_three_values_and_values_spelt_in_two_ways_are_noted(tmp_path):
    rows = ["image,outcome,device,patient"]
    rows += [
        f"{n}.png,{n % 3},{('GE Logiq', 'ge  LOGIQ', 'Esaote')[n % 3]},{'pP'[n % 2]}{n // 2}"
        for n in range(9)
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    notes = read_own_table(tmp_path / "t.csv", Columns(group="patient")).notes
    assert (
        "'1' means the condition; every other value counts as its absence: '0' (3), '1' (3), '2' (3)."
        in notes[0]
    )
    assert notes[1].startswith("Column device: 'GE Logiq' and 'ge  LOGIQ' differ in nothing but case")
    assert "Column patient: 'p0' and 'P0'" in notes[2]
