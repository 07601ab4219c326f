"""A validation's part of the report: the external cohort beside the internal test cases."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clineval.errors import InputError, reason_of
from clineval.evaluation.adoption import TOLERANCE
from clineval.evaluation.curves import Curves
from clineval.evaluation.operating_points import aim
from clineval.evaluation.records import OperatingPoint
from clineval.files import from_plain
from clineval.reporting import sentences
from clineval.reporting.artefacts import Artefacts
from clineval.reporting.sentences import (
    EXTERNAL,
    INTERNAL,
    Subject,
    cases_of,
    number,
    percent,
    population_name,
    subject_of,
    target_percent,
    two_decimals,
    whole,
    whole_percent,
)
from clineval.reporting.tables import MEASURE_NAMES, Cell, Row, Table, cell, signed_cell
from clineval.reporting.verdict import ANSWERS, NO, UNCLEAR, YES, Verdict, verdict_on
from clineval.statistics.intervals import Estimate

SPOKEN = ("combined", "cnn")  # main model of files that declare no primary one
LOSSES = ("brier", "log_loss")  # of a recalibration's effect; below 0 it helps
SEVERITIES = ("0", "3", "5")  # of a corruption, in the report's table; the file has all
CORRUPTED = {
    "auc": "AUC",
    "sensitivity": "sensitivity at the frozen threshold",
    "specificity": "specificity there",
    "calibration_intercept": "calibration intercept",
}
Content = Mapping[str, Any]

to_estimate = partial(from_plain, Estimate)
to_number = partial(from_plain, float)


def subject_in(artefacts: Artefacts) -> Subject:
    """What a folder's report speaks of."""
    main = spoken(artefacts.evaluation.models) if artefacts.transport else None
    return subject_of(artefacts.evaluation, main=main)


def spoken(models: Iterable[str], primary: str | None = None) -> str:
    """The model to speak of first: the primary one, else the combined one, the network, or the first."""
    names = list(models)
    return next((name for name in (primary, *SPOKEN) if name in names), names[0])


def external_parts(content: Content, subject: Subject) -> dict[str, Any]:
    """The tables and sentences on the external cohort, by the names that the template uses.

    Raises
    ------
    InputError : the content is not what ``clineval validate`` writes.
    """
    models = _in_order(content["models"], subject) if "models" in content else []
    try:
        return {
            "name": content["external"],
            "internal": content["internal"],
            "alone": content.get("alone", ""),
            "run": _run(content),
            "summary": _summary(models),
            "changes": list(_change_sentences(content, subject)),
            "drops": _drops(models),
            "points": _points(models),
            "calibration": _calibration(models),
            "recalibrated": _recalibrated(models),
            "mix": _mix(models, content),
            "steps": _steps(models, content),
            "images": list(_image_sentences(content)),
            "probes": probes_parts(content["probes"]) if "probes" in content else {},
        }
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise _broken(error) from error


def verdict_in(content: Content, subject: Subject, curves: Curves | None = None) -> Verdict:
    """The verdict of a report; of a validation it opens with whether the model holds (``holds``).

    Parameters
    ----------
    content : of ``transport.json``; empty for results that are no validation.

    Raises
    ------
    InputError : as ``external_parts``.
    """
    if not content:
        return verdict_on(subject, curves)
    gap = _gap(content, subject)
    found = verdict_on(
        subject, curves, where=str(content["external"]), fall=fall(content, subject), fell=_fell(gap)
    )
    try:
        return replace(found, opening=_opening(content, subject, gap))
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken(error) from error


