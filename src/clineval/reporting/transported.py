"""What ``transport.json`` says, as tables and sentences: a frozen run at home and among other patients."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clineval.evaluation.json_form import to_estimate, to_number
from clineval.refusal import Refusal
from clineval.reporting import wording
from clineval.reporting.subject import population_name
from clineval.reporting.tables import MEASURE_NAMES, Cell, Row, Table, cell, signed
from clineval.reporting.wording import number, percent, whole
from clineval.statistics.intervals import Estimate

HOME, ELSEWHERE = "test", "external"
LOSSES = ("brier", "log_loss")  # of a recalibration's effect; below 0 it helps
SPOKEN = ("combined", "cnn")  # the first of these that is there is spoken of in sentences
SEVERITIES = ("0", "3", "5")  # of a corruption, in the report's table; the file has all
CORRUPTED = {
    "auc": "AUC",
    "sensitivity": "sensitivity at the frozen threshold",
    "specificity": "specificity there",
    "calibration_intercept": "calibration intercept",
}
Content = Mapping[str, Any]


def transported(content: Content) -> dict[str, Any]:
    """The tables and sentences of the section, by the names that its template uses.

    Raises
    ------
    Refusal : the content is not what ``clineval validate`` writes.
    """
    try:
        return {
            "name": content["external"],
            "home": content["internal"],
            "sentences": list(_sentences(content)),
            "drops": _drops(content),
            "points": _points(content),
            "calibration": _calibration(content),
            "repairs": _repairs(content),
            "mix": _mix(content),
            "steps": _steps(content),
            "images": list(_image_sentences(content)),
        }
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise broken(error) from error


def broken(error: Exception) -> Refusal:
    """What to say of a ``transport.json`` that lacks something."""
    return Refusal(f"transport.json is not whole ({error!r}); write it anew with: clineval validate")


def spoken_model(content: Content) -> str:
    """The model that sentences and figures speak of."""
    return spoken(content["models"])


def spoken(models: Iterable[str]) -> str:
    """Of some models the one to be used, which sentences and figures speak of."""
    names = list(models)
    return next((name for name in SPOKEN if name in names), names[0])


def in_order(models: Content) -> list[tuple[str, Any]]:
    """Models with what is known of them, the spoken one first."""
    first = spoken(models)
    return [(first, models[first]), *((name, models[name]) for name in models if name != first)]


def robustness_table(path: Path) -> Table:
    """Discrimination, sensitivity and calibration of the spoken model under each corruption.

    Raises
    ------
    Refusal : the file is not the one that ``clineval validate --corruptions`` writes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
        model = spoken(row["model"] for row in found)
        shown = [row for row in found if row["model"] == model and row["severity"] in SEVERITIES]
        rows = [
            (row["corruption"], row["severity"], *(_read_cell(row, name) for name in CORRUPTED))
            for row in shown
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Refusal(
            f"{path.name} is not whole ({error!r}); write it anew with: clineval validate"
        ) from error
    return Table((f"corruption ({model})", "severity", *CORRUPTED.values()), tuple(rows))


def _read_cell(row: Mapping[str, str], name: str) -> Cell:
    value, low, high = (float(row[f"{name}{end}"] or "nan") for end in ("", "_low", "_high"))
    return cell(Estimate(value, low, high, 0.95, ""), as_percent=name in ("sensitivity", "specificity"))


def _sentences(content: Content) -> Iterator[str]:
    model = spoken_model(content)
    record = content["models"][model]
    if record["drops"]:
        yield _mix_sentence(record, model)
    yield from _repair_sentences(record, model)


def _mix_sentence(record: Content, model: str) -> str:
    home, there = (to_number(record["mix"][where]["expected_auc"]) for where in (HOME, ELSEWHERE))
    said = (
        f"Were every risk true, {model} would reach an AUC of {number(home)} at home and {number(there)} "
        "elsewhere: that much of a difference would be the mix of cases alone."
    )
    measured = (
        record["calibration"][name]["external"] for name in ("observed_expected", "calibration_slope")
    )
    if all(wording.covers(to_estimate(each), 1.0) for each in measured):
        return said
    return (
        f"{said} But its risks are not true elsewhere, as the calibration below shows, so this says little."
    )


def _repair_sentences(record: Content, model: str) -> Iterator[str]:
    first = record["repairs"][0] if record["repairs"] else None
    if first is None or first["reason"]:
        return
    gain = to_estimate(first["changes"]["brier"])
    doubt = "no change can be shown" if wording.covers(gain, 0.0) else "a change beyond chance"
    slope = to_estimate(first["after"]["calibration_slope"])
    yield (
        f"Recalibrating the intercept of {model} alone, fitted on four fifths of these patients and judged "
        f"on the last in turn, changes its Brier score by {wording.signed(gain.value)} "
        f"({wording.interval(gain)}): {doubt}. The slope after it is {wording.with_interval(slope)}."
    )


def _drops(content: Content) -> Table:
    rows: list[Row] = []
    for model, record in in_order(content["models"]):
        expected = {where: number(to_number(mix["expected_auc"])) for where, mix in record["mix"].items()}
        for drop in record["drops"]:
            rows.append(
                (
                    model,
                    population_name(drop["population"]),
                    cell(to_estimate(drop["auc"])),
                    cell(to_estimate(record["external_auc"])),
                    signed(to_estimate(drop["difference"])),
                    wording.p_text(drop["p_value"]) or "–",
                    f"{expected[drop['population']]} / {expected[ELSEWHERE]}",
                )
            )
    headings = (
        "model",
        "at home on",
        "AUC at home",
        "AUC elsewhere",
        "difference",
        "p",
        "expected by the risks",
    )
    return Table(headings, tuple(rows))


def _points(content: Content) -> Table:
    rows: list[Row] = []
    for model, record in in_order(content["models"]):
        for point in _chosen_first(record["points"]):
            for rate, gap in point["difference"].items():
                both = (cell(to_estimate(point[w][rate]), as_percent=True) for w in ("internal", "external"))
                shown = signed(to_estimate(gap), as_points=True)
                rows.append((model, number(point["threshold"]), rate, *both, shown))
    headings = ("model", "frozen threshold", "rate", "at home", "elsewhere", "difference, percentage points")
    return Table(headings, tuple(rows))


def _chosen_first(points: Iterable[Content]) -> list[Content]:
    return sorted(points, key=lambda point: point["chosen_on"] == "fixed")


def _calibration(content: Content) -> Table:
    rows: list[Row] = []
    for model, record in in_order(content["models"]):
        for measure, found in record["calibration"].items():
            both = (cell(_estimate(found.get(where))) for where in ("internal", "external"))
            rows.append((model, MEASURE_NAMES.get(measure, measure), *both))
    return Table(("model", "measure", "at home", "elsewhere"), tuple(rows))


def _repairs(content: Content) -> Table:
    names = ("calibration_intercept", "calibration_slope", "ici")
    rows: list[Row] = []
    for model, record in in_order(content["models"]):
        for repair in record["repairs"]:
            if repair["reason"]:
                cells: tuple[str | Cell, ...] = (Cell("none", words=repair["reason"]), *("–",) * 4)
            else:
                gains = (signed(to_estimate(repair["changes"][name])) for name in LOSSES)
                cells = (*gains, *(cell(to_estimate(repair["after"][name])) for name in names))
            rows.append((model, repair["kind"], *cells))
    after = (f"{MEASURE_NAMES[name]} after" for name in names)
    headings = ("model", "recalibrated", "change in Brier score", "change in log loss", *after)
    return Table(headings, tuple(rows))


def _mix(content: Content) -> Table:
    shown: tuple[tuple[str, Callable[[Any], str]], ...] = (
        ("cases", whole),
        ("events", whole),
        ("groups", whole),
        ("prevalence", percent),
        ("mean_risk", lambda value: number(to_number(value))),
        ("sd_log_odds", lambda value: number(to_number(value), 2)),
    )
    rows: list[Row] = [
        (model, _place(where, content), *(write(mix[name]) for name, write in shown))
        for model, record in in_order(content["models"])
        for where, mix in record["mix"].items()
    ]
    headings = ("cases", "events", "patients or groups", "prevalence", "mean risk", "spread of log odds (SD)")
    return Table(("model", "population", *headings), tuple(rows))


def _place(where: str, content: Content) -> str:
    return str(content["external"]) if where == ELSEWHERE else population_name(where)


def _steps(content: Content) -> Table:
    models = [model for model, _ in in_order(content["models"])]
    rows: list[Row] = []
    for place, step in enumerate(content["steps"]):
        used = "their grey levels" if step["uses_grey_levels"] else "nothing"
        name = step["step"] if place == 0 else f"+ {step['step']}"
        rows.append((name, used, *(cell(to_estimate(step["auc"][model])) for model in models)))
    return Table(("preparation", "what it learns from these images", *models), tuple(rows))


def _image_sentences(content: Content) -> Iterator[str]:
    images, cases = content["images"], next(iter(content["models"].values()))["mix"][ELSEWHERE]["cases"]
    mean, spread = images["mean_grey"], images["sd_grey"]
    yield (
        f"The mean grey level is {number(mean['external'], 0)} of 255 here and "
        f"{number(mean['training'], 0)} in training, its spread {number(spread['external'], 0)} and "
        f"{number(spread['training'], 0)}."
    )
    if images["texture_distance"]["limit"] is not None:
        share = percent(images["unlike"] / cases)
        yield (
            f"{whole(images['unlike'])} of {whole(cases)} images ({share}) lie further from the training "
            f"images than 99 of 100 validation images do: {images['unlike_texture']} by texture, "
            f"{images['unlike_grey']} by grey levels."
        )
    twins = content["seen_in_training"]
    if not twins:
        yield "No image here shows the same picture as a training image."
        return
    named = "; ".join(f"{each['case']} as {each['training_case']}" for each in twins[:10])
    more = f"; and {len(twins) - 10} more" if len(twins) > 10 else ""
    yield (
        f"{whole(len(twins))} {'image shows' if len(twins) == 1 else 'images show'} the same picture as a "
        f"training image, so these cases are not external: {named}{more}."
    )


def _estimate(given: Content | None) -> Estimate | None:
    return None if given is None else to_estimate(given)
