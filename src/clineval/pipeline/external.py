"""An external cohort: its risks, its record and its figures."""

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
from clineval.data.preparation import box_of
from clineval.data.similarity import recognise
from clineval.evaluation import Evaluation
from clineval.evaluation.codec import to_plain
from clineval.evaluation.external import transport
from clineval.evaluation.records import Point
from clineval.models.classifier import Classifier
from clineval.models.network import Networks
from clineval.models.preprocessing import MIRRORED, ORIGINAL, external_view, mean_histogram
from clineval.models.scattering import Distance
from clineval.models.stored import Floats
from clineval.pipeline.probes import MEASURING, probes_record
from clineval.pipeline.stored_run import StoredRun, final_risks, score_images
from clineval.predictions import read_predictions
from clineval.progress import Announce
from clineval.settings import ValidationSettings
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
    views = (external.cohort.images, *external.further)
    plain = score_images(run, views[0], matching=False, jobs=jobs, progress=announce("Scoring the images"))
    steps = {"middle square" if settings.own.fit == "crop" else settings.own.fit: [plain.risks]}
    kept = [plain]
    if settings.matching:
        kept = [score_images(run, views[0], jobs=jobs, progress=announce("Scoring with matched grey levels"))]
        steps[FURTHER_VIEW] = [kept[0].risks]
    for view in views[1:]:
        progress = announce("Scoring the upper squares")
        kept.append(score_images(run, view, matching=settings.matching, jobs=jobs, progress=progress))
        steps[UPPER] = [each.risks for each in kept]
    risks = {step: final_risks(run, views) for step, views in steps.items()}
    return ExternalScores(views, plain.distance, list(risks.values())[-1], risks)


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


FILE = "transport.json"
SCHEMA = 1


def transport_record(
    run: StoredRun,
    results: Path,
    table: pd.DataFrame,
    cohort: Cohort,
    scored: ExternalScores,
    at_home: Evaluation,
    settings: ValidationSettings,
) -> dict[str, Any]:
    """Everything that the validation's report sets side by side, as plain values.

    Parameters
    ----------
    results : the run's folder; ``at_home`` its evaluation.
    table : the predictions on ``cohort``, as read back from disk.
    """
    points: dict[str, tuple[Point, ...]] = {name: at_home.points[name] for name in run.names}
    models = transport(
        read_predictions(results / "predictions.csv") if run.alone is None else None,
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
        "seen_in_training": _seen_in_training(run, cohort),
    }


def external_probes(
    external: OwnCohort,
    scored: ExternalScores,
    at_home: Evaluation,
    settings: ValidationSettings,
    *,
    announce: Announce,
) -> dict[str, Any]:
    """What border, marks, size, aspect, focus and brightness of the pictures say beside the primary model."""
    named = at_home.primary.model if at_home.primary is not None else ""
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
    record = provenance.read_provenance(results / provenance.FILE)
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


def _seen_in_training(run: StoredRun, cohort: Cohort) -> list[dict[str, Any]]:
    """The images that show the same picture as a training image, as far as these are known."""
    if run.reference is None:
        return []
    found = recognise(run.reference.trace, cohort.images)
    return [
        {"case": str(cohort.case[each.row])}
        | {name: value for name, value in vars(each).items() if name != "row"}
        for each in found
    ]


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
    from clineval.reporting.strips import ScoredSquares, write_scored_strip

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
