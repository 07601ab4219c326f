"""The answer of a validation: whether ranking, threshold and risks hold elsewhere, in a few sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from clineval.evaluation.json_form import to_estimate
from clineval.reporting import sections, wording
from clineval.reporting.artefacts import Artefacts
from clineval.reporting.subject import Subject, subject_of
from clineval.reporting.tables import Cell, Row, Table, cell, signed
from clineval.reporting.transported import ELSEWHERE, broken, in_order, spoken
from clineval.reporting.wording import number, percent, whole
from clineval.statistics.intervals import Estimate

Content = Mapping[str, Any]
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
    Refusal : ``transport.json`` is not what ``clineval validate`` writes.
    """
    if not artefacts.transport:
        return sections.answer(subject)
    try:
        return list(_sentences(artefacts.transport, subject))
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
        ranked = (cell(to_estimate(drop["auc"])), ranked[1], signed(to_estimate(drop["difference"])))
    if point is None:
        return (model, *ranked, *(missing,) * 4)
    found = (cell(_rate(point, where), as_percent=True) for where in ("internal", "external"))
    gap = signed(to_estimate(point["difference"]["sensitivity"]), as_points=True)
    return (model, *ranked, number(point["threshold"]), *found, gap)


def _sentences(content: Content, subject: Subject) -> Iterator[str]:
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
            f"On {name} {model} reaches an AUC of {wording.with_interval(external)}; the run has no test "
            "cases of this model to set beside it."
        )
    gap = to_estimate(drop["difference"])
    return (
        f"{_verdict(gap)}: on {name} {model} has an AUC of {wording.with_interval(external)}, after "
        f"{wording.with_interval(to_estimate(drop['auc']), name_level=False)} on the test cases at home, "
        f"a difference of {wording.signed(gap.value)} ({wording.interval(gap) or 'no interval'})."
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
    if not wording.interval(gap):
        return "Whether the ranking holds these cases cannot tell"
    if wording.covers(gap, 0.0):
        lost = f", but one of up to {number(-gap.low)} is not excluded" if gap.low < 0 else ""
        return f"No loss in ranking can be shown{lost}"
    return "These patients are ranked better" if gap.value > 0 else "These patients are ranked worse"


def _threshold(point: Content, subject: Subject) -> str:
    here, home = (
        {
            rate: wording.with_interval(_rate(point, where, rate), as_percent=True, name_level=False)
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
    at_home = f", {_missed(home)} at home" if wording.defined(home) else ""
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
    if not wording.interval(found):
        return f"Whether its risks are right on average these cases cannot tell: {found.method}."
    seen = (
        f"{number(found.value, 2)} ({number(found.low, 2)} to {number(found.high, 2)}) {condition} cases "
        "were seen for each one that its risks promise"
    )
    if wording.covers(found, 1.0):
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
