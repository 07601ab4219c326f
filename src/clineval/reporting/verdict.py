"""What a report opens with: the verdict on one model at one threshold, then people and other thresholds."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clineval.errors import digits_apart
from clineval.evaluation.curves import Curves, DecisionLines, ExplorerSteps, PopulationCurves
from clineval.evaluation.records import COUNTS, OperatingPoint, PopulationScores
from clineval.reporting import charts
from clineval.reporting.sentences import (
    Subject,
    aim_words,
    cases_of,
    chosen_words,
    defined,
    frequencies,
    is_default,
    listed,
    natural,
    number,
    people,
    reason,
    share,
    whole,
)
from clineval.statistics.counts import Counts
from clineval.statistics.intervals import Estimate

YES, UNCLEAR, NO = "yes", "unclear", "no"
ANSWERS = {YES: "Yes", UNCLEAR: "Uncertain", NO: "No"}

POOR = 0.7
"""AUC below which a ranking is called poor by convention (Hosmer, Lemeshow and Sturdivant 2013)."""

TOLERANCE = (0.8, 1.25)
"""Observed over expected, and calibration slope, between which a departure from 1 is held to be small."""

FEWEST = 100
"""Cases with the condition, and without, that are advised: Collins et al. 2016, doi:10.1002/sim.6787."""

LEAST = 10
"""Cases with the condition, and without, below which no interval is trusted enough to say that it helps."""

WIDTHS = {"auc_logit": 0.1, "calibration_slope": 0.4, "observed_expected": 0.2}
"""Widths of intervals that make a measure precise: Riley et al. 2021, doi:10.1002/sim.9025."""

WIDE = {
    "auc_logit": "the AUC",
    "calibration_slope": "the calibration slope",
    "observed_expected": "observed/expected",
}
SHOWN_UP_TO = 0.5  # thresholds of the decision curve that sentences speak of


@dataclass(frozen=True)
class Light:
    """One question with its answer.

    ``name`` is ranking, risks, benefit or data; ``state`` is YES, UNCLEAR or NO; ``fault`` is what the
    headline says of it: of benefit always, of the others where they are not YES; ``word`` is the answer
    where it is another than the state's own.
    """

    name: str
    question: str
    state: str
    sentence: str
    fault: str = ""
    word: str = ""

    @property
    def answer(self) -> str:
        """The state in words."""
        if self.word:
            return self.word
        return "Partly" if (self.name, self.state) == ("data", UNCLEAR) else ANSWERS[self.state]


@dataclass(frozen=True)
class Verdict:
    """A headline and the four lights that it follows from, in the order ranking, risks, benefit, data.

    ``opening`` is said before the headline: of a validation whether the model holds, and what to do.
    """

    headline: str
    lights: tuple[Light, ...]
    opening: str = ""

    @property
    def states(self) -> Mapping[str, str]:
        """The state of each light by its name."""
        return {light.name: light.state for light in self.lights}

    @property
    def brief(self) -> str:
        """The headline in a line below the cohort's own counts: without the cohort's prevalence."""
        start, told, rest = self.headline.partition(") ")
        here = bool(told) and start.startswith("At this cohort's prevalence (")
        return rest[0].upper() + rest[1:] if here else self.headline


def judge(
    scores: PopulationScores,
    point: OperatingPoint | None,
    *,
    condition: str,
    lines: DecisionLines | None = None,
    where: str = "",
    fall: str = "",
    fell: bool = False,
) -> Verdict:
    """The verdict on a model: no light is YES where its interval leaves the contrary possible.

    Parameters
    ----------
    scores : the model on the population that is judged.
    point : its primary threshold there; None where it has none.
    lines : its decision curve, to say at which other thresholds it does not help.
    where : the population's name, where the headline must name it.
    fall : how the AUC stands to that on the internal test cases, in a sentence.
    fell : whether the interval of that difference lies below 0; then the first light is not green.

    References
    ----------
    docs/methods/verdict.md
    """
    lights = (
        _ranking(scores, condition, fall, fell=fell),
        _risks(scores),
        _benefit(scores, point, lines, where=where),
        _data(scores),
    )
    return Verdict(_headline(lights), lights)


def verdict_on(
    subject: Subject, curves: Curves | None = None, *, where: str = "", fall: str = "", fell: bool = False
) -> Verdict:
    """The verdict on the primary model and threshold; with ``curves`` it says where there is no gain."""
    scores = subject.evaluation.models[subject.main][subject.population]
    drawn = curves.models[subject.main][subject.population] if curves is not None else None
    lines = drawn.decision if drawn is not None else None
    point = subject.point()
    return judge(scores, point, condition=subject.condition, lines=lines, where=where, fall=fall, fell=fell)


def _ranking(scores: PopulationScores, condition: str, fall: str, *, fell: bool) -> Light:
    light = _ranking_alone(scores, condition)
    if fell and light.state == YES:
        fault = "it ranks worse than on the internal test cases"
        light = replace(light, state=UNCLEAR, fault=fault, word="Worse here")
    return replace(light, sentence=f"{light.sentence} {fall}") if fall else light


def _ranking_alone(scores: PopulationScores, condition: str) -> Light:
    question = "Does it rank?"
    auc = scores.measures.get("auc_logit")
    if auc is None or not _bounded(auc):
        return Light("ranking", question, UNCLEAR, f"No AUC: {reason(auc)}.", "its ranking cannot be judged")
    said = f"AUC {number(auc.value, 2)} ({_level(auc)} {_low_to_high(auc, POOR, 0.5)})"
    if auc.low >= POOR:
        pairs = f"in {100 * auc.value:.0f} of 100 pairs the {cases_of(condition, one=True)}"
        return Light("ranking", question, YES, f"{said}: {pairs} gets the higher risk.")
    if auc.high < POOR:
        way = " and it ranks the wrong way round" if auc.high < 0.5 else ""
        sentence = f"{said}: the whole interval lies below {POOR:.2f}{way}."
        return Light("ranking", question, NO, sentence, "it ranks poorly")
    if auc.low > 0.5:
        sentence = f"{said}: better than chance, but the interval reaches below {POOR:.2f}."
        return Light("ranking", question, UNCLEAR, sentence, "how well it ranks is uncertain")
    sentence = (
        f"{said}: the interval includes 0.50, so there is no evidence that it ranks better than chance."
    )
    return Light("ranking", question, UNCLEAR, sentence, "there is no evidence that it ranks")


def _risks(scores: PopulationScores) -> Light:
    question = "Are the risks right?"
    ratios = [scores.measures.get(name) for name in ("observed_expected", "calibration_slope")]
    missing = [each for each in ratios if each is None or not _bounded(each)]
    if missing:
        fault = "whether its risks are right cannot be judged"
        return Light("risks", question, UNCLEAR, f"Cannot be judged: {reason(missing[0])}.", fault)
    level, slope = (each for each in ratios if each is not None)
    seen = f"observed/expected ratio {_with_bounds(level)}"
    spread = f"calibration slope {_with_bounds(slope)}"
    if _tolerable(level) and _tolerable(slope):
        return Light("risks", question, YES, f"Close to what was observed: {seen}; {spread}.")
    wrong = [_level_words(level, seen)] if _off(level) else []
    wrong += [f"too {'extreme' if slope.value < 1 else 'timid'}, {spread}"] if _off(slope) else []
    if wrong:
        fault = f"its risks are {'too ' + _direction(level) if _off(level) else 'off'}"
        return Light("risks", question, NO, f"The risks are {'; '.join(wrong)}.", fault)
    sentence = f"No departure found, but one is not excluded: {seen}; {spread}."
    return Light("risks", question, UNCLEAR, sentence, "whether its risks are right is uncertain")


def _level_words(level: Estimate, seen: str) -> str:
    return f"too {_direction(level)}: {seen}"


def _direction(level: Estimate) -> str:
    return "low" if level.value > 1 else "high"


def _tolerable(ratio: Estimate) -> bool:
    return TOLERANCE[0] <= ratio.low and ratio.high <= TOLERANCE[1]


def _off(ratio: Estimate) -> bool:
    """Whether the interval excludes 1 and is not wholly within the tolerance."""
    return not ratio.low <= 1 <= ratio.high and not _tolerable(ratio)


def _benefit(
    scores: PopulationScores, point: OperatingPoint | None, lines: DecisionLines | None, *, where: str
) -> Light:
    prevalence, fewer = scores.prevalence, min(scores.events, scores.cases - scores.events)
    question, inside = "Does it help at this threshold?", f"in {where} " if where else ""
    if point is None or math.isnan(point.threshold):
        fault = f"{inside}the model has no threshold"
        return Light("benefit", question, UNCLEAR, "No threshold was fixed beforehand.", fault)
    gain = point.gain
    if gain is None or not _bounded(gain):
        why = "its interval was not computed; evaluate the table again" if gain is None else reason(gain)
        fault = f"{inside}whether the model helps at this threshold cannot be judged"
        return Light("benefit", question, UNCLEAR, f"Net benefit cannot be judged: {why}.", fault)
    other = _other(point)
    amount = f"{_per_thousand(abs(gain.value))} net true positives per 1,000"
    size = f"{amount} {'more' if gain.value >= 0 else 'fewer'} than {other}"
    here = f"at this cohort's prevalence ({share(prevalence)})"
    place = f"in {where} (prevalence {share(prevalence)})" if where else here
    threshold = "the default threshold of 0.5" if is_default(point) else "this threshold"
    said = f"{size} ({_level(gain)} {_signed(gain.low)} to {_signed(gain.high)}) {here}"
    if gain.low > 0 and fewer < LEAST:
        sentence = f"{said}, but from fewer than {LEAST} cases of a kind no interval is reliable."
        fault = f"{place} there are too few cases to say whether the model helps at {threshold}"
        return Light("benefit", question, UNCLEAR, sentence, fault)
    if gain.low > 0:
        fault = f"{place} the model helps at {threshold}"
        return Light("benefit", question, YES, f"{said}.{not_helpful(lines)}", fault)
    if gain.high < 0:
        sentence = f"{said}; {other} would do more good.{not_helpful(lines)}"
        fault = f"{place} the model's net benefit at {threshold} is lower than that of {other}"
        return Light("benefit", question, NO, sentence, fault)
    sentence = f"{said}; no evidence of a gain.{not_helpful(lines)}"
    fault = f"{place} there is no evidence that the model helps at {threshold}"
    return Light("benefit", question, UNCLEAR, sentence, fault)


def _other(point: OperatingPoint) -> str:
    """The better of the two policies that need no model."""
    gain = point.gain.value if point.gain is not None else 0.0
    return "acting on all" if point.net_benefit - gain > 1e-9 else "acting on none"


def not_helpful(lines: DecisionLines | None) -> str:
    """Where, up to a threshold of one half, the decision curve shows no gain, and where of these a loss."""
    if lines is None:
        return ""
    inside = lines.threshold <= SHOWN_UP_TO + 1e-9
    none = inside & ~(lines.gain.low > 0)
    if not none.any():
        return ""
    loss = none & (lines.gain.high < 0)
    within = f"; a loss at {_spans(lines, loss)}" if loss.any() else ""
    return f" No gain at {_where(lines, none)}{within}."


def _where(lines: DecisionLines, at: np.ndarray) -> str:
    everywhere = bool(at[lines.threshold <= SHOWN_UP_TO + 1e-9].all())
    return f"any threshold up to {SHOWN_UP_TO:.2f}" if everywhere else f"thresholds of {_spans(lines, at)}"


def _spans(lines: DecisionLines, where: np.ndarray) -> str:
    """The runs of thresholds where something holds, in words."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    ends = zip(lines.threshold[edges[::2]], lines.threshold[edges[1::2] - 1], strict=True)
    return listed([number(a, 2) if a == b else f"{number(a, 2)} to {number(b, 2)}" for a, b in ends])


