"""An external cohort: its risks, its record and figures, and its images as worse scanners show them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval import results as provenance
from clineval.data.cohort import Cohort
from clineval.data.findings import file_quantities
from clineval.data.own_images import OwnCohort, RawSample, draw_samples
from clineval.data.preparation import KINDS, SEVERITIES, box_of, corrupt
from clineval.data.similarity import recognise
from clineval.errors import Announce, Progress
from clineval.evaluation import Evaluation
from clineval.evaluation.external import probes_record, transport
from clineval.evaluation.records import Point
from clineval.files import PREDICTIONS, to_plain
from clineval.models.classifier import Classifier
from clineval.models.network import Networks
from clineval.models.preprocessing import MIRRORED, ORIGINAL, external_view, mean_histogram
from clineval.models.scattering import Distance
from clineval.models.stored import Floats
from clineval.pipeline.audit import MEASURING
from clineval.pipeline.predict import warnings_of
from clineval.pipeline.stored_run import StoredRun, final_risks, score_images
from clineval.predictions import read_predictions
from clineval.reporting.artefacts import ROBUSTNESS
from clineval.settings import ValidationSettings
from clineval.statistics.calibration import calibration_intercept, calibration_slope
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import operating_point
from clineval.statistics.roc import auc_logit

FURTHER_VIEW = "a further view: grey levels matched"
UPPER = "mean with the upper square"


@dataclass(frozen=True)
class ExternalScores:
    """External images as the models see them and what these say.

    Attributes
    ----------
    views : the squares of each image (the middle one; the upper one where it counts).
    distance : how unlike the training images the first square is; None where these are not known.
    risks : the final ones by model; ``steps`` those after each step of preparation, in order.
    """

    views: tuple[NDArray[np.uint8], ...]
    distance: Distance | None
    risks: Mapping[str, Floats]
    steps: Mapping[str, Mapping[str, Floats]]


def score_external(
    run: StoredRun, external: OwnCohort, settings: ValidationSettings, *, jobs: int | None, announce: Announce
) -> ExternalScores:
    """Risks of every external image, as the run gives them and after each step on the way there."""
    views, shown = (external.cohort.images, *external.further), as_taken(external)
    plain = score_images(run, shown, matching=False, jobs=jobs, progress=announce("Scoring the images"))
    steps = {"middle square" if settings.own.fit == "crop" else settings.own.fit: [plain.risks]}
    kept = [plain]
    if settings.matching:
        kept = [score_images(run, shown, jobs=jobs, progress=announce("Scoring with matched grey levels"))]
        steps[FURTHER_VIEW] = [kept[0].risks]
    for view in views[1:]:
        progress = announce("Scoring the upper squares")
        kept.append(score_images(run, view, matching=settings.matching, jobs=jobs, progress=progress))
        steps[UPPER] = [each.risks for each in kept]
    risks = {step: final_risks(run, views) for step, views in steps.items()}
    return ExternalScores(views, plain.distance, list(risks.values())[-1], risks)


def as_taken(external: OwnCohort) -> NDArray[np.uint8]:
    """The first square of each image, in colour where a model of the run learnt in colour."""
    return external.cohort.images if external.cohort.colour is None else external.cohort.colour


def views_in_words(run: StoredRun) -> str:
    """Which model averages over which views of an image."""
    return "; ".join(
        f"{model}: {', '.join(_view_in_words(run.models[model], name) for name in names)}"
        for model, names in run.views.items()
        if len(names) > 1
    )


def _view_in_words(model: Classifier, name: str) -> str:
    return f"{name} and mirrored" if isinstance(model, Networks) and any(MIRRORED[name]) else name


def further_views(run: StoredRun) -> tuple[str, ...]:
    """Every view but that with the image's own grey levels, each once."""
    views = dict.fromkeys(name for names in run.views.values() for name in names)
    return tuple(name for name in views if name != ORIGINAL)


SCHEMA = 1


