"""The adopt step: a finished run updated on labelled cases of one site, as a frozen model of its own."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from clineval import results as provenance
from clineval.data.own_images import OwnCohort
from clineval.errors import Announce, InputError, option, silent
from clineval.evaluation import Evaluation, Primary, read_evaluation
from clineval.evaluation.adoption import (
    HEADS,
    UPDATES,
    Adoption,
    LocalHeads,
    StandardisedRisks,
    adopt,
    applied,
    check_enough,
    with_heads,
)
from clineval.evaluation.records import scale_of
from clineval.files import ADOPTION, EVALUATION, PREDICTIONS, to_plain, write_json
from clineval.models.classifier import (
    MOST_LOCAL,
    NewHead,
    has_head,
    head_features,
    head_kernel,
    standardised_by,
    write_refitted,
)
from clineval.models.parallel import checked_workers
from clineval.models.preprocessing import View, external_view
from clineval.models.stored import Floats
from clineval.pipeline.external import ExternalScores, as_taken, score_external, warned_cases
from clineval.pipeline.run import OwnImages, check_formats, said_first
from clineval.pipeline.scoring import open_and_score
from clineval.pipeline.stored_run import (
    DECIMALS,
    RECORDS,
    StoredRun,
    cut_for,
    final_risks,
    read_run,
    refuse_altered_table,
    score_images,
)
from clineval.pipeline.train import Choice
from clineval.pipeline.validate import (
    check_apart,
    check_columns,
    check_name,
    read_external,
    write_table,
    write_unreadable,
)
from clineval.predictions import VAL, read_predictions, write_predictions
from clineval.reporting.adoption import write_adoption_figure, write_adoption_page
from clineval.reporting.figures import write
from clineval.results.folder import replace_folder, require_apart, watch
from clineval.settings import AdoptionSettings
from clineval.statistics.updating import LocalKernel, bounded_logit, fit_head

LOCAL = "local_predictions.csv"  # the parent's risks of the local cases
MODELS = "models"
Features = Mapping[str, list[Floats]]
"""By model what its last layer sees of the images in each view, each of shape (cases, features)."""


@dataclass(frozen=True)
class Adopted:
    """Where the site's model lies, what the adoption found, and the images that were left out.

    ``warnings`` counts the local images with each warning of ``clineval.pipeline.predict``, by its code.
    """

    folder: Path
    adoption: Adoption
    unreadable: int = 0
    notice: str = ""
    warnings: Mapping[str, int] = field(default_factory=dict)


def adopt_run(
    results: Path,
    own: OwnImages,
    settings: AdoptionSettings,
    *,
    out: Path,
    force: bool = False,
    jobs: int | None = None,
    formats: Sequence[str] = ("png",),
    command: Iterable[str] = ("clineval", "adopt"),
    announce: Announce = silent,
    warn: Callable[[str], None] = lambda line: None,
) -> Adopted:
    """Update a finished run on labelled cases of one site; write it as a run that predict and validate use.

    The folder holds the parent's models, each with its local recalibration and threshold, what the
    adoption found (``adoption.json``, ``adoption.csv``, ``local_cases.csv``), a page and a figure, and the
    hashes of the parent; it appears whole or not at all.

    Parameters
    ----------
    results : folder of ``clineval run``; own : the table that names the local images, and their folder.
    jobs : threads; all cores by default. The numbers do not depend on it.

    Raises
    ------
    InputError : the run, the table, an image, an option or the output folder is not fit, or there are too
        few local cases; nothing is written.
    """
    local = settings.local
    _check_settings(settings)
    check_name(local.name)
    check_apart(results, own, out)
    check_formats(formats)
    checked_workers(jobs)
    recorder, unchanged = provenance.Recorder(), watch(results)
    with recorder.step("read"):
        run = _read_parent(results)
        internal = read_evaluation(results / EVALUATION)
        fits = cut_for(run, local.own.fit, second_view=local.second_view)
        local = replace(local, own=replace(local.own, fit=fits[0]))
        settings = replace(settings, local=local)
        external = read_external(run, own, local, fits[1:], announce)
        require_apart(out, *external.folders)
        check_columns(external.cohort, local)
        _check_enough(external, settings)
        unchanged()
    for line in said_first(external.cohort):
        warn(line)
    with replace_folder(out, kind="adopt", force=force) as folder, threadpool_limits(1):
        with recorder.step("score"):
            scored = score_external(run, external, local, jobs=jobs, announce=announce)
            frame = write_table(external.cohort, scored, folder, name=LOCAL)
            if local.skip_unreadable:
                write_unreadable(external, folder)
        asked = _asked(settings, results)
        _enter(folder, asked, external, results, local.name)
        with recorder.step("adopt"):
            announce("Updating on the local cases")
            features, heads = _heads(run, external, scored, settings, announce)
            scaled = _scaled_by(run, external, settings, jobs)
            warned = warned_cases(run, external, scored)
            warnings = {code: len(cases) for code, cases in warned.items()}
            found = replace(
                _adopted(frame, results, internal, settings, heads, scaled),
                seen_in_training=warnings.get("seen_in_training", 0),
            )
            _write_models(found, run, features, heads, results, folder)
            asked = _with_points(asked, found)
            _evaluate(with_heads(frame, heads), found, folder, asked)
        with recorder.step("report"):
            write_json(to_plain(found), folder / ADOPTION)
            write(pd.DataFrame(_ladder_rows(found)), folder / "adoption.csv")
            write(pd.DataFrame(_curve_rows(found)), folder / "local_cases.csv")
            write_adoption_figure(found, folder, formats=tuple(formats), notice=run.notice)
            write_adoption_page(found, folder, notice=run.notice)
        provenance.seal(folder, _facts(command, asked, external, results, local.name, recorder))
        unchanged()
    return Adopted(out, found, len(external.unreadable), external.cohort.source.notice, warnings)


def _check_settings(settings: AdoptionSettings) -> None:
    if settings.update not in UPDATES:
        raise InputError(f"{option('--update')} needs one of {', '.join(UPDATES)}; got {settings.update!r}.")
    for name in ("target", "assurance"):
        value = getattr(settings, name)
        if value is not None and not 0 < value < 1:
            raise InputError(
                f"{option(f'--{name}')} needs a number between 0 and 1, such as 0.9; got {value:g}."
            )
    scale_of(settings.local.evaluation)


def _read_parent(results: Path) -> StoredRun:
    """The run to adopt; one that was adopted already is refused, for its own parent is to be named."""
    run = read_run(results)
    if run.alone is not None:
        raise InputError(
            f"adopt needs the folder of a run, whose out-of-fold risks it starts from; got {run.alone.file}."
        )
    record = provenance.read_provenance(results / provenance.PROVENANCE)
    if record["kind"] == "adopt":
        about = record["data"].get("parent", {})
        raise InputError(
            f"{results} was adopted already, for {about.get('site')!r}; name the run it was adopted from, "
            f"{about.get('run')!r}, so that the site's cases update the original model."
        )
    refuse_altered_table(results)
    return run


def _check_enough(external: OwnCohort, settings: AdoptionSettings) -> None:
    cohort = external.cohort
    group = cohort.group if len(np.unique(cohort.group)) < len(cohort) else None
    check_enough(
        cohort.outcome, group, target=settings.target, folds=settings.folds, condition=cohort.condition
    )


def _asked(settings: AdoptionSettings, results: Path) -> dict[str, Any]:
    """The settings as recorded: of the adoption, and of the parent's data, which say how images are cut."""
    record = provenance.read_provenance(results / provenance.PROVENANCE)
    return {"adoption": asdict(settings), "data": record["settings"].get("data", {})}