def _data(scores: PopulationScores) -> Light:
    question = "Are there enough data?"
    present, absent = scores.events, scores.cases - scores.events
    counted = f"{whole(present)} with the condition, {whole(absent)} without"
    if min(present, absent) < FEWEST:
        sentence = f"{counted}: at least {FEWEST} of each are advised.{_rival(scores)}"
        return Light("data", question, NO, sentence, "the cases are too few to be sure")
    wide = [name for name, width in WIDTHS.items() if not _narrow(scores.measures.get(name), width)]
    if wide:
        names = listed([WIDE[name] for name in wide])
        sentence = f"{counted}: enough to judge, but the interval of {names} is wider than advised."
        return Light("data", question, UNCLEAR, sentence, "more cases are needed for precise numbers")
    return Light("data", question, YES, f"{counted}, and every main interval is as narrow as advised.")


def _rival(scores: PopulationScores) -> str:
    """What this many cases cannot show: how far another model's AUC would have to lie away."""
    auc = scores.measures.get("auc")
    if scores.adequacy is None or auc is None or not 0 < auc.value < 1:
        return ""
    gap = scores.adequacy.smallest_detectable_difference
    if math.isnan(gap):
        return " Even a perfect model would be shown to rank better in fewer than four of five such studies."
    return f" Another model must gain {gap:.2f} of AUC to be shown to rank better."


