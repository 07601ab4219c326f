"""An adoption in words, a page and a figure: what local cases change, what that buys, how many it takes."""

import base64
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clineval.evaluation.adoption import TOLERANCE, AdoptedModel, Adoption
from clineval.files import ADOPTION_PAGE, program_version, write_whole
from clineval.reporting.report import page
from clineval.reporting.sentences import (
    cases_of,
    covers,
    defined,
    listed,
    number,
    signed,
    split_name,
    target_percent,
    two_decimals,
    whole,
    whole_percent,
    with_condition,
)
from clineval.reporting.style import (
    INK,
    MODEL_COLOURS,
    MUTED,
    Heading,
    journal_style,
    lay_out_stacked,
    new_figure,
    save,
    shorten,
)
from clineval.reporting.tables import AS_PERCENT, Cell, Row, Table, cell, signed_cell
from clineval.statistics.intervals import Estimate
from clineval.statistics.sample_size import LocalCases
from clineval.statistics.updating import HEADS, EvaluatedHead, EvaluatedUpdate

PAGE, FIGURE = ADOPTION_PAGE, "local_cases"
WHEN_PRINTED = """addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});"""
STEP_NAMES = {
    "nothing": "nothing",
    "threshold": "threshold only",
    "intercept": "intercept",
    "intercept_slope": "intercept and slope",
    "shrunken": "intercept and slope, shrunken",
    "closed_testing": "closed testing's choice",
    "head": "last layer refitted",
    "head_shrunken": "last layer refitted, shrunk towards the frozen one",
}
RATES = ("sensitivity", "specificity")
MEASURES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "Brier score",
    "log_loss": "log loss",
}


def headline(found: Adoption) -> tuple[str, str]:
    """Whether the target is reached here, with what and at which cost; then whether the cases are enough."""
    sensitivity, specificity = (getattr(own_step(found).scores, name) for name in RATES)
    if not defined(sensitivity):
        wanted = f"sensitivity of {target_percent(found.target)}"
        said = f"Whether {found.model} reaches a {wanted} at {found.site} is not known: {sensitivity.method}."
        return said, _recommendation(found)
    model = f"{found.model}, its last layer refitted," if _refitted(found) else found.model
    short = round(100 * sensitivity.value) < 100 * found.target
    aim = f"{' instead of' if short else ', target'} {target_percent(found.target)}"
    return (
        f"{_reached(sensitivity, found.target)}: {model} finds {_percent(sensitivity)} of "
        f"{cases_of(found.condition)}{aim}{_alarms(specificity.value)}."
    ), _recommendation(found)


def _alarms(specificity: float) -> str:
    """What a specificity costs, to follow a sensitivity; empty where there is none."""
    if math.isnan(specificity):
        return ""
    return f", at {100 * (1 - specificity):.0f} false alarms per 100 others"


def warning(found: Adoption) -> str:
    """That local images are training images of the run; empty where none is known to be."""
    known = found.seen_in_training
    if not known:
        return ""
    return (
        f"{whole(known)} of {whole(found.cases)} local images {'shows' if known == 1 else 'show'} the same "
        "picture as a training image of the run: every number here is too favourable. Leave them out and "
        "adopt again."
    )


def _reached(found: Estimate, target: float) -> str:
    """Whether a sensitivity reaches its target, in one word."""
    if found.low >= target:
        return "Yes"
    if found.high < target:
        return "No"
    near = found.value >= target - TOLERANCE - 1e-9
    if near and found.low >= target - 2 * TOLERANCE - 1e-9:
        return "Nearly" if found.value < target else "Probably"
    return "Uncertain"


def _refitted(found: Adoption) -> bool:
    """Whether the primary model as written has a refitted last layer, or is the mean of models with one."""
    return found.update in HEADS and found.model in found.heads


def _changed(found: Adoption) -> bool:
    """Whether the primary model's risks here are others than the run's."""
    return _refitted(found) or found.models[found.model].recalibration is not None