def _enter(folder: Path, asked: Mapping[str, Any], external: OwnCohort, results: Path, name: str) -> None:
    """The ledger's line, before an outcome is used: local outcomes may serve once, to adopt."""
    frozen = {
        "settings": asked,
        "data_sha256": external.cohort.source.sha256,
        "local_predictions_sha256": provenance.hash_file(folder / LOCAL),
        **_hashes(results),
    }
    provenance.open_ledger(folder / provenance.LEDGER, population=name, frozen=frozen)


def _hashes(results: Path) -> dict[str, str]:
    """What identifies the parent."""
    return {
        "parent_provenance_sha256": provenance.hash_file(results / provenance.PROVENANCE),
        "parent_models_sha256": provenance.hash_settings(provenance.hash_folder(results / MODELS)),
        "parent_evaluation_sha256": provenance.hash_file(results / EVALUATION),
    }


def _heads(
    run: StoredRun,
    external: OwnCohort,
    scored: ExternalScores,
    settings: AdoptionSettings,
    announce: Announce,
) -> tuple[Features, LocalHeads]:
    """What each last layer that can be refitted sees, its kernel, and the refitted ones, where asked for."""
    cohort, names = external.cohort, [name for name, model in run.models.items() if has_head(model)]
    if not names or len(cohort) > MOST_LOCAL:
        reason = (
            f"{len(cohort):,} local images are more than the {MOST_LOCAL:,} that a head is fitted on"
            if names
            else "no model of the run has a last layer that can be refitted (logreg, transfer)"
        )
        if settings.update in HEADS:
            raise InputError(f"{option('--update')} {settings.update}: {reason}. Use another update.")
        return {}, LocalHeads(parts=run.parts, reason=reason)
    announce("Fitting the last layer on the local images")
    features = {name: head_features(run.models[name], _views(run, name, scored, settings)) for name in names}
    kernels = {name: head_kernel(run.models[name], features[name]) for name in names}
    if settings.update not in HEADS:
        return features, LocalHeads(kernels, parts=run.parts)
    group = cohort.group if len(np.unique(cohort.group)) < len(cohort) else None
    fitted = {
        name: fit_head(
            cohort.outcome,
            LocalKernel(
                kernels[name],
                bounded_logit(scored.risks[name])
                if settings.update == "head_shrunken"
                else np.zeros(len(cohort)),
            ),
            group=group,
            seed=settings.local.evaluation.seed,
        )
        for name in names
    }
    return features, LocalHeads(kernels, fitted, run.parts)


