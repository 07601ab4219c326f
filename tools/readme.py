"""Write the numbers of results/ between two marks of README.md, and mark results/ as the published record.

    python tools/readme.py results README.md                  last step of: make results
    python tools/readme.py --external VALIDATION NAME         writes docs/external.json from a validation

The first mark names the SHA-256 of the evaluation.json that is quoted and of the text itself, so that
``clineval verify`` can tell which results a README quotes and whether its numbers were altered since.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clineval.errors import InputError
from clineval.files import hash_file, write_whole
from clineval.pipeline.verify import QUOTATION, marked
from clineval.results.folder import require_results
from clineval.results.provenance import publish

EXTERNAL = Path(__file__).resolve().parents[1] / "docs" / "external.json"
BASELINE = "logreg"
TITLES = {
    "logreg": "logistic regression",
    "cnn": "CNN",
    "scattering": "wavelet scattering",
    "combined": "CNN + wavelet scattering",
}


def with_results(readme: str, results: Path) -> str:
    """The README with its marked part written anew from ``results/evaluation.json``.

    Raises
    ------
    InputError : the README has no marked part, or the results are not whole.
    """
    if not QUOTATION.search(readme):
        raise InputError("The README needs two lines, results:begin and results:end, around its numbers.")
    folder = require_results(results, "evaluation.json", "audit.json")
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    external = json.loads(EXTERNAL.read_text(encoding="utf-8"))
    text = marked(results_in_words(evaluation, external), evaluation=hash_file(folder / "evaluation.json"))
    return QUOTATION.sub(lambda _: text, readme, count=1)


def results_in_words(evaluation: dict[str, Any], external: dict[str, Any]) -> str:
    """A table of four rows and what it means, in Markdown, made from numbers and intervals alone."""
    primary, models = evaluation["primary"]["model"], evaluation["models"]
    rows = [
        (TITLES[primary], "official test", models[primary]["test"]),
        (TITLES[primary], "test without near-duplicates of training images", models[primary]["test_clean"]),
        (TITLES[BASELINE], "official test", models[BASELINE]["test"]),
        (TITLES[external["model"]], f"another hospital: {external['name']}", external),
    ]
    return "\n".join([*_table(rows, evaluation["condition"]), "", *_meaning(evaluation, primary, external)])


def _table(rows: list[tuple[str, str, dict[str, Any]]], condition: str) -> Iterator[str]:
    heads = ("model", f"images ({condition})", "AUC (95 % CI)", "missed per 100", "false alarms per 100")
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---|---|---|"
    for model, images, scored in rows:
        point = _primary_point(scored)
        missed, alarms = (_per_100(point[name]["value"]) for name in ("sensitivity", "specificity"))
        counted = f"{images}, {scored['cases']} ({scored['events']})"
        yield f"| {model} | {counted} | {_interval(scored['auc_logit'])} | {missed} | {alarms} |"


def _meaning(evaluation: dict[str, Any], primary: str, external: dict[str, Any]) -> Iterator[str]:
    gain = _difference(evaluation, (primary, BASELINE))
    point = _primary_point(evaluation["models"][primary]["test"])
    apart = gain["low"] > 0 or gain["high"] < 0
    yield (
        "Missed: of 100 cancers; false alarms: of 100 others. Thresholds were chosen for a sensitivity of "
        "90 % on out-of-fold risks of training images. On the official test the first model finds "
        f"{point['true_positives']} cancers, misses {point['false_negatives']} and raises "
        f"{point['false_positives']} false alarms. Its AUC "
        f"{'is higher than' if apart else 'cannot be distinguished from'} that of logistic regression: "
        f"difference {_interval(gain)}. {_transfer(external)}"
    )
    too_few = evaluation["models"][primary]["test"]["adequacy"]["sentence"].partition(":")[0]
    yield f"\n{too_few}."


def _transfer(external: dict[str, Any]) -> str:
    """Whether the frozen threshold reaches its sensitivity of 90 % in the external cohort."""
    found = _primary_point(external)["sensitivity"]
    if found["high"] < 0.9:
        return (
            f"**It does not transfer**: at another hospital the frozen threshold misses "
            f"{_per_100(found['value'])} of 100 cancers, so a threshold has to be set on local patients."
        )
    return "At another hospital there is no evidence that the frozen threshold finds fewer than 90 %."


def _primary_point(scored: dict[str, Any]) -> dict[str, Any]:
    return next(point for point in scored["operating_points"] if point["name"] == "sensitivity_90")


def _per_100(rate: float) -> str:
    return f"{100 * (1 - rate):.0f}"


def _difference(evaluation: dict[str, Any], models: tuple[str, str]) -> dict[str, Any]:
    """The first model's AUC on test minus the second's."""
    for found in evaluation["comparisons"]:
        if (found["measure"], found["population"]) == ("auc", "test") and set(found["models"]) == set(models):
            return _signed(found["difference"], turned=found["models"][0] != models[0])
    raise InputError(f"evaluation.json compares no AUC of {models[0]} and {models[1]} on test.")


def _signed(estimate: dict[str, Any], *, turned: bool) -> dict[str, Any]:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    return {"value": -value, "low": -high, "high": -low} if turned else estimate


def _interval(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def external_summary(folder: Path, name: str) -> dict[str, Any]:
    """What README quotes of a validation: its primary model's AUC and counts at the frozen threshold."""
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    model = evaluation["primary"]["model"]
    scored = next(scores for key, scores in evaluation["models"][model].items() if not key.startswith("test"))
    kept = {key: scored[key] for key in ("cases", "events", "groups", "auc_logit")}
    return {"name": name, "model": model, **kept, "operating_points": [_primary_point(scored)]}


def main() -> None:
    """Write the numbers of a results folder into a README and mark the folder as published."""
    if sys.argv[1] == "--external":
        summary = external_summary(Path(sys.argv[2]), sys.argv[3])
        write_whole(EXTERNAL, json.dumps(summary, indent=1) + "\n")
        return
    results, readme = Path(sys.argv[1]), Path(sys.argv[2])
    text = with_results(readme.read_text(encoding="utf-8"), results)
    publish(results)
    write_whole(readme, text)


if __name__ == "__main__":
    main()
