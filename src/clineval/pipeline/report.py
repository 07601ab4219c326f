"""The report written anew from a results folder, its provenance kept in step."""

import json
import shutil
from pathlib import Path

from clineval import provenance
from clineval.pipeline.run import write_words
from clineval.run_folder import replace_folder, require_results
from clineval.verify import read_provenance

WORDS = ("report.html", "checklist.csv", "model_card.md")


def rewrite_report(results: Path) -> Path:
    """Write report, checklist and model card anew; return the report's path.

    Every other artefact keeps the hash that the run gave it, so that tampering stays visible.

    Raises
    ------
    Refusal : ``results`` is not a whole results folder, or a file in it is of another schema.
    """
    require_results(results, provenance.FILE, "evaluation.json", "predictions.csv")
    record = read_provenance(results / provenance.FILE)
    with replace_folder(results, kind=record["kind"]) as folder:
        shutil.copytree(results, folder, dirs_exist_ok=True)
        write_words(folder)
        for name in WORDS:
            if (folder / name).is_file():
                record["artefacts"][name] = provenance.hash_file(folder / name)
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (folder / provenance.FILE).write_text(text + "\n", encoding="utf-8")
    return results / "report.html"