def _narrow(estimate: Estimate | None, width: float) -> bool:
    return estimate is not None and _bounded(estimate) and estimate.high - estimate.low <= width


def _headline(lights: Sequence[Light]) -> str:
    """One sentence: whether it helps, then what is wrong, else what is uncertain."""
    ranking, risks, benefit, data = lights
    others = [light for light in (ranking, risks, data) if light.state == NO]
    others = others or [light for light in (ranking, risks, data) if light.state == UNCLEAR]
    faults = listed([light.fault for light in others]) if others else ""
    said = benefit.fault[0].upper() + benefit.fault[1:]
    if benefit.state == YES:
        return f"{said}, but {faults}." if faults else f"{said}; it ranks well and its risks are right."
    return f"{said}; {faults}." if faults else f"{said}."


def _bounded(estimate: Estimate) -> bool:
    return defined(estimate) and not (math.isnan(estimate.low) or math.isnan(estimate.high))


def _level(estimate: Estimate) -> str:
    return f"{100 * estimate.level:g}% CI"


def _with_bounds(estimate: Estimate) -> str:
    """A ratio with its interval, two decimals each, more where a bound would look like what it is held to."""
    return f"{number(estimate.value, 2)} ({_low_to_high(estimate, 1.0, *TOLERANCE)})"


