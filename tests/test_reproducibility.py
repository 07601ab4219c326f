"""A run on a user's own images: the same bytes anywhere, repeatable on demand, and silent on who is who."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from short_program import leave_unpainted, shorten
from test_dicom import dicom

from clineval.cli import main
from clineval.results import CRATE, hash_folder

pytestmark = pytest.mark.slow

IMAGES = 120
PLANTED = {
    "home": "planted-home-7c1e",
    "user": "planted-user-5d2a",
    "host": "planted-host-91bb",
    "name": "Planted^Jane",
    "identity": "PLANTED-4711",
    "institution": "Planted Clinic",
    "author": "Planted Author",
    "column": "Planted Surname",
}
TAGS = {
    "PatientName": PLANTED["name"],
    "PatientID": PLANTED["identity"],
    "PatientBirthDate": "19440401",
    "PatientAddress": "Planted Street 1",
    "InstitutionName": PLANTED["institution"],
    "ReferringPhysicianName": "Planted^Doctor",
    "StationName": "PLANTED-STATION",
    "AccessionNumber": "PLANTED-ACC-1",
    "StudyDescription": "Planted study",
}
WORDS = (
    "--image-column", "file", "--outcome-column", "pathology", "--positive", "malignant",
    "--group-column", "patient", "--split-column", "part",
)  # fmt: skip
TRAINED = ("--models", "logreg,cnn")  # test_ensemble holds every model to the same bytes in processes


def lesion(index):
    """Speckle with a dark disc, darker and larger where the lesion is malignant."""
    chance = np.random.default_rng(index)
    y, x = np.mgrid[:40, :40]
    malignant = index // 2 % 3 == 0
    centre, radius = 20 + chance.normal(0, 2, 2), 9 + 3 * malignant + chance.normal(0, 2)
    inside = np.hypot(x - centre[0], y - centre[1]) < radius
    grey = 120 - (60 + 15 * malignant) * inside + chance.normal(0, 25, (40, 40))
    return np.clip(grey, 0, 255).astype(np.uint8)


def write_images(home):
    """Two images a patient, one in four a DICOM file; every file says whom it shows; a table names them."""
    folder = home / PLANTED["user"] / "images"
    folder.mkdir(parents=True)
    rows = [("file", "patient", "patient_name", "pathology", "device", "part")]
    for index in range(IMAGES):
        patient = index // 2
        kind = "malignant" if patient % 3 == 0 else "benign"
        part = ("train", "train", "train", "val", "test")[patient // 3 % 5]
        rows.append(
            (f"im{index:03d}", f"p{patient}", PLANTED["column"], kind, f"scanner {patient % 2}", part)
        )
        if index % 4 == 3:
            (folder / f"im{index:03d}.dcm").write_bytes(dicom(lesion(index), **TAGS))
        else:
            said = PngInfo()
            said.add_text("Author", PLANTED["author"])
            Image.fromarray(lesion(index)).save(folder / f"im{index:03d}.png", pnginfo=said)
    with (folder.parent / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder.parent


def planted_here(patch, home):
    for name in ("USER", "LOGNAME", "USERNAME"):
        patch.setenv(name, PLANTED["user"])
    patch.setenv("HOSTNAME", PLANTED["host"])
    patch.setenv("HOME", str(home))
    patch.setattr(socket, "gethostname", lambda: PLANTED["host"])
    patch.setattr("platform.node", lambda: PLANTED["host"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Own images in a telling home, and the results of a run, its validation and its audit beside them."""
    top = tmp_path_factory.mktemp("top")
    home = write_images(top / PLANTED["home"])
    table, folder = str(home / "cohort.csv"), str(home / "images")
    with pytest.MonkeyPatch.context() as patch:
        planted_here(patch, home)
        shorten(patch.setattr)
        images = ["--image-folder", folder, *WORDS[:8]]
        for words in (
            [
                "run",
                "--cohort",
                table,
                "--image-folder",
                folder,
                *WORDS,
                *TRAINED,
                "--jobs",
                "2",
                "--out",
                "run",
            ],
            ["validate", str(top / "run"), table, "--name", "other", *images, "--out", "validate"],
            ["evaluate", str(top / "run" / "predictions.csv"), "--draws", "20", "--out", "evaluate"],
            ["audit", folder, "--out", "audit"],
        ):
            words[-1] = str(top / words[-1])
            if words[0] != "run":  # whose pictures are painted as theirs are
                leave_unpainted(patch.setattr)
            assert main.run_command([*words, "--quiet"]) == 0, words[0]
    return top


def searchable(path):
    """A file's bytes, and what a picture's own fields say once unpacked."""
    yield path.read_bytes()
    if path.suffix == ".png":
        with Image.open(path) as picture:
            yield repr(picture.info).encode()


@pytest.mark.parametrize("kind", ["run", "validate", "evaluate", "audit"])
def test_no_patient_user_host_or_folder_is_named_in_any_byte_of_the_results(place, kind):
    told = [*PLANTED.values(), *TAGS.values(), str(place)]
    files = [path for path in (place / kind).rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        for content in searchable(path):
            for words in told:
                assert words.encode() not in content, (path.name, words)


def test_each_kind_of_results_verifies(place):
    for kind in ("run", "validate", "evaluate", "audit"):
        assert main.run_command(["verify", str(place / kind), "--quiet"]) == 0, kind


def odd_environment(folder):
    """Another locale, time zone, hash seed and number of threads; the locale is built where it can be."""
    odd = {
        "LC_ALL": "tr_TR.UTF-8",
        "LOCPATH": str(folder),
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "77",
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    if shutil.which("localedef"):
        words = ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(folder / "tr_TR.UTF-8")]
        subprocess.run(words, capture_output=True, check=False)
    return {**os.environ, **odd}


def commit_of(results):
    return json.loads((results / "provenance.json").read_text())["commit"]


def test_other_workers_threads_locale_zone_hash_seed_and_folder_give_the_same_bytes(place, tmp_path):
    deep = tmp_path / "another" / "folder"
    deep.mkdir(parents=True)
    home = place / PLANTED["home"] / PLANTED["user"]
    words = ["run", "--cohort", os.path.relpath(home / "cohort.csv", deep)]
    words += [
        "--image-folder",
        os.path.relpath(home / "images", deep),
        *WORDS,
        *TRAINED,
        "--jobs",
        "1",
        "--out",
        "mine",
    ]
    command = [sys.executable, str(Path(__file__).with_name("short_program.py")), *words, "--quiet"]
    environment = odd_environment(tmp_path)
    done = subprocess.run(command, cwd=deep, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    first, second = hash_folder(place / "run"), hash_folder(deep / "mine")
    odd = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    if commit_of(place / "run") != commit_of(deep / "mine"):  # somebody is at work on the program
        odd -= {"report.html", "model_card.md", CRATE}
    assert odd == set()


def test_other_images_are_named_before_anything_is_trained(place, capsys):
    home = place / PLANTED["home"] / PLANTED["user"]
    path = home / "images" / "im000.png"
    kept = path.read_bytes()
    Image.fromarray(lesion(1000)).save(path)
    words = ["--cohort", str(home / "cohort.csv"), "--image-folder", str(home / "images")]
    code = main.run_command(["verify", str(place / "run"), "--retrain", *words])
    told = capsys.readouterr()
    path.write_bytes(kept)
    assert code == 4
    then = json.loads((place / "run" / "provenance.json").read_text())["data"]["sha256"]
    assert f"data: their SHA-256 was {then}, now it is " in told.err
    assert "nothing was trained" in told.err
