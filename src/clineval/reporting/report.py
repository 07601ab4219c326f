"""One self-contained page that a clinician can read, made from what lies in a results folder."""

from pathlib import Path

from clineval.evaluation.curves import Curves

FILE = "report.html"


def write_report(folder: Path, *, curves: Curves | None = None) -> Path:
    """Write ``report.html`` from the artefacts in ``folder``; sections without their artefact are left out."""
    raise NotImplementedError
