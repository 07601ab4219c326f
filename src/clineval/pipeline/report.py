"""The report written again from a results folder, its provenance kept in step."""

import shutil
from pathlib import Path

from clineval import results as provenance
from clineval.errors import InputError
from clineval.pipeline.run import write_words
from clineval.results.folder import foreign_entries, replace_folder, require_results

WORDS = ("report.html", "checklist.csv", "model_card.md")


def rewrite_report(results: Path, *, force: bool = False) -> Path:
    """Write report, checklist and model card again; return the report's path.

    Every other artefact keeps the hash that the run gave it, so that tampering stays visible.

    Parameters
    ----------
    force : write into a published record, too.

    Raises
    ------
    InputError : ``results`` is published, or not a whole results folder, or a file in it is of another
        schema.
    """
    require_results(results, provenance.FILE, "evaluation.json", "predictions.csv")
    record = provenance.read_provenance(results / provenance.FILE)
    if record["kind"] == "adopt":
        raise InputError(
            f"{results} holds an adoption, whose page is adoption.html: no report is made of the cases that "
            "fitted it. Validate it on other patients with: clineval validate"
        )
    foreign = [*foreign_entries(results), *(name for name in WORDS if (results / name).is_dir())]
    if foreign:
        raise InputError(
            f"{results} holds {', '.join(foreign[:10])}, which no run writes (a link, a pipe, or a folder "
            "where a file belongs); remove it, or write the results again."
        )
    with replace_folder(results, kind=record["kind"], force=force, carries=True) as folder:
        shutil.copytree(results, folder, dirs_exist_ok=True)
        _write_words(folder, results)
        provenance.reseal(folder, record, names=WORDS)
    return results / "report.html"


def _write_words(folder: Path, results: Path) -> None:
    """Write report, checklist and card; what is no results file of this schema is refused by name."""
    try:
        write_words(folder)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{results}: provenance.json or evaluation.json is not of the form that this version reads "
            f"({type(error).__name__}: {error}); write the results again."
        ) from error
