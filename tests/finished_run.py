"""A small finished run and a small external cohort, for the tests of what is done with a run afterwards."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from clineval import results
from clineval.data.phantom import phantom
from clineval.errors import silent
from clineval.pipeline.run import audit_and_group, facts, open_test
from clineval.pipeline.train import train_all, write_tables
from clineval.settings import DataSettings, EvaluationSettings, NetworkSettings, RunSettings, TrainingSettings

SETTINGS = RunSettings(
    data=DataSettings(dataset="phantom"),
    training=TrainingSettings(members=2, network=NetworkSettings(epochs=4)),
    evaluation=EvaluationSettings(draws=60),
)
HEADER = ("id", "patient", "pathology", "device", "side")
WORDS = (
    "--image-column", "id", "--outcome-column", "pathology", "--positive", "malignant",
    "--group-column", "patient",
)  # fmt: skip


def write_run(folder: Path) -> Path:
    """What ``clineval run`` writes of a small phantom set, less figures and words."""
    cohort = phantom(seed=1, cases=(150, 60, 90), reason="a test asked for it")
    folder.mkdir(parents=True)
    findings, cohort = audit_and_group(cohort, SETTINGS, folder)
    models = train_all(
        cohort, findings, SETTINGS, jobs=1, finished=folder.with_name("members"), announce=silent
    )
    write_tables(models, folder)
    open_test(folder, cohort, SETTINGS)
    record = facts("run", ["clineval", "run"], SETTINGS, cohort, results.Recorder())
    results.seal(folder, record)
    return folder


def write_cohort(folder: Path, *, patients: int = 30) -> Path:
    """Two PNG images each of so many patients in ``images``, and their table ``cohort.csv`` beside it.

    Phantoms of another seed with a lower gain, upright with a black band below; every fourth patient's
    second image is square. Device and side are attributes.
    """
    (folder / "images").mkdir(parents=True)
    drawn = phantom(seed=2, cases=(8, 8, 2 * patients))
    test = np.flatnonzero(drawn.within("test"))
    # two images a patient, both with or both without the condition
    ordered = test[np.argsort(~drawn.outcome[test], kind="stable")]
    rows = []
    for place, row in enumerate(ordered):
        patient, second = divmod(place, 2)
        square = second and patient % 4 == 0
        image = drawn.images[row] // 2 + 10
        upright = image if square else np.concatenate([image, np.zeros((6, 28), np.uint8)])
        Image.fromarray(np.kron(upright, np.ones((2, 2), np.uint8))).save(
            folder / "images" / f"im{place:03d}.png"
        )
        outcome = "malignant" if drawn.outcome[row] else "benign"
        rows.append(
            (
                f"im{place:03d}",
                f"p{patient}",
                outcome,
                f"scanner {patient % 2}",
                "left" if second else "right",
            )
        )
    write_table(folder / "cohort.csv", rows)
    return folder


def write_table(path: Path, rows, *, header=HEADER) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]
