"""Write the numbers of results/ between two marks of README.md, and mark results/ as the published record.

    python tools/readme.py results README.md        (last step of: make results)

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

TITLES = {
    "logreg": "logistic regression",
    "cnn": "CNN",
    "scattering": "scattering + SVM",
    "combined": "combined (CNN + scattering)",
    "logreg_deduplicated": "logistic regression trained without near-duplicates",
    "cnn_deduplicated": "CNN trained without near-duplicates",
}
POPULATIONS = {"test": "official test", "test_clean": "clean test"}
POINTS = {"half": "0.5", "sensitivity_90": "chosen for sensitivity .90"}


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
    audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    text = marked(results_in_words(evaluation, audit), evaluation=hash_file(folder / "evaluation.json"))
    return QUOTATION.sub(lambda _: text, readme, count=1)


def results_in_words(evaluation: dict[str, Any], audit: dict[str, Any]) -> str:
    """Tables and sentences, in Markdown, made from the numbers and their intervals alone."""
    models = {name: evaluation["models"][name] for name in TITLES if name in evaluation["models"]}
    parts = [
        *_scores(models, evaluation),
        "",
        *_points(models, evaluation["condition"]),
        "",
        "### What this means in a clinic",
        "",
        *_meaning(models, evaluation),
        "",
        *_split(models, evaluation, audit),
    ]
    return "\n".join(parts)


def _scores(models: dict[str, Any], evaluation: dict[str, Any]) -> Iterator[str]:
    yield (
        f"Positive class: **{evaluation['condition']}**. Intervals: {evaluation['level']:.0%}; AUC with the "
        "logit-transformed DeLong interval, clustered by near-duplicate group."
    )
    yield ""
    yield "| model | population | n (events) | AUC | Brier score | calibration slope |"
    yield "|---|---|---|---|---|---|"
    for name, populations in models.items():
        for population, title in POPULATIONS.items():
            if scored := populations.get(population):
                measures = (scored["auc_logit"], scored["brier"], scored["calibration_slope"])
                cells = " | ".join(_interval(measure) for measure in measures)
                yield f"| {TITLES[name]} | {title} | {scored['cases']} ({scored['events']}) | {cells} |"
    yield ""
    yield from _spread(models)


def _spread(models: dict[str, Any]) -> Iterator[str]:
    for spread in models["cnn"]["test"].get("spread", []):
        if spread["measure"] == "auc":
            yield (
                f"Each of the {len(spread['members'])} networks behind the CNN alone reaches an AUC of "
                f"{spread['mean']:.3f} on average (SD {spread['sd']:.3f}, {spread['lowest']:.3f} to "
                f"{spread['highest']:.3f}) on the official test: the spread over trainings, beside the "
                "intervals over cases."
            )


def _points(models: dict[str, Any], condition: str) -> Iterator[str]:
    yield f"Sensitivity for {condition} at every threshold, official test set:"
    yield ""
    yield "| model | threshold | found | missed | false alarms | sensitivity | specificity | PPV | NPV |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, populations in models.items():
        for point in populations["test"]["operating_points"]:
            if point["threshold"] is None:
                continue
            rates = " | ".join(
                _interval(point[rate]) for rate in ("sensitivity", "specificity", "ppv", "npv")
            )
            counts = (point["true_positives"], point["false_negatives"], point["false_positives"])
            counted = " | ".join(str(count) for count in counts)
            yield f"| {TITLES[name]} | {_threshold(point)} | {counted} | {rates} |"


def _threshold(point: dict[str, Any]) -> str:
    if point["name"] == "half":
        return "0.5 (fixed)"
    return f"{point['threshold']:.3f} ({POINTS.get(point['name'], point['name'])}, on {point['chosen_on']})"


CHOOSING = """\
- **Choosing a threshold.** At 0.5 both kinds of error weigh the same, which is wrong for cancer: a missed
  cancer is worse than a biopsy too many. The second threshold was chosen on out-of-fold risks of the training
  images, never on the test set; that it reaches its target there does not guarantee it here, as the
  intervals show."""


def _meaning(models: dict[str, Any], evaluation: dict[str, Any]) -> Iterator[str]:
    gain = _comparison(evaluation, "auc", "test", ("cnn", "logreg"))
    if gain:
        verdict = _verdict(gain, "a gain", "the interval covers 0, so these cases cannot tell the two apart")
        yield (
            f"- **The AUC gain.** CNN less logistic regression: {_interval(gain)}; {verdict}. "
            "An AUC says how well the two classes are ranked; it names no threshold and no harm."
        )
    yield from _gain_in_counts(models)
    for name in ("logreg", "cnn"):
        yield from _counts_in_words(name, models[name]["test"], evaluation["condition"])
    yield CHOOSING


def _gain_in_counts(models: dict[str, Any]) -> Iterator[str]:
    """What the gain in ranking buys at the thresholds chosen for one sensitivity: errors of each kind."""
    chosen = [_point(models[name]["test"], "sensitivity_90") for name in ("logreg", "cnn")]
    if None in chosen:
        return
    baseline, cnn = chosen
    yield (
        "- **What it buys.** With both thresholds chosen for the same sensitivity, false alarms go from "
        f"{baseline['false_positives']} (logistic regression) to {cnn['false_positives']} (CNN) and missed "
        f"cancers from {baseline['false_negatives']} to {cnn['false_negatives']}. Better ranking may go "
        "into either kind of error; which one is for the clinic to say, by choosing the threshold."
    )


def _point(scored: dict[str, Any], name: str) -> Any:
    found = [point for point in scored["operating_points"] if point["name"] == name]
    return found[0] if found and found[0]["threshold"] is not None else None


def _counts_in_words(name: str, scored: dict[str, Any], condition: str) -> Iterator[str]:
    cases, events = scored["cases"], scored["events"]
    said = []
    for point in scored["operating_points"]:
        if point["threshold"] is not None:
            said.append(
                f"at {point['threshold']:.3g} it finds {point['true_positives']} of {events} {condition} "
                f"lesions, misses {point['false_negatives']}, and raises {point['false_positives']} "
                f"false alarms among {cases - events} others"
            )
    if said:
        yield f"- **{TITLES[name][0].upper() + TITLES[name][1:]}:** {'; '.join(said)}."


def _split(models: dict[str, Any], evaluation: dict[str, Any], audit: dict[str, Any]) -> Iterator[str]:
    yield "### What the official split hides"
    yield ""
    yield (
        f"At similarity {audit['threshold']:.3g} and above, {audit['test_with_twin']} test images have a "
        f"near-duplicate in train or val, {audit['val_with_twin']} validation images one in train, and "
        f"{len(audit['contradictory'])} pairs of the same picture carry opposite labels "
        f"(byte-identical pairs: {len(audit['byte_identical'])}). {audit.get('second_look', '')}".rstrip()
    )
    yield ""
    for name in ("logreg", "cnn"):
        change = _comparison(evaluation, "auc", "test", (f"{name}_deduplicated", name))
        if change:
            verdict = _verdict(change, "a change", "compatible with no inflation by near-duplicates")
            title = TITLES[f"{name}_deduplicated"]
            yield f"- {title}: AUC change on the official test {_interval(change)}; {verdict}."


def _comparison(
    evaluation: dict[str, Any], measure: str, population: str, models: tuple[str, str]
) -> dict[str, Any] | None:
    """The difference of the first model minus the second, turned round where it is stored the other way."""
    for found in evaluation["comparisons"]:
        if (found["measure"], found["population"]) == (measure, population):
            if tuple(found["models"]) == models:
                return dict(found["difference"])
            if tuple(found["models"]) == models[::-1]:
                return _turned(found["difference"])
    return None


def _turned(estimate: dict[str, Any]) -> dict[str, Any]:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    return (
        {**estimate, "value": -value, "low": -high, "high": -low}
        if None not in (value, low, high)
        else estimate
    )


def _verdict(estimate: dict[str, Any], apart: str, covered: str) -> str:
    low, high = estimate["low"], estimate["high"]
    return apart if low is not None and high is not None and (low > 0 or high < 0) else covered


def _interval(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "undefined"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def main() -> None:
    """Write the numbers of a results folder into a README and mark the folder as published."""
    results, readme = Path(sys.argv[1]), Path(sys.argv[2])
    text = with_results(readme.read_text(encoding="utf-8"), results)
    publish(results)
    write_whole(readme, text)


if __name__ == "__main__":
    main()