def _low_to_high(estimate: Estimate, *limits: float) -> str:
    """An interval's bounds, each with two decimals, or more where it would look like a limit."""
    low, high = (
        number(bound, max(digits_apart(bound, limit) for limit in limits))
        for bound in (estimate.low, estimate.high)
    )
    return f"{low} to {high}"


def _per_thousand(benefit: float) -> str:
    return f"{1000 * benefit:.0f}"


def _signed(benefit: float) -> str:
    text = f"{1000 * benefit:+.0f}".replace("-", "−")
    return text if text.strip("+−") != "0" else "0"


BOUNDED = ("sensitivity", "specificity", "ppv", "npv")
RATIOS = ("lr_positive", "lr_negative")
HIGHEST_SHARE = 0.5

REASONS = {
    "sensitivity": "no case has the condition",
    "specificity": "every case has the condition",
    "ppv": "no one is flagged",
    "npv": "everyone is flagged",
    "net_benefit": "undefined here",
    "lr_positive": "undefined here",
    "lr_negative": "undefined here",
}

ROC_FRAME = charts.Frame(
    charts.unit_axis("1 − specificity"), charts.unit_axis("sensitivity"), width=300, height=280
)


COLUMNS = 40  # dots across; 25 rows make 1,000
SHAPES = {
    "found": (0.8, 5.0, "a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0Z"),
    "missed": (1.7, 1.7, "l6.6 6.6m0 -6.6l-6.6 6.6"),
    "alarms": (1.9, 1.9, "h6.2v6.2h-6.2Z"),
    "cleared": (3.7, 5.0, "a1.3 1.3 0 1 0 2.6 0a1.3 1.3 0 1 0 -2.6 0Z"),
}
"""Of each call where its sign starts within a square of side 10, and the rest of its outline."""


