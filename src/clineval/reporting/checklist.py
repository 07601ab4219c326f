"""TRIPOD+AI, CLAIM 2024 and STARD-AI row by row: done, needs the author's words, or not applicable."""

from pathlib import Path

FILE = "checklist.csv"


def write_checklist(folder: Path) -> Path:
    """Write ``checklist.csv`` from the artefacts in ``folder``."""
    raise NotImplementedError