def own_step(found: Adoption) -> EvaluatedUpdate | EvaluatedHead:
    """The step that flags as the primary model as written: recalibration keeps the order of its risks."""
    if _refitted(found):
        return next(each for each in found.heads[found.model] if each.step == found.update)
    return next(each for each in found.ladder if each.step == "threshold")


def sentences(found: Adoption) -> Iterator[str]:
    """What else the adoption allows one to say."""
    steps = {each.step: each for each in found.ladder}
    yield _new_threshold(found)
    if _refitted(found):
        yield _rates("With its threshold alone set on local cases it", steps["threshold"], found)
    yield _risks(steps.get(found.update, steps["closed_testing"]))
    yield from filter(None, [_head(found), _label_free(found), _standardised(found)])


def _new_threshold(found: Adoption) -> str:
    model = found.models[found.model]
    scale = ", on the updated risks" if _changed(found) else ""
    return (
        f"New threshold of {found.model} at {found.site}: {number(model.points[-1].threshold)}{scale} "
        f"(before: {number(found.frozen_threshold)}), for a sensitivity of {target_percent(found.target)}."
    )


def _recommendation(found: Adoption) -> str:
    """Whether the local cases are enough for the threshold, and what to do where they are not."""
    plain, sure = found.curves
    surely = found.assurance is not None and found.assurance >= (sure.assurance or 1)
    own = sure if surely else plain
    have = f"{whole(found.events)} local {cases_of(found.condition)}"
    if found.events >= own.needed:
        floor = target_percent(found.target - own.tolerance)
        kept = f"to keep {floor} or more in nine of ten adoptions"
        return f"{have} are enough {kept}. Check the threshold on later patients before use."
    counted = f"{whole(found.events)} {found.condition}"
    few = f"With so few local cases ({counted}) the next adoption may fall lower"
    if not surely and found.events >= sure.needed:
        return f"{few}; {_with_assurance(sure, found.events)}."
    more = "" if math.isnan(own.needed) else f"; {own.needed:.0f} are needed"
    return f"{few}{more}. Collect more labelled cases before use."


def _with_assurance(sure: LocalCases, events: int) -> str:
    """What a threshold lowered for assurance would do, as recorded for the nearest number of local cases."""
    place = int(np.abs(sure.events - events).argmin())
    found, specificity = float(sure.sensitivity[place]), float(sure.specificity[place])
    option = f"--assurance {sure.assurance:g}"
    if math.isnan(found):
        return f"adopt again with {option}, which costs specificity"
    return f"{option} would have found about {whole_percent(found)}{_alarms(specificity)}"


def _rates(who: str, step: EvaluatedUpdate, found: Adoption) -> str:
    scores = step.scores
    if not defined(scores.sensitivity):
        return f"{who} could not be scored: {scores.sensitivity.method}."
    where = "" if step.step == "nothing" else ", on local cases not used for fitting"
    return (
        f"{who} finds {_percent(scores.sensitivity)} of {cases_of(found.condition)} (target "
        f"{target_percent(found.target)}) at a specificity of {_percent(scores.specificity)}{where}."
    )


def _percent(found: Estimate) -> str:
    if math.isnan(found.low):
        return whole_percent(found.value)
    bounds = f"{whole_percent(found.low)} to {whole_percent(found.high)}"
    return f"{whole_percent(found.value)} ({bounds})"


def _risks(step: EvaluatedUpdate) -> str:
    change, name = step.change.brier, STEP_NAMES[step.step]
    if not defined(change):
        return f"Recalibration ({name}) could not be scored: {change.method}."
    said = "no evidence that it helps" if covers(change, 0.0) else "better" if change.value < 0 else "worse"
    return (
        f"Recalibration ({name}) changes the Brier score by {signed(change.value)} "
        f"({number(change.low)} to {number(change.high)}): {said}."
    )