def _views(run: StoredRun, name: str, scored: ExternalScores, settings: AdoptionSettings) -> list[View]:
    """The views of the local images over which the model's log odds are averaged."""
    if not settings.local.matching or run.reference is None:
        return [View(square) for square in scored.views]
    grey = run.reference.novelty.grey
    return [external_view(square, view, grey) for square in scored.views for view in run.views[name]]


def _adopted(
    frame: pd.DataFrame,
    results: Path,
    internal: Evaluation,
    settings: AdoptionSettings,
    heads: LocalHeads,
    standardised: StandardisedRisks,
) -> Adoption:
    if internal.primary is None:
        raise InputError(f"{results} declares no primary model; make it again with: clineval run")
    return adopt(
        frame,
        parent=results.resolve().name,
        development=read_predictions(results / PREDICTIONS),
        primary=internal.primary,
        condition=internal.condition,
        settings=settings,
        heads=heads,
        standardised=standardised,
    )


def _scaled_by(
    run: StoredRun, external: OwnCohort, settings: AdoptionSettings, jobs: int | None
) -> StandardisedRisks:
    """Risks with features standardised by the local images, and the models whose features have a scale."""
    images = external.cohort.images
    found = {name: standardised_by(model, images) for name, model in run.models.items()}
    changed = {name: model for name, model in found.items() if model is not None}
    if not changed:
        return StandardisedRisks()
    other = replace(run, models={**run.models, **changed}, adopted={})
    views = [
        score_images(other, square, matching=settings.local.matching, jobs=jobs).risks
        for square in (as_taken(external), *external.further)
    ]
    return StandardisedRisks(tuple(changed), final_risks(other, views))