def transport_record(
    run: StoredRun,
    results: Path,
    table: pd.DataFrame,
    external: OwnCohort,
    scored: ExternalScores,
    internal: Evaluation,
    settings: ValidationSettings,
) -> dict[str, Any]:
    """Everything that the validation's report sets side by side, as plain values.

    Parameters
    ----------
    results : the run's folder; ``internal`` its evaluation.
    table : the predictions on the external cohort, as read back from disk.
    """
    cohort = external.cohort
    points: dict[str, tuple[Point, ...]] = {name: internal.points[name] for name in run.names}
    models = transport(
        read_predictions(results / PREDICTIONS) if run.alone is None else None,
        table,
        points=points,
        level=settings.evaluation.level,
        draws=settings.evaluation.draws,
        seed=settings.evaluation.seed,
    )
    return {
        "schema": SCHEMA,
        "external": settings.name,
        "group_column": settings.own.group_column,
        "internal": run.data_title,
        **({} if run.alone is None else {"alone": run.alone.lacks}),
        "run": _about(run, results),
        "condition": run.condition,
        "level": settings.evaluation.level,
        "steps": list(_steps(cohort, scored, settings)),
        "models": to_plain(models),
        "images": _images(run, cohort, scored),
        "seen_in_training": seen_in_training(run, cohort),
        "warnings": warned_cases(run, external, scored),
    }


def external_probes(
    external: OwnCohort,
    scored: ExternalScores,
    internal: Evaluation,
    settings: ValidationSettings,
    *,
    announce: Announce,
) -> dict[str, Any]:
    """What border, marks, size, aspect, focus and brightness of the pictures say beside the primary model."""
    named = internal.primary.model if internal.primary is not None else ""
    model = named if named in scored.risks else next(iter(scored.risks))
    quantities = file_quantities(external.paths, bits=external.bits, progress=announce(MEASURING))
    return probes_record(
        external.cohort.outcome,
        scored.risks[model],
        quantities,
        group=external.cohort.group,
        model=model,
        settings=settings.evaluation,
    )


def _about(run: StoredRun, results: Path) -> dict[str, Any]:
    """Which run was validated, in what its own provenance says of it."""
    if run.alone is not None:
        return {"file": run.alone.file, "side": run.side, "models_sha256": run.alone.sha256}
    record = provenance.read_provenance(results / provenance.PROVENANCE)
    data = record.get("settings", {}).get("data", {})
    return {
        "folder": results.resolve().name,
        "program": record.get("program"),
        "commit": record.get("commit"),
        "side": run.side,
        "split": None if data.get("own") else data.get("split"),  # the table's own, or one made by group
        "models_sha256": provenance.hash_settings(hashes_of(run, results)),
    }


def hashes_of(run: StoredRun, results: Path) -> dict[str, str]:
    """The SHA-256 of every file of the models by its name."""
    if run.alone is not None:
        return {run.alone.file: run.alone.sha256}
    return provenance.hash_folder(results / "models")


def _steps(cohort: Cohort, scored: ExternalScores, settings: ValidationSettings) -> Iterator[dict[str, Any]]:
    """What each step of preparation gave; none was chosen by it."""
    for place, (step, risks) in enumerate(scored.steps.items()):
        aucs = {
            model: auc_logit(cohort.outcome, risk, group=cohort.group, level=settings.evaluation.level)
            for model, risk in risks.items()
        }
        matched = settings.matching and place > 0  # from the second view on; the upper square is matched too
        yield {"step": step, "uses_grey_levels": matched, "auc": to_plain(aucs)}


def _images(run: StoredRun, cohort: Cohort, scored: ExternalScores) -> dict[str, Any]:
    """Grey levels here and in training, and how many images are unlike those of training."""
    levels = {"external": mean_histogram(cohort.images)}
    far = scored.distance
    if run.reference is None or far is None:
        return _grey(levels)
    known = run.reference.novelty
    return {
        **_grey({"training": known.grey, **levels}),
        "unlike": int(far.unlike.sum()),
        "unlike_texture": int((far.texture > known.texture_limit).sum()),
        "unlike_grey": int((far.grey > known.grey_limit).sum()),
        "texture_distance": _quartiles(far.texture) | {"limit": to_plain(known.texture_limit)},
        "grey_distance": _quartiles(far.grey) | {"limit": to_plain(known.grey_limit)},
    }