def _needed(found: Adoption) -> str:
    plain, sure = found.curves
    floor, wanted = target_percent(found.target - plain.tolerance), target_percent(found.target)
    return (
        f"Keeping {floor} or more in nine of ten adoptions takes {_many(plain, found)}. With a lower "
        f"threshold, set to reach {wanted} in {whole_percent(sure.assurance)} of adoptions, it takes "
        f"{_many(sure, found)}."
    )


def _many(curve: LocalCases, found: Adoption) -> str:
    if math.isnan(curve.needed):
        return f"more cases than any number considered ({curve.reason})"
    place = int(np.flatnonzero(curve.events == curve.needed)[0])
    return (
        f"{curve.needed:.0f} local {cases_of(found.condition)} (specificity "
        f"{whole_percent(float(curve.specificity[place]))})"
    )


def _standardised(found: Adoption) -> str:
    scaled = found.standardised
    if scaled is None:
        return ""
    names, auc, gain = listed(list(scaled.models)), two_decimals(scaled.auc), signed(scaled.gain.value)
    finds = f"{_percent(scaled.sensitivity)} at a specificity of {_percent(scaled.specificity)}"
    return (
        f"Without labels, with the features of {names} standardised by the local images, {found.model} has "
        f"an AUC of {auc} (change {gain}) and at its frozen threshold finds {finds}. This is a sensitivity "
        "analysis, not for clinical use: the target may be missed, and each image's risk changes with the "
        "other images."
    )


def _head(found: Adoption) -> str:
    """What refitting the last layer buys, of the primary model or the first that has one."""
    name = found.model if found.model in found.heads else next(iter(found.heads), "")
    if not name:
        return ""
    best = {each.step: each for each in found.heads[name]}["head_shrunken"]
    said = "no evidence of a better ranking" if covers(best.gain, 0.0) else (
        "a better ranking" if best.gain.value > 0 else "a worse ranking"
    )  # fmt: skip
    return (
        f"Refitting the last layer of {name}, shrunk towards the frozen one, changes the AUC by "
        f"{signed(best.gain.value)} ({number(best.gain.low)} to {number(best.gain.high)}): {said}."
    )


def head_table(found: Adoption) -> Table | None:
    """Each model whose last layer was refitted, beside the same with a local threshold only."""
    rows: list[Row] = []
    for model, steps in found.heads.items():
        for each in steps:
            gain = signed_cell(each.gain)
            shown = cell(each.auc)
            words = f"change {gain.text} ({gain.interval})" if gain.interval else ""
            rates = [cell(getattr(each.scores, name), as_percent=name in AS_PERCENT) for name in MEASURES]
            chosen = ", ".join(f"{penalty:g} ({count})" for penalty, count in each.penalties) or "–"
            auc = Cell(shown.text, shown.interval, shown.method, words if each.step != "threshold" else "")
            rows.append((f"{model}: {STEP_NAMES[each.step]}", auc, *rates, chosen))
    headings = ("what is updated", "AUC", *MEASURES.values(), "C chosen (fits)")
    return Table(headings, tuple(rows)) if rows else None


def _label_free(found: Adoption) -> str:
    flagged = found.share_flagged
    if flagged is None:
        return ""
    share = whole_percent(flagged.share)
    return (
        f"Without labels, a threshold that flags {share} of the cases here, as the frozen one does of "
        f"{split_name(flagged.population)}, finds {_percent(flagged.sensitivity)} at a specificity of "
        f"{_percent(flagged.specificity)}. This is a sensitivity analysis, not for clinical use: the target "
        "may be missed, because prevalence and case mix differ between sites."
    )


# --- the page -----------------------------------------------------------------------------------------


