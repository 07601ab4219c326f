"""A model card in the Hugging Face layout, filled from the same numbers as the report."""

from pathlib import Path

FILE = "model_card.md"


def write_model_card(folder: Path) -> Path:
    """Write ``model_card.md`` from the artefacts in ``folder``."""
    raise NotImplementedError