def sign(call: str, place: int = 0) -> str:
    """The outline of one person's sign in its place among the dots."""
    x, y, outline = SHAPES[call]
    return f"M{place % COLUMNS * 10 + x:g} {place // COLUMNS * 10 + y:g}{outline}"


def signs(counts: Mapping[str, int]) -> dict[str, str]:
    """The outlines of all people, call by call, in the order of ``SHAPES``."""
    drawn, place = {}, 0
    for call in SHAPES:
        drawn[call] = "".join(sign(call, place + each) for each in range(counts[call]))
        place += counts[call]
    return drawn


def opening_state(subject: Subject, population: str, *, dataset: str = "") -> dict[str, Any]:
    """What the explorer shows before it is moved: 1,000 people at the primary threshold."""
    point, scores = subject.point(population=population), subject.scores(subject.main, population)
    if point is None or scores is None:
        return {
            "sentence": "",
            "people": {},
            "dots": signs(dict.fromkeys(("found", "missed", "alarms"), 0) | {"cleared": 1000}),
        }
    cells = frequencies(
        prevalence=scores.prevalence,
        sensitivity=point.rates["sensitivity"].value,
        specificity=point.rates["specificity"].value,
    )
    counts = dict(
        zip(
            ("found", "missed", "alarms", "cleared"),
            (cells[n] for n in ("true_positives", "false_negatives", "false_positives", "true_negatives")),
            strict=True,
        )
    )
    return {
        "sentence": natural(cells, people=people(dataset, scores), condition=subject.condition),
        "people": counts,
        "dots": signs(counts),
    }


def explorer_data(subject: Subject, curves: Curves, *, dataset: str = "") -> dict[str, Any]:
    """Everything that ``explorer.js`` reads, JSON-able; empty where there is no threshold to open at.

    It opens at the primary model and threshold on the main population.
    """
    evaluation = subject.evaluation
    populations: dict[str, dict[str, Any]] = {}
    for model, by_population in curves.models.items():
        for population, drawn in by_population.items():
            scores = evaluation.models[model][population]
            if drawn.explorer is None or drawn.cases == 0 or scores.used_for:
                continue
            entry = populations.setdefault(
                population,
                {
                    "prevalence": scores.prevalence,
                    "cases": scores.cases,
                    "people": people(dataset, scores),
                    "models": {},
                },
            )
            entry["models"][model] = _rows(scores, drawn, drawn.explorer)
    if not populations:
        return {}
    opens_on = subject.population if subject.population in populations else next(iter(populations))
    if subject.point(population=opens_on) is None:
        return {}
    return {
        "condition": evaluation.condition,
        "opens_on": opens_on,
        "opens_at": _opens_at(subject, opens_on),
        "reasons": REASONS,
        "columns": COLUMNS,
        "shapes": SHAPES,
        "roc_frame": roc_corners(),
        "highest_share": highest_share(entry["prevalence"] for entry in populations.values()),
        "populations": populations,
    }


def _opens_at(subject: Subject, population: str) -> str:
    """The primary threshold's name among those of its model."""
    point, scores = subject.point(population=population), subject.scores(subject.main, population)
    there = named(scores.operating_points) if scores is not None else []
    return next((name for name, each in there if each is point), "half")


def highest_share(prevalences: Iterable[float]) -> float:
    """Where the prevalence slider ends: 0.5, or 0.999 where some population lies above."""
    return HIGHEST_SHARE if max(prevalences) <= HIGHEST_SHARE else 0.999


def roc_corners() -> dict[str, float]:
    """The corners of the small ROC plot, in units of its drawing."""
    return {
        "left": ROC_FRAME.across(0),
        "right": ROC_FRAME.across(1),
        "top": ROC_FRAME.down(1),
        "foot": ROC_FRAME.down(0),
    }