def _grey(levels: Mapping[str, Floats]) -> dict[str, Any]:
    """How often each grey level occurs, their mean and their spread, by where."""
    return {
        "grey_levels": {where: shares.tolist() for where, shares in levels.items()},
        "mean_grey": {where: _mean(shares) for where, shares in levels.items()},
        "sd_grey": {where: _sd(shares) for where, shares in levels.items()},
    }


def seen_in_training(run: StoredRun, cohort: Cohort) -> list[dict[str, Any]]:
    """The images that show the same picture as a training image, as far as these are known."""
    if run.reference is None:
        return []
    found = recognise(run.reference.trace, cohort.images)
    return [
        {"case": str(cohort.case[each.row])}
        | {name: value for name, value in vars(each).items() if name != "row"}
        for each in found
    ]


def warned_cases(run: StoredRun, external: OwnCohort, scored: ExternalScores) -> dict[str, list[str]]:
    """The cases of each warning that ``clineval predict`` would give, by its code."""
    warned = warnings_of(run, external.cohort.images, scored.distance, external.read)
    cases: dict[str, list[str]] = {}
    for case, given in zip(external.cohort.case.tolist(), warned, strict=True):
        for each in given:
            cases.setdefault(each.code, []).append(case)
    return cases


def _mean(shares: Floats) -> float:
    return float(shares @ np.arange(len(shares)))


def _sd(shares: Floats) -> float:
    return float(np.sqrt(shares @ (np.arange(len(shares)) - _mean(shares)) ** 2))


def _quartiles(values: Floats) -> dict[str, float]:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"lower_quartile": float(low), "median": float(median), "upper_quartile": float(high)}


SQUARES = {"crop": "middle\nsquare", "top": "upper\nsquare", "pad": "whole,\npadded"}
BY_VALUE, ALONE = 2, 6  # images shown per scanner, and where there is no column of scanners


def draw_beside(beside: Mapping[str, Any], external: OwnCohort, folder: Path) -> None:
    """Draw ``case_mix.png``: risks and grey levels, internal and external."""
    from clineval.reporting.plots import write_case_mix

    write_case_mix(beside, folder / "case_mix.png", notice=external.cohort.source.notice)


def draw_scored_squares(
    run: StoredRun, external: OwnCohort, scored: ExternalScores, folder: Path, *, matching: bool
) -> None:
    """Draw ``check_strip.png``: files beside every square and view that was scored, by scanner."""
    from clineval.reporting.data_plots import ScoredSquares, write_scored_strip

    by_scanner = draw_samples(external, each=BY_VALUE)
    drawn = by_scanner if by_scanner.by else draw_samples(external, each=ALONE)
    row_of = {str(case): row for row, case in enumerate(external.cohort.case)}
    fits = _fits(external, scored)
    further = further_views(run) if matching else ()
    squares = [
        ScoredSquares(
            sample,
            tuple(_box(sample, fit) for fit in fits),
            tuple(_tiles(run, scored, row_of[sample.case], further)),
        )
        for sample in drawn.samples
    ]
    source = external.cohort.source
    write_scored_strip(
        drawn,
        squares,
        folder / "check_strip.png",
        names=(*(SQUARES[fit] for fit in fits), *further),
        views=views_in_words(run) if matching else "",
        condition=external.cohort.condition,
        notice=source.notice,
    )


def _fits(external: OwnCohort, scored: ExternalScores) -> tuple[str, ...]:
    return (external.fit, "top")[: len(scored.views)]


def _box(sample: RawSample, fit: str) -> tuple[float, float, float, float]:
    height, width = sample.raw.shape
    left, upper, right, lower = box_of(width, height, fit=fit)
    return float(left), float(upper), float(right), float(lower)


def _tiles(
    run: StoredRun, scored: ExternalScores, row: int, further: Sequence[str]
) -> Iterator[np.ndarray | None]:
    """The squares of one image, None where one is the first again; then its further views."""
    first = scored.views[0][row]
    yield first
    for view in scored.views[1:]:
        yield None if np.array_equal(view[row], first) else view[row]
    if run.reference is not None:
        for name in further:
            yield external_view(first[None], name, run.reference.novelty.grey).images[0]


