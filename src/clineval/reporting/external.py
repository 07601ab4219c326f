"""A validation's section of the report: what is lost in the external cohort, and its tables."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clineval.errors import InputError
from clineval.evaluation.codec import to_estimate, to_number
from clineval.reporting import sections, sentences
from clineval.reporting.artefacts import Artefacts
from clineval.reporting.sentences import number, percent, whole
from clineval.reporting.subject import ELSEWHERE, HOME, SPOKEN, Subject, population_name, subject_of
from clineval.reporting.tables import MEASURE_NAMES, Cell, Row, Table, cell, signed_cell
from clineval.statistics.intervals import Estimate

LOSSES = ("brier", "log_loss")  # of a recalibration's effect; below 0 it helps
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
    InputError : the content is not what ``clineval validate`` writes.
    """
    try:
        return {
            "name": content["external"],
            "home": content["internal"],
            "sentences": list(_drop_sentences(content)),
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


def broken(error: Exception) -> InputError:
    """What to say of a ``transport.json`` that lacks something."""
    return InputError(f"transport.json is not whole ({error!r}); write it anew with: clineval validate")


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
    InputError : the file is not the one that ``clineval validate --corruptions`` writes.
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
        raise InputError(
            f"{path.name} is not whole ({error!r}); write it anew with: clineval validate"
        ) from error
    return Table((f"corruption ({model})", "severity", *CORRUPTED.values()), tuple(rows))


def _read_cell(row: Mapping[str, str], name: str) -> Cell:
    value, low, high = (float(row[f"{name}{end}"] or "nan") for end in ("", "_low", "_high"))
    return cell(Estimate(value, low, high, 0.95, ""), as_percent=name in ("sensitivity", "specificity"))


def _drop_sentences(content: Content) -> Iterator[str]:
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
    if all(sentences.covers(to_estimate(each), 1.0) for each in measured):
        return said
    return (
        f"{said} But its risks are not true elsewhere, as the calibration below shows, so this says little."
    )


def _repair_sentences(record: Content, model: str) -> Iterator[str]:
    first = record["repairs"][0] if record["repairs"] else None
    if first is None or first["reason"]:
        return
    gain = to_estimate(first["changes"]["brier"])
    doubt = "no change can be shown" if sentences.covers(gain, 0.0) else "a change beyond chance"
    slope = to_estimate(first["after"]["calibration_slope"])
    yield (
        f"Recalibrating the intercept of {model} alone, fitted on four fifths of these patients and judged "
        f"on the last in turn, changes its Brier score by {sentences.signed(gain.value)} "
        f"({sentences.interval(gain)}): {doubt}. The slope after it is {sentences.with_interval(slope)}."
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
                    signed_cell(to_estimate(drop["difference"])),
                    sentences.p_text(drop["p_value"]) or "–",
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
                shown = signed_cell(to_estimate(gap), as_points=True)
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
                gains = (signed_cell(to_estimate(repair["changes"][name])) for name in LOSSES)
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


HEADINGS = (
    "model",
    "AUC at home",
    "AUC here",
    "difference",
    "frozen threshold",
    "sensitivity at home",
    "sensitivity here",
    "difference, percentage points",
)


def subject_in(artefacts: Artefacts) -> Subject:
    """What a folder's report speaks of; a validation's speaks first of the model that is to be used."""
    main = spoken(artefacts.evaluation.models) if artefacts.transport else None
    return subject_of(artefacts.evaluation, main=main)


def answer(artefacts: Artefacts, subject: Subject) -> list[str]:
    """The answer in a few sentences: of a validation whether it holds, else how well the models do.

    Raises
    ------
    InputError : ``transport.json`` is not what ``clineval validate`` writes.
    """
    if not artefacts.transport:
        return sections.answer(subject)
    try:
        return list(_answer_sentences(artefacts.transport, subject))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise broken(error) from error


def table(content: Content) -> Table:
    """AUC and sensitivity at the frozen threshold of every model, at home and here."""
    try:
        rows = [_row(model, record) for model, record in in_order(content["models"])]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise broken(error) from error
    return Table(HEADINGS, tuple(rows))


def _row(model: str, record: Content) -> Row:
    drop, point = _drop(record), _point(record)
    missing = Cell("–", "", "the run has no test cases of this model")
    ranked: tuple[str | Cell, ...] = (missing, cell(to_estimate(record["external_auc"])), missing)
    if drop is not None:
        ranked = (cell(to_estimate(drop["auc"])), ranked[1], signed_cell(to_estimate(drop["difference"])))
    if point is None:
        return (model, *ranked, *(missing,) * 4)
    found = (cell(_rate(point, where), as_percent=True) for where in ("internal", "external"))
    gap = signed_cell(to_estimate(point["difference"]["sensitivity"]), as_points=True)
    return (model, *ranked, number(point["threshold"]), *found, gap)


def _answer_sentences(content: Content, subject: Subject) -> Iterator[str]:
    record = content["models"][subject.main]
    if content["seen_in_training"]:
        yield _trained_on(len(content["seen_in_training"]), record["mix"][ELSEWHERE]["cases"])
    yield _ranking(record, subject.main, content["external"]) + _seen_otherwise(content, subject.main)
    point = _point(record)
    if point is not None:
        yield _threshold(point, subject)
        yield _meaning(point, subject.condition)
    yield _level(record, subject.condition)


def _trained_on(known: int, cases: int) -> str:
    return (
        f"{whole(known)} of {whole(cases)} images {'shows' if known == 1 else 'show'} the same picture as a "
        "training image of the run: not external, and every number here flatters the models."
    )


def _ranking(record: Content, model: str, name: str) -> str:
    external, drop = to_estimate(record["external_auc"]), _drop(record)
    if drop is None:
        return (
            f"On {name} {model} reaches an AUC of {sentences.with_interval(external)}; the run has no test "
            "cases of this model to set beside it."
        )
    gap = to_estimate(drop["difference"])
    return (
        f"{_verdict(gap)}: on {name} {model} has an AUC of {sentences.with_interval(external)}, after "
        f"{sentences.with_interval(to_estimate(drop['auc']), name_level=False)} on the test cases at home, "
        f"a difference of {sentences.signed(gap.value)} ({sentences.interval(gap) or 'no interval'})."
    )


def _seen_otherwise(content: Content, model: str) -> str:
    """That images here are looked at in more ways than those at home, and what comes without that."""
    first, *further = content["steps"]
    if not further:
        return ""
    ways, alone = "; ".join(step["step"] for step in further), to_estimate(first["auc"][model])
    return (
        f" Images here are seen in more ways than those at home ({ways}), as was chosen before; by the "
        f"{first['step']} alone the AUC is {number(alone.value)}."
    )


def _verdict(gap: Estimate) -> str:
    if not sentences.interval(gap):
        return "Whether the ranking holds these cases cannot tell"
    if sentences.covers(gap, 0.0):
        lost = f", but one of up to {number(-gap.low)} is not excluded" if gap.low < 0 else ""
        return f"No loss in ranking can be shown{lost}"
    return "These patients are ranked better" if gap.value > 0 else "These patients are ranked worse"


def _threshold(point: Content, subject: Subject) -> str:
    here, home = (
        {
            rate: sentences.with_interval(_rate(point, where, rate), as_percent=True, name_level=False)
            for rate in ("sensitivity", "specificity")
        }
        for where in ("external", "internal")
    )
    aim = _aim(point)
    chosen = f" (chosen for a sensitivity of {100 * aim:g}%)" if aim is not None else ""
    return (
        f"At the threshold frozen at home, {number(point['threshold'])}{chosen}, it finds "
        f"{here['sensitivity']} of the {subject.condition} cases here, after {home['sensitivity']} at home, "
        f"and rightly leaves {here['specificity']} of the others unflagged, after {home['specificity']}."
    )


def _aim(point: Content) -> float | None:
    target = str(point["name"]).removeprefix("sensitivity_")
    return int(target) / 100 if target.isdigit() else None


def _meaning(point: Content, condition: str) -> str:
    home, here = (_rate(point, where) for where in ("internal", "external"))
    at_home = f", {_missed(home)} at home" if sentences.defined(home) else ""
    said = f"So of 100 {condition} cases about {_missed(here)} would be missed here{at_home}"
    aim = _aim(point)
    if aim is None:
        return f"{said}."
    if here.high < aim:
        return (
            f"{said}: the frozen threshold misses its aim, and would have to be chosen anew on local "
            "patients before any use."
        )
    if here.low >= aim:
        return f"{said}: the frozen threshold keeps its aim."
    return (
        f"{said}: the aim lies within what these cases leave possible, and so does a sensitivity of "
        f"{percent(here.low)}."
    )


def _missed(sensitivity: Estimate) -> int:
    return round(100 * (1 - sensitivity.value))


def _level(record: Content, condition: str) -> str:
    found = to_estimate(record["calibration"]["observed_expected"]["external"])
    if not sentences.interval(found):
        return f"Whether its risks are right on average these cases cannot tell: {found.method}."
    seen = (
        f"{number(found.value, 2)} ({number(found.low, 2)} to {number(found.high, 2)}) {condition} cases "
        "were seen for each one that its risks promise"
    )
    if sentences.covers(found, 1.0):
        return f"That its risks are off on average cannot be shown: {seen}."
    return f"Its risks are too {'low' if found.value > 1 else 'high'} here: {seen}."


def _drop(record: Content) -> Content | None:
    return next(iter(record["drops"]), None)


def _point(record: Content) -> Content | None:
    """The chosen threshold, else the first there is."""
    points = record["points"]
    return next((point for point in points if point["chosen_on"] != "fixed"), next(iter(points), None))


def _rate(point: Content, where: str, rate: str = "sensitivity") -> Estimate:
    return to_estimate(point[where][rate])