def write_adoption_page(found: Adoption, folder: Path, *, notice: str = "") -> Path:
    """Write ``adoption.html`` with the figure that lies beside it."""
    picture = folder / f"{FIGURE}.png"
    content = {
        "title": f"Does the model “{found.model}”, updated on local cases, reach its target at {found.site}?",
        "counted": _counted(found),
        "notice": notice,
        "headline": [unbroken(each) for each in headline(found)],
        "warning": warning(found),
        "before_after": before_after(found),
        "needed_words": _needed(found),
        "sentences": list(sentences(found)),
        "counts": _counts(found),
        "ladder": ladder_table(found),
        "models": _model_table(found),
        "heads": head_table(found),
        "needed": _needed_table(found),
        "figure": base64.b64encode(picture.read_bytes()).decode("ascii") if picture.is_file() else "",
        "found": found,
        "level": f"{100 * found.level:g}%",
        "program": f"clineval {program_version()}",
    }
    write_whole(folder / PAGE, page("adoption.html.jinja", content, script=WHEN_PRINTED))
    return folder / PAGE


def unbroken(text: str) -> Markup:
    """Text for the page in which no option of the command line is broken between two lines."""
    return Markup(re.sub(r"(--[a-z]+(?: [0-9.]*[0-9])?)", r"<code>\1</code>", str(escape(text))))


def _counted(found: Adoption) -> str:
    patients = f" · {whole(found.groups)} patients or groups" if found.groups < found.cases else ""
    present = with_condition(found.condition)
    return f"{found.site} · {whole(found.cases)} local cases, {whole(found.events)} {present}{patients}"


def before_after(found: Adoption) -> Table:
    """The primary model as it was and as adopted: its threshold, and what it finds on local cases."""
    frozen, own, model = found.ladder[0], own_step(found), found.models[found.model]
    after = Cell(
        number(model.points[-1].threshold), "", "", "on the updated risks" if _changed(found) else ""
    )
    steps = {"as it was": (frozen, Cell(number(found.frozen_threshold))), "adopted": (own, after)}
    rows: list[Row] = []
    for name, (step, threshold) in steps.items():
        rates = (cell(getattr(step.scores, rate), as_percent=True) for rate in RATES)
        rows.append((f"{found.model}, {name}", threshold, *rates))
    return Table(("model", "threshold", *RATES), tuple(rows))


def _counts(found: Adoption) -> Table:
    assurance = "" if found.assurance is None else f", reached with a probability of {found.assurance:g}"
    rows = {
        "local cases": f"{whole(found.cases)}, {whole(found.events)} of them {found.condition}",
        **({"patients or groups": whole(found.groups)} if found.groups < found.cases else {}),
        "primary model": f"{found.model}, frozen threshold {number(found.frozen_threshold)}",
        "target": f"sensitivity {found.target:g}{assurance}",
        "update of the risks": STEP_NAMES[found.update],
    }
    return Table(("what", "value"), tuple(rows.items()))


def ladder_table(found: Adoption) -> Table:
    """Each step of updating with its scores, and their change from doing nothing."""
    rows: list[Row] = []
    for each in found.ladder:
        cells: list[Cell] = []
        for measure in MEASURES:
            as_percent = measure in AS_PERCENT
            shown = cell(getattr(each.scores, measure), as_percent=as_percent)
            gap = signed_cell(getattr(each.change, measure), as_points=as_percent)
            same = each.step == "nothing" or not gap.interval
            words = "" if same else f"change {gap.text} ({gap.interval})"
            cells.append(Cell(shown.text, shown.interval, shown.method, words))
        rows.append((_step_name(each.step, found), *cells, _taken(each)))
    return Table(("what is updated", *MEASURES.values(), "fits that ended as"), tuple(rows))


def _step_name(step: str, found: Adoption) -> str:
    """A step of updating; of one that keeps the frozen threshold, that it does."""
    if step == "threshold":
        return STEP_NAMES[step]
    old = f"{STEP_NAMES[step]}, old threshold {number(found.frozen_threshold)}"
    return old if step == "nothing" else f"recalibrated: {old} (not what is installed)"


def _taken(each: EvaluatedUpdate) -> str:
    if each.step not in ("closed_testing", "shrunken"):
        return "–"
    return ", ".join(f"{STEP_NAMES[step]} ({count})" for step, count in each.taken)