AS_IT_IS = "as it is"
NO_THRESHOLD = Point("given", math.nan, "given", "none was given")


def write_robustness(
    run: StoredRun,
    cohort: Cohort,
    views: Sequence[NDArray[np.uint8]],
    settings: ValidationSettings,
    folder: Path,
    *,
    jobs: int | None = None,
    announce: Announce,
) -> pd.DataFrame:
    """Write ``robustness.csv`` and its figure: every corruption at every severity, nothing refitted."""
    from clineval.reporting.plots import write_robustness_figure

    copies = len(KINDS) * len(SEVERITIES)
    step = f"Scoring {copies} corrupted copies of the images, about {copies} times what scoring them took"
    table = robustness(run, cohort, views, settings, jobs=jobs, progress=announce(step))
    table.to_csv(folder / ROBUSTNESS, index=False, lineterminator="\n")
    about = f"{cohort.source.title}: n = {len(cohort)}, {int(cohort.outcome.sum())} {cohort.condition}"
    level = settings.evaluation.level
    write_robustness_figure(
        table, folder / "robustness.png", about=about, level=level, notice=cohort.source.notice
    )
    return table


def robustness(
    run: StoredRun,
    cohort: Cohort,
    views: Sequence[NDArray[np.uint8]],
    settings: ValidationSettings,
    *,
    kinds: Sequence[str] = KINDS,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """AUC, sensitivity and specificity at the frozen threshold, and calibration, per corruption and severity.

    Parameters
    ----------
    views : the squares of every image that the run's risk is the mean of, each (cases, side, side).
    kinds : of corruption.
    jobs : threads; all cores by default. The numbers do not depend on it.
    progress : called with (squares scored, squares in all), every few dozen of them.

    Returns
    -------
    One row per corruption, severity and model (severity 0 is the cohort as it is), with each
    measure's value, ``_low`` and ``_high``.
    """
    grid = [(AS_IT_IS, 0), *((kind, severity) for kind in kinds for severity in SEVERITIES)]
    rows: list[dict[str, Any]] = []
    each, total = len(cohort), len(grid) * len(views) * len(cohort)
    for done, (kind, severity) in enumerate(grid):
        scored = []
        for place, view in enumerate(views):
            shown = _shown(view, kind, severity, settings.evaluation.seed)
            count = _going_on(progress, (done * len(views) + place) * each, total)
            one = score_images(run, shown, matching=settings.matching, jobs=jobs, progress=count)
            scored.append(one.risks)
        about = {"corruption": kind, "severity": severity}
        risks = final_risks(run, scored)
        rows.extend({**about, **row} for row in _rows(run, cohort, risks, settings.evaluation.level))
    return pd.DataFrame(rows)


def _going_on(progress: Progress | None, before: int, total: int) -> Progress | None:
    """The progress of a part that begins when ``before`` of all are done."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _shown(view: NDArray[np.uint8], kind: str, severity: int, seed: int) -> NDArray[np.uint8]:
    return corrupt(view, kind, severity, seed=seed) if severity else view


def _rows(
    run: StoredRun, cohort: Cohort, risks: Mapping[str, Floats], level: float
) -> Iterator[dict[str, Any]]:
    for model, risk in risks.items():
        row: dict[str, Any] = {"model": model}
        for name, estimate in _measures(run, model, cohort, risk, level):
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        yield row


def _measures(
    run: StoredRun, model: str, cohort: Cohort, risk: Floats, level: float
) -> Iterator[tuple[str, Estimate]]:
    plain: dict[str, Any] = {"group": cohort.group, "level": level}
    yield "auc", auc_logit(cohort.outcome, risk, **plain)
    threshold = run.threshold_of(model)
    point = operating_point(
        cohort.outcome, risk, NO_THRESHOLD if math.isnan(threshold) else threshold, **plain
    )
    yield "sensitivity", point.sensitivity
    yield "specificity", point.specificity
    yield "calibration_intercept", calibration_intercept(cohort.outcome, risk, **plain)
    yield "calibration_slope", calibration_slope(cohort.outcome, risk, **plain)