def _write_models(
    found: Adoption, run: StoredRun, features: Features, heads: LocalHeads, results: Path, folder: Path
) -> None:
    """The parent's models, byte for byte but for refitted heads, and what else was in ``models.json``."""
    shutil.copytree(results / MODELS, folder / MODELS)
    path = folder / MODELS / RECORDS
    record = json.loads(path.read_text(encoding="utf-8"))
    for name, model in found.models.items():
        fitted = model.recalibration
        record[name] = {**record[name], "adopted": None if fitted is None else fitted.to_json()}
    for name, head in heads.fitted.items():
        line = run.recalibrations[name]
        frozen = (0.0, 1.0) if line is None else (line.intercept, line.slope)
        kept = frozen if found.update == "head_shrunken" else None
        refitted = NewHead(head.weight, head.intercept, head.penalty, kept)
        write_refitted(run.models[name], features[name], refitted, folder / MODELS, name)
        reason = "its last layer was fitted on the local cases"
        record[name]["recalibration"] = Choice.none(reason).to_json()
    write_json(record, path)


def _with_points(asked: Mapping[str, Any], found: Adoption) -> dict[str, Any]:
    """The settings with what the evaluation of the folder needs: the local thresholds, the primary one."""
    point = found.models[found.model].points[-1]
    primary = Primary(
        found.model, point.threshold, point.chosen_on, f"Adopted for {found.site}: {point.rule}."
    )
    given = dict(asked["adoption"]["local"]["evaluation"])
    points = {name: to_plain(model.points) for name, model in found.models.items()}
    return {**asked, "evaluation": {**given, "points": points, "primary": to_plain(primary)}}


def _evaluate(frame: pd.DataFrame, found: Adoption, folder: Path, asked: Mapping[str, Any]) -> None:
    """The site's risks of the local cases as ``val``: they chose, so no threshold is scored on them."""
    risk = frame["risk"].to_numpy(np.float64).copy()
    for name, model in found.models.items():
        rows = (frame["model"] == name).to_numpy()
        risk[rows] = np.round(applied(model, risk[rows]), DECIMALS)
    write_predictions(frame.assign(split=VAL, risk=risk), folder / PREDICTIONS)
    open_and_score(folder, asked["evaluation"], condition=found.condition, frozen={}, models=folder / MODELS)


def _ladder_rows(found: Adoption) -> Iterator[dict[str, Any]]:
    """A row per step and measure, with its change from doing nothing."""
    for each in found.ladder:
        for measure, scored in vars(each.scores).items():
            change = getattr(each.change, measure)
            yield {
                "step": each.step, "measure": measure, "value": scored.value, "low": scored.low,
                "high": scored.high, "change": change.value, "change_low": change.low,
                "change_high": change.high, "method": scored.method,
            }  # fmt: skip


def _curve_rows(found: Adoption) -> Iterator[dict[str, Any]]:
    for curve in found.curves:
        for place, events in enumerate(curve.events.tolist()):
            yield {
                "assurance": "" if curve.assurance is None else curve.assurance, "events": events,
                "sensitivity": curve.sensitivity[place], "worst_tenth": curve.worst_tenth[place],
                "specificity": curve.specificity[place], "reached": curve.reached[place],
            }  # fmt: skip


def _facts(
    command: Iterable[str],
    asked: Mapping[str, Any],
    external: OwnCohort,
    results: Path,
    name: str,
    recorder: provenance.Recorder,
) -> dict[str, Any]:
    """The provenance of the folder: the parent's data and hashes, and the local cases."""
    parent = provenance.read_provenance(results / provenance.PROVENANCE)["data"]
    source = {
        **parent,
        "title": f"{parent.get('title', '')}, adopted for {name}",
        "parent": {"run": results.resolve().name, "site": name, **_hashes(results)},
        "local": {**asdict(external.cohort.source), "notice": external.cohort.source.notice},
    }
    return provenance.describe(
        kind="adopt", command=command, settings=asked, source=source, recorder=recorder
    )