def holds(shortfall: Estimate | None, gap: Estimate | None, *, excluded: bool = False) -> str:
    """Whether a model holds externally: YES, NO or UNCLEAR.

    NO: the whole interval of the sensitivity lies below the aim that the threshold was chosen for (without
    an aim, that of its difference from the internal one below 0), or the whole interval of the AUC's change
    from the internal test cases lies below 0. YES: neither, and the lower bound of the sensitivity is at
    most five percentage points below the aim or the internal value. UNCLEAR: the interval covers both, or is
    missing.

    Parameters
    ----------
    shortfall : sensitivity less the aim, or less the internal sensitivity; None where there is neither.
    gap : AUC less the internal AUC; None without internal test cases.
    excluded : whether something else forbids YES: images seen in training, or a net loss at the threshold.
    """
    if _fell(shortfall) or _fell(gap):
        return NO
    known = [each for each in (shortfall, gap) if each is not None and sentences.interval(each)]
    if len(known) < 2 or excluded:
        return UNCLEAR
    return YES if known[0].low >= -TOLERANCE - 1e-9 else UNCLEAR


def _fell(gap: Estimate | None) -> bool:
    """Whether the interval of a difference lies below 0."""
    return gap is not None and gap.high < 0


def _opening(content: Content, subject: Subject, gap: Estimate | None) -> str:
    """Whether the model holds, by the cases that it misses, and what to do."""
    point = subject.point()
    if point is None:
        return f"{ANSWERS[UNCLEAR]}: the model has no threshold."
    found, own = point.rates["sensitivity"], _own_point(content["models"][subject.main], point)
    if not sentences.defined(found):
        return f"{ANSWERS[UNCLEAR]}: its sensitivity cannot be judged ({sentences.reason(found)})."
    target, internal = aim(point.name), None if own is None else _rate(own, "internal")
    shortfall = None if own is None else to_estimate(own["difference"]["sensitivity"])
    if target is not None:
        low, high = found.low - target, found.high - target
        shortfall = replace(found, value=found.value - target, low=low, high=high)
    seen, loss = bool(content["seen_in_training"]), _fell(point.gain)
    state = holds(shortfall, gap, excluded=seen or loss)
    at = "default" if sentences.is_default(point) else "frozen"
    said = f"at the {at} threshold it misses {_missed(found)} of 100 {cases_of(subject.condition)} here"
    if state == UNCLEAR and sentences.interval(found):
        said += f" ({100 * (1 - found.high):.0f} to {100 * (1 - found.low):.0f})"
    said += _beside_missed(internal, target)
    if state == NO and not _fell(shortfall) and gap is not None:
        said = f"its AUC is lower here by {_size(gap)}; {said}"
    return f"{ANSWERS[state]}: {said}{_further(state, seen=seen, loss=loss)} {_advice(state, shortfall)}"


def _own_point(record: Content, point: OperatingPoint) -> Content | None:
    """The same threshold on both cohorts; None without internal test cases."""
    same = [each for each in record["points"] if each["threshold"] == point.threshold]
    return next(iter(_chosen_first(same)), None)


def _beside_missed(internal: Estimate | None, target: float | None) -> str:
    """Missed cases on the internal test cases; where these alone do not tell it, what the aim is."""
    known = internal if sentences.defined(internal) else None
    there = "" if known is None else f", {_missed(known)} of 100 on the internal test cases"
    if target is None or (known is not None and known.value >= target):
        return there
    return f"{there}; the aim is {100 * (1 - target):.3g} at most"


def _further(state: str, *, seen: bool, loss: bool) -> str:
    """What else the answer rests on, to the end of its sentence."""
    if state == YES:
        return ", with no evidence of a lower AUC."
    if state == UNCLEAR and seen:
        return "; some of these images were seen in training."
    return ", but acting without the model would do more good." if state == UNCLEAR and loss else "."


def _advice(state: str, shortfall: Estimate | None) -> str:
    """What to do, by the answer."""
    if state == YES:
        return "Check it on later patients before use."
    if state == UNCLEAR:
        return "Validate it on more local patients before any use."
    if _fell(shortfall):
        return "Set a threshold on local patients before any use: clineval adopt."
    return "A local threshold does not restore the ranking. What local cases would change: clineval adopt."