def _rows(scores: PopulationScores, drawn: PopulationCurves, steps: ExplorerSteps) -> dict[str, Any]:
    """One row per change of the counts, then one per operating point at its exact threshold."""
    points = named(scores.operating_points)
    tables = [*_tables(steps), *(point.table for _, point in points)]
    ratios = {name: _ratios(steps, tables, points, name) for name in RATIOS}
    return {
        "present": scores.events,
        "absent": scores.cases - scores.events,
        "starts": steps.changes.tolist(),
        "true_positives": [table.true_positives for table in tables],
        "false_positives": [table.false_positives for table in tables],
        "bounds": {
            **{name: _bounds(name, steps, points) for name in BOUNDED},
            **{name: [_pair(low, high, _exact) for _, low, high in ratios[name]] for name in RATIOS},
        },
        **{name: [_exact(value) for value, _, _ in ratios[name]] for name in RATIOS},
        "roc": _roc_path(drawn),
        "points": [
            _point(name, point, len(steps.changes) + place) for place, (name, point) in enumerate(points)
        ],
    }


def _tables(steps: ExplorerSteps) -> Iterator[Counts]:
    columns = (getattr(steps, name)[steps.changes].tolist() for name in COUNTS)
    return (Counts(*cells) for cells in zip(*columns, strict=True))


def _ratios(
    steps: ExplorerSteps, tables: Sequence[Counts], points: Sequence[tuple[str, OperatingPoint]], name: str
) -> list[tuple[float, float, float]]:
    """A likelihood ratio per row; a point's without a bound is that of the step with its counts."""
    band = steps.ratios[name]
    rows = [*zip(band.value.tolist(), band.low.tolist(), band.high.tolist(), strict=True)]
    known = dict(zip(tables, rows, strict=False))
    return [*rows, *(known.get(p.table, r) for (_, p), r in zip(points, _rates(points, name), strict=True))]


def _rates(points: Sequence[tuple[str, OperatingPoint]], name: str) -> list[tuple[float, float, float]]:
    rates = [point.rates[name] for _, point in points]
    return [(rate.value, rate.low, rate.high) for rate in rates]


def _bounds(
    name: str, steps: ExplorerSteps, points: Sequence[tuple[str, OperatingPoint]]
) -> list[list[Any] | None]:
    band = steps.rates[name]
    ends = [*zip(band.low[steps.changes].tolist(), band.high[steps.changes].tolist(), strict=True)]
    ends += [(low, high) for _, low, high in _rates(points, name)]
    return [_pair(low, high, _printed) for low, high in ends]


def _pair(low: float, high: float, write: Callable[[float], float | None]) -> list[Any] | None:
    return None if math.isnan(low) or math.isnan(high) else [write(low), write(high)]


def _printed(value: float) -> float:
    """As it is printed: bounds of rates are shown and never computed with."""
    return float(f"{value:.3f}")


def _exact(value: float) -> float | None:
    """In full, for likelihood ratios are carried to other prevalences; None for infinity too."""
    return value if math.isfinite(value) else None


def _roc_path(drawn: PopulationCurves) -> str:
    if drawn.roc is None:
        return ""
    return charts.path(ROC_FRAME, drawn.roc.false_positive_rate, drawn.roc.sensitivity)


def named(points: Sequence[OperatingPoint]) -> list[tuple[str, OperatingPoint]]:
    """Operating points with a threshold under names that differ: ``given``, ``given-2`` and so on."""
    seen: dict[str, int] = {}
    pairs = []
    for point in points:
        if math.isnan(point.threshold):
            continue
        seen[point.name] = seen.get(point.name, 0) + 1
        pairs.append((point.name if seen[point.name] == 1 else f"{point.name}-{seen[point.name]}", point))
    return pairs


def _point(name: str, point: OperatingPoint, row: int) -> dict[str, Any]:
    return {
        "name": name,
        "row": row,
        "threshold": point.threshold,
        "value": number(point.threshold, 3 if point.chosen_on in ("fixed", "given") else 5),
        "words": chosen_words(point),
        "label": f"{number(point.threshold)}, {aim_words(point)}",
    }