def _model_table(found: Adoption) -> Table:
    rows: list[Row] = []
    for name, model in found.models.items():
        rows.append((name, _recalibrated(model), number(model.points[-1].threshold)))
    return Table(("model", "risks at this site", "local threshold"), tuple(rows))


def _recalibrated(model: AdoptedModel) -> str | Cell:
    fitted = model.recalibration
    if not math.isnan(model.penalty):
        return f"{STEP_NAMES[model.taken]} (C = {model.penalty:g})"
    if fitted is None:
        return Cell("as the run gives them", "", model.reason, model.reason)
    slope = "" if fitted.slope == 1 else f"{number(fitted.slope)} × "
    return f"logit = {number(fitted.intercept)} + {slope}logit(risk)"


def _needed_table(found: Adoption) -> Table:
    rows: list[Row] = []
    plain, sure = found.curves
    for place, events in enumerate(plain.events.tolist()):
        row: list[str | Cell] = [f"{events:.0f}"]
        for curve in (plain, sure):
            values = (curve.sensitivity, curve.worst_tenth, curve.specificity, curve.reached)
            row.extend(whole_percent(float(each[place])) for each in values)
        rows.append(tuple(row))
    what = (
        "sensitivity",
        "worst tenth",
        "specificity",
        f"{target_percent(found.target - plain.tolerance)} or more",
    )
    headings = (
        f"local {found.condition} cases", *what, *(f"{each}, with assurance" for each in what)
    )  # fmt: skip
    return Table(headings, tuple(rows))


# --- the figure ---------------------------------------------------------------------------------------


def write_adoption_figure(
    found: Adoption, folder: Path, *, formats: tuple[str, ...] = ("png",), notice: str = ""
) -> None:
    """Draw ``local_cases``: how many local cases it takes; its numbers are in ``local_cases.csv``."""
    with journal_style():
        save(local_cases_figure(found, notice=notice), folder / FIGURE, formats=formats)


def local_cases_figure(found: Adoption, *, notice: str = "") -> Figure:
    """Sensitivity above and the specificity that it costs below, against the number of local cases."""
    figure, (upper, lower) = new_figure(panels=2)
    names = (f"threshold at {found.target:g}", f"set so that {found.target:g} is reached nine times in ten")
    for curve, name, colour in zip(found.curves, names, MODEL_COLOURS, strict=False):
        draw_sensitivity(curve, upper, name=name, colour=colour)
        lower.plot(curve.events, curve.specificity, color=colour)
        lower.set_ylabel("specificity")
    plain = found.curves[0]
    for line, dashes in ((found.target, (4, 2)), (found.target - plain.tolerance, (1, 2))):
        upper.axhline(line, color=MUTED, linewidth=0.8, dashes=dashes)
    for ax in (upper, lower):
        ax.set_xlim(0, float(plain.events[-1]))
        ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
        ax.set_xlabel(shorten(f"local {found.condition} cases that set the threshold", 60))
    upper.set_ylim(top=1.0)
    lower.set_ylim(0, 1)
    about = (
        f"{found.model} at {found.site}: mean over adoptions (lines), the tenth that end lowest (dotted); "
        f"whole patients of {whole(found.cases)} local cases redrawn; dashed: {found.target:g} and "
        f"{found.target - plain.tolerance:g}"
    )
    heading = Heading("How many local cases a threshold takes", shorten(about, 240), notice)
    return lay_out_stacked(figure, heading, height=1.6)


def draw_sensitivity(curve: LocalCases, ax: Axes, *, name: str, colour: str = INK) -> None:
    """The expected sensitivity, its worst tenth, and the least number that is enough as a dot."""
    ax.plot(curve.events, curve.sensitivity, color=colour, label=name)
    ax.plot(curve.events, curve.worst_tenth, color=colour, linestyle=(0, (1, 1.5)))
    if not math.isnan(curve.needed):
        place = int(np.flatnonzero(curve.events == curve.needed)[0])
        ax.plot(curve.needed, curve.worst_tenth[place], "o", color=colour, markersize=5)
    ax.set_ylabel("sensitivity")