def _gap(content: Content, subject: Subject) -> Estimate | None:
    """The primary model's AUC less that on the run's test cases; None where it has none."""
    try:
        drop = next(iter(content["models"][subject.main]["drops"]), None)
        return None if drop is None else to_estimate(drop["difference"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken(error) from error


def _size(gap: Estimate) -> str:
    """How far two values lie apart, without its sign: ``0.16 (0.06 to 0.23)``."""
    low, high = sorted((abs(gap.low), abs(gap.high)))
    return f"{number(abs(gap.value), 2)} ({number(low, 2)} to {number(high, 2)})"


def fall(content: Content, subject: Subject) -> str:
    """How far the primary model's AUC lies from that on the run's test cases; empty where it has none.

    Raises
    ------
    InputError : as ``external_parts``.
    """
    gap = _gap(content, subject)
    if gap is None or not sentences.defined(gap):
        return ""
    if not sentences.interval(gap):
        return f"Change from the internal test cases: {number(gap.value, 2)} (no interval: {gap.method})."
    if sentences.covers(gap, 0.0):
        return f"No evidence of a fall from the internal test cases: {_signed(gap, 2)}."
    return f"{'Lower' if gap.value < 0 else 'Higher'} than on the internal test cases by {_size(gap)}."


def unlike(content: Content) -> str:
    """How many images are unlike the training images; empty where that is not known.

    Raises
    ------
    InputError : as ``external_parts``.
    """
    if not content or "alone" in content:
        return ""
    try:
        images, cases = content["images"], next(iter(content["models"].values()))["mix"][EXTERNAL]["cases"]
        if images["texture_distance"]["limit"] is None:
            return ""
        share = whole_percent(images["unlike"] / cases)
        return f"{whole(images['unlike'])} of {whole(cases)} images ({share}) are unlike the training images."
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken(error) from error


def beside(content: Content, subject: Subject) -> dict[str, tuple[str, str]]:
    """Per light the internal value and the external one, in a few letters each; {} where there is none.

    Raises
    ------
    InputError : as ``external_parts``.
    """
    try:
        return dict(_beside(content["models"][subject.main], subject))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise _broken(error) from error


def _beside(record: Content, subject: Subject) -> Iterator[tuple[str, tuple[str, str]]]:
    drop, point = next(iter(record["drops"]), None), _point(record)
    if drop is not None:
        internal, external = to_estimate(drop["auc"]), to_estimate(record["external_auc"])
        yield "ranking", (f"AUC {number(internal.value, 2)}", f"AUC {number(external.value, 2)}")
    level = record["calibration"]["observed_expected"]
    if level.get("internal") is not None:
        words = [f"O/E {number(to_estimate(level[w]).value, 2)}" for w in ("internal", "external")]
        yield "risks", (words[0], words[1])
    if point is not None and sentences.defined(_rate(point, "internal")):
        found = [f"finds {whole_percent(_rate(point, where).value)}" for where in ("internal", "external")]
        yield "benefit", (found[0], found[1])
    mix = record["mix"]
    if INTERNAL in mix:
        counts = [f"{whole(mix[where]['events'])} {subject.condition}" for where in (INTERNAL, EXTERNAL)]
        yield "data", (counts[0], counts[1])


def robustness_table(path: Path, subject: Subject) -> Table:
    """Discrimination, sensitivity and calibration of the primary model under each corruption.

    Raises
    ------
    InputError : the file is not the one that ``clineval validate --corruptions`` writes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
        model = spoken((row["model"] for row in found), subject.main)
        shown = [row for row in found if row["model"] == model and row["severity"] in SEVERITIES]
        rows = [
            (row["corruption"], row["severity"], *(_read_cell(row, name) for name in CORRUPTED))
            for row in shown
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path.name} is incomplete ({reason_of(error)}); write it again with: clineval validate"
        ) from error
    return Table((f"corruption ({model})", "severity", *CORRUPTED.values()), tuple(rows), first=13)


def _read_cell(row: Mapping[str, str], name: str) -> Cell:
    value, low, high = (float(row[f"{name}{end}"] or "nan") for end in ("", "_low", "_high"))
    return cell(Estimate(value, low, high, 0.95, ""), as_percent=name in ("sensitivity", "specificity"))


def _broken(error: Exception) -> InputError:
    return InputError(
        f"transport.json is incomplete ({reason_of(error)}); write it again with: clineval validate"
    )


Models = list[tuple[str, Content]]


def _in_order(models: Content, subject: Subject) -> Models:
    """Models with what is known of them, the primary one and the baseline first."""
    order = dict.fromkeys([*subject.pair, *models])
    return [(name, models[name]) for name in order if name in models]


def run_probes(content: Content) -> list[dict[str, Any]]:
    """What the pictures say on each population of a run; InputError where the file is incomplete."""
    try:
        return [{"population": population_name(name), **probes_parts(each)} for name, each in content.items()]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"probes.json is incomplete ({reason_of(error)}); write it again with: clineval run"
        ) from error


def probes_parts(found: Content) -> dict[str, Any]:
    """What the pictures say without the tissue: sentences, and the AUC of each quantity alone."""
    if "together" not in found:
        same = "Border, marks, size, aspect, focus and brightness are the same in all pictures."
        return {"sentences": [same], "table": None}
    together, gap, explained = (to_estimate(found[name]) for name in ("together", "difference", "explained"))
    model, least = found["model"], sentences.covers(gap, 0.0)
    rank = "no evidence that the model ranks better" if least else f"{model} less these: {_signed(gap)}"
    said = [
        f"Border, marks, size, aspect, focus and brightness of the picture together rank with an AUC of "
        f"{two_decimals(together)}, {model} with {two_decimals(to_estimate(found['model_auc']))}; {rank}.",
        f"They explain {sentences.with_interval(explained, as_percent=True)} of the variance of the log odds "
        f"by {model}.",
    ]
    rows = [(name, cell(to_estimate(auc))) for name, auc in found["alone"].items()]
    return {
        "sentences": said,
        "table": Table(("quantity alone (below 0.5: less of it where the condition is)", "AUC"), tuple(rows)),
    }


def _signed(gap: Estimate, digits: int = 3) -> str:
    plus = "+" if gap.value > 0 else ""
    return f"{plus}{number(gap.value, digits)} ({number(gap.low, digits)} to {number(gap.high, digits)})"


def _run(content: Content) -> str:
    """The run that was validated: data set, size, split and commit, as far as they are recorded."""
    run = content.get("run") or {}
    commit = run.get("commit") or {}
    parts = (
        f"{run['side']} × {run['side']} pixels" if run.get("side") else "",
        f"{run['split']} split" if run.get("split") else "",
        f"commit {str(commit['hash'])[:12]}" if commit.get("hash") else "",
    )
    return ", ".join((str(content["internal"]), *filter(None, parts)))


def _summary(models: Models) -> Table:
    """AUC, and at the frozen threshold both rates, internal beside external."""
    headings = (
        "model", "AUC, internal", "AUC, external", "difference", "frozen threshold",
        "found, internal", "found, external", "difference, percentage points",
    )  # fmt: skip
    return Table(headings, tuple(_summary_row(model, record) for model, record in models), first=2)


def _summary_row(model: str, record: Content) -> Row:
    drop, point = next(iter(record["drops"]), None), _point(record)
    missing = Cell("–", "", "the run has no test cases of this model")
    ranked: tuple[str | Cell, ...] = (missing, cell(to_estimate(record["external_auc"])), missing)
    if drop is not None:
        ranked = (cell(to_estimate(drop["auc"])), ranked[1], signed_cell(to_estimate(drop["difference"])))
    if point is None:
        return (model, *ranked, *(missing,) * 4)
    found = (cell(_rate(point, where), as_percent=True) for where in ("internal", "external"))
    gap = signed_cell(to_estimate(point["difference"]["sensitivity"]), as_points=True)
    return (model, *ranked, number(point["threshold"]), *found, gap)


def _change_sentences(content: Content, subject: Subject) -> Iterator[str]:
    """What changes between the internal test cases and the external cohort, for the primary model."""
    record = content["models"][subject.main]
    known = len(content["seen_in_training"])
    if known:
        yield (
            f"{whole(known)} of {whole(record['mix'][EXTERNAL]['cases'])} images "
            f"{'was' if known == 1 else 'were'} seen in training (the same picture): these are not external, "
            "and every number here is too favourable."
        )
    yield _ranking(record, subject.main) + _more_views(content, subject.main)
    point = _point(record)
    if point is not None:
        yield _threshold(point, subject.condition)


def _ranking(record: Content, model: str) -> str:
    external, drop = to_estimate(record["external_auc"]), next(iter(record["drops"]), None)
    if drop is None:
        return f"AUC of {model}: {two_decimals(external)}; the run has no test cases of it to compare."
    gap = to_estimate(drop["difference"])
    return (
        f"{_gap_words(gap)}: AUC {two_decimals(external)}, internal {two_decimals(to_estimate(drop['auc']))}."
    )


def _gap_words(gap: Estimate) -> str:
    if not sentences.interval(gap):
        return "Whether the ranking holds cannot be judged"
    if sentences.covers(gap, 0.0):
        lost = f", but one of up to {number(-gap.low, 2)} is not excluded" if gap.low < 0 else ""
        return f"No evidence of a loss in ranking{lost}"
    return "The ranking is better here" if gap.value > 0 else "The ranking is worse here"


def _more_views(content: Content, model: str) -> str:
    """That images here are scored in more views than the internal ones, and the AUC without those."""
    first, *further = content["steps"]
    if not further:
        return ""
    names, alone = "; ".join(step["step"] for step in further), to_estimate(first["auc"][model])
    return (
        f" External images are scored in more views ({names}), as fixed beforehand; with the {first['step']} "
        f"alone the AUC is {number(alone.value, 2)}."
    )


def _threshold(point: Content, condition: str) -> str:
    internal, external = (_rate(point, where) for where in ("internal", "external"))
    there = f", {_missed(internal)} on the internal test cases" if sentences.defined(internal) else ""
    at = number(point["threshold"], 2)
    said = f"At the frozen threshold {at}, {_missed(external)} of 100 {cases_of(condition)} are missed{there}"
    target = aim(str(point["name"]))
    if target is None:
        return f"{said}."
    wanted = f"the sensitivity of {target_percent(target)} that it was chosen for"
    if external.high < target:
        return f"{said}. It does not reach {wanted} and would have to be chosen again on local patients."
    if external.low >= target:
        return f"{said}. It reaches {wanted}."
    return f"{said}. These cases do not show whether it reaches {wanted}."


def _missed(sensitivity: Estimate) -> int:
    return round(100 * (1 - sensitivity.value))


def _point(record: Content) -> Content | None:
    """The chosen threshold, else the first there is."""
    return next(iter(_chosen_first(record["points"])), None)


def _chosen_first(points: Iterable[Content]) -> list[Content]:
    return sorted(points, key=lambda point: point["chosen_on"] == "fixed")


def _rate(point: Content, where: str, rate: str = "sensitivity") -> Estimate:
    return to_estimate(point[where][rate])


def _drops(models: Models) -> Table:
    rows: list[Row] = []
    for model, record in models:
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
                    f"{expected[drop['population']]} / {expected[EXTERNAL]}",
                )
            )
    headings = (
        "model", "internal cases", "AUC, internal", "AUC, external", "difference", "p",
        "AUC if the risks were calibrated, internal / external",
    )  # fmt: skip
    return Table(headings, tuple(rows), first=4)


def _points(models: Models) -> Table:
    rows: list[Row] = []
    for model, record in models:
        for point in _chosen_first(record["points"]):
            for rate, gap in point["difference"].items():
                both = (cell(to_estimate(point[w][rate]), as_percent=True) for w in ("internal", "external"))
                shown = signed_cell(to_estimate(gap), as_points=True)
                rows.append((model, number(point["threshold"]), rate, *both, shown))
    headings = ("model", "frozen threshold", "rate", "internal", "external", "difference, percentage points")
    return Table(headings, tuple(rows), first=4)


def _calibration(models: Models) -> Table:
    rows: list[Row] = []
    for model, record in models:
        for measure, found in record["calibration"].items():
            both = (cell(_estimate(found.get(where))) for where in ("internal", "external"))
            rows.append((model, MEASURE_NAMES.get(measure, measure), *both))
    return Table(("model", "measure", "internal", "external"), tuple(rows), first=5)


def _recalibrated(models: Models) -> Table:
    names = ("calibration_intercept", "calibration_slope", "ici")
    rows: list[Row] = []
    for model, record in models:
        for repair in record["repairs"]:
            if repair["reason"]:
                cells: tuple[str | Cell, ...] = (Cell("none", words=repair["reason"]), *("–",) * 4)
            else:
                gains = (signed_cell(to_estimate(repair["changes"][name])) for name in LOSSES)
                cells = (*gains, *(cell(to_estimate(repair["after"][name])) for name in names))
            rows.append((model, repair["kind"], *cells))
    after = (f"{MEASURE_NAMES[name]} after" for name in names)
    headings = ("model", "recalibrated", "change in Brier score", "change in log loss", *after)
    return Table(headings, tuple(rows), first=2)


def _mix(models: Models, content: Content) -> Table:
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
        for model, record in models
        for where, mix in record["mix"].items()
    ]
    headings = ("cases", "events", "patients or groups", "prevalence", "mean risk", "spread of log odds (SD)")
    return Table(("model", "population", *headings), tuple(rows), first=3)


def _place(where: str, content: Content) -> str:
    return str(content["external"]) if where == EXTERNAL else population_name(where)


def _steps(models: Models, content: Content) -> Table:
    names = [model for model, _ in models]
    rows: list[Row] = []
    for place, step in enumerate(content["steps"]):
        used = "their grey levels" if step["uses_grey_levels"] else "nothing"
        name = step["step"] if place == 0 else f"+ {step['step']}"
        rows.append((name, used, *(cell(to_estimate(step["auc"][model])) for model in names)))
    return Table(("preparation", "what it uses of these images", *names), tuple(rows))


def _image_sentences(content: Content) -> Iterator[str]:
    images, cases = content["images"], next(iter(content["models"].values()))["mix"][EXTERNAL]["cases"]
    mean, spread = images["mean_grey"], images["sd_grey"]
    if "alone" in content:
        yield (
            f"The mean grey level is {number(mean['external'], 0)} of 255, its spread "
            f"{number(spread['external'], 0)}; those of the training images are not known."
        )
        return
    yield (
        f"The mean grey level is {number(mean['external'], 0)} of 255 here and "
        f"{number(mean['training'], 0)} in training, its spread {number(spread['external'], 0)} and "
        f"{number(spread['training'], 0)}."
    )
    if images["texture_distance"]["limit"] is not None:
        share = whole_percent(images["unlike"] / cases)
        yield (
            f"{whole(images['unlike'])} of {whole(cases)} images ({share}) are less like the training images "
            f"than 99 of 100 validation images are: {images['unlike_texture']} by texture, "
            f"{images['unlike_grey']} by grey levels."
        )
    warned = content.get("warnings", {})
    for code, words in (
        ("burnt_in", "have text or measuring marks burnt in"),
        ("nearly_black", "are nearly black"),
    ):
        if code in warned:
            yield f"{whole(len(warned[code]))} of {whole(cases)} images {words}: {_some(warned[code])}."
    near = content["seen_in_training"]
    if not near:
        yield "No image here was seen in training."
        return
    named = [f"{each['case']} as {each['training_case']}" for each in near]
    yield f"Seen in training: {_some(named)}."


def _some(names: Sequence[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    more = f"; and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def _estimate(given: Content | None) -> Estimate | None:
    return None if given is None else to_estimate(given)
