"""Training and scoring the models of a run: folds, recalibration, thresholds; and once without each site."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data.audit import Audit, deduplicated
from clineval.data.cohort import Cohort, grouped_folds
from clineval.errors import Announce, InputError, in_short, option
from clineval.evaluation.operating_points import TARGET
from clineval.evaluation.sites import plan, units
from clineval.files import PREDICTIONS, write_json
from clineval.models.classifier import KINDS, Given, mean_of, parts_of_combined
from clineval.models.ensemble import TrainedModel, train_cohorts
from clineval.models.network import LearningCurve
from clineval.models.stored import Floats, write_model
from clineval.pipeline.scoring import FROZEN, LEFT_OUT, SITE_TABLE
from clineval.pipeline.stored_run import DECIMALS, RECORDS, learn_reference, write_reference
from clineval.predictions import write_predictions
from clineval.settings import WITHOUT_NEAR_DUPLICATES, RunSettings
from clineval.statistics.recalibration import Recalibration, fit_platt, fit_temperature
from clineval.statistics.thresholds import threshold_for_sensitivity

FITTED_ON = "train_out_of_fold"
FITS = {"temperature": fit_temperature, "platt": fit_platt}
FOLDS = 5  # grouped, that choose among them


@dataclass(frozen=True)
class Choice:
    """The recalibration chosen, why, and the cross-fitted log loss of every candidate.

    ``log_loss`` maps ``none``, ``temperature`` and ``platt`` to the mean negative log likelihood per
    case, each fitted on four grouped folds and scored on the fifth; empty where none was tried.
    """

    kind: str
    reason: str
    log_loss: Mapping[str, float]
    recalibration: Recalibration | None = None

    @classmethod
    def none(cls, reason: str) -> "Choice":
        """No recalibration, with the reason."""
        return cls("none", reason, {})

    def apply(self, risk: Floats) -> Floats:
        """Recalibrated risks, shape (cases,)."""
        return risk if self.recalibration is None else self.recalibration.apply(risk)

    def to_json(self) -> dict[str, Any]:
        """What was chosen, as plain JSON."""
        fitted = None if self.recalibration is None else self.recalibration.to_json()
        return {"kind": self.kind, "reason": self.reason, "log_loss": dict(self.log_loss), "fitted": fitted}


def choose_recalibration(outcome: NDArray[np.bool_], risk: Floats, *, group: NDArray[np.str_]) -> Choice:
    """Choose none, temperature or Platt by the cross-fitted log loss of out-of-fold risks.

    A candidate that cannot be fitted, as where a model ranks no better than chance, is left out and
    the reason says so.

    Parameters
    ----------
    outcome, risk, group : shape (training cases,); ``risk`` by models that did not see the case's group.
    """
    losses = {"none": _log_loss(outcome, risk)}
    fold = grouped_folds(outcome, group, folds=FOLDS)
    failed = ""
    for kind, fit in FITS.items():
        crossed = np.empty_like(risk)
        try:
            for number in range(FOLDS):
                others, held_out = fold != number, fold == number
                fitted = fit(outcome[others], risk[others], fitted_on=FITTED_ON)
                crossed[held_out] = fitted.apply(risk[held_out])
        except ValueError as error:  # the statistic's own word that there is nothing to fit
            failed += f"; {kind} cannot be fitted on every fold ({error})"
        else:
            losses[kind] = _log_loss(outcome, crossed)
    best = min(losses, key=losses.__getitem__)
    if best == "none":
        return Choice("none", f"no candidate lowers the cross-fitted log loss{failed}", losses)
    fitted = FITS[best](outcome, risk, fitted_on=FITTED_ON)
    return Choice(best, f"lowest cross-fitted log loss{failed}", losses, fitted)


def _log_loss(outcome: NDArray[np.bool_], risk: Floats) -> float:
    return float(-np.log(np.where(outcome, risk, 1 - risk)).mean())


COMBINATION = "combined"
PAIR = ("logreg", "cnn")  # the headline pair, trained once more without near-duplicates of test images
OUT_OF_FOLD = "train_out_of_fold"


@dataclass(frozen=True)
class FinalModel:
    """A model as it is applied, with its risks.

    Attributes
    ----------
    cohort : the cases that ``risk`` and ``out_of_fold`` belong to.
    risk : shape (cases,), recalibrated where that was chosen.
    out_of_fold : shape (cases,), training cases scored by models that never saw their group; NaN elsewhere.
    uncalibrated, uncalibrated_out_of_fold : the same two before recalibration.
    trained : its stored form and what became of its members; None for a combination.
    origin : what its figures must say of how it was made; empty where it learnt in this run from nothing.
    """

    name: str
    cohort: Cohort
    risk: Floats
    out_of_fold: Floats
    recalibration: Choice
    uncalibrated: Floats
    uncalibrated_out_of_fold: Floats
    trained: TrainedModel | None = None
    parts: tuple[str, ...] = ()
    origin: str = ""

    @property
    def learning_curves(self) -> tuple[LearningCurve, ...]:
        """How each network of the model learnt; empty for a model without epochs."""
        return self.trained.curves if self.trained is not None else ()


def train_all(
    cohort: Cohort,
    findings: Audit,
    settings: RunSettings,
    *,
    given: Sequence[Given] = (),
    jobs: int | None = None,
    finished: Path | None = None,
    announce: Announce,
) -> tuple[FinalModel, ...]:
    """Train every model of a run, some also without the near-duplicates of test images.

    Those are the headline pair and the models of the user's that learn here.
    """
    names = (*settings.training.models, *(model.name for model in given))
    twice = {*PAIR, *(model.name for model in given if KINDS[model.kind].learns)}
    pair = tuple(name for name in names if name in twice)
    wanted: list[tuple[Cohort, tuple[str, ...]]] = [(cohort, names)]
    fewer = deduplicated(cohort, findings) if settings.data.split == "official" else cohort
    if len(fewer) < len(cohort) and pair:
        wanted.append((fewer, pair))
    trained, *without = train_cohorts(
        wanted,
        settings=settings.training,
        given=given,
        jobs=jobs,
        finished=finished,
        progress=announce(f"Training {', '.join(names)}"),
    )
    models = _final(trained, cohort)
    pairs = [
        finalise(model, fewer, name=f"{model.name}{WITHOUT_NEAR_DUPLICATES}")
        for pair in without
        for model in pair
    ]
    return (*models, *pairs)


def finalise(model: TrainedModel, cohort: Cohort, *, name: str | None = None) -> FinalModel:
    """Recalibrate a trained model where its out-of-fold risks say that this helps."""
    train, reason = cohort.within("train"), KINDS[model.kind].left_as_it_is
    choice = (
        Choice.none(reason)
        if reason
        else choose_recalibration(cohort.outcome[train], model.out_of_fold[train], group=cohort.group[train])
    )
    out_of_fold = np.full(len(cohort), np.nan)
    out_of_fold[train] = choice.apply(model.out_of_fold[train])
    return FinalModel(
        name=name or model.name,
        cohort=cohort,
        risk=choice.apply(model.risk),
        out_of_fold=out_of_fold,
        recalibration=choice,
        uncalibrated=model.risk,
        uncalibrated_out_of_fold=model.out_of_fold,
        trained=model,
        origin=str(model.stored.record.get("origin", "")),
    )


def combine(parts: Sequence[FinalModel]) -> FinalModel:
    """The mean of the parts' recalibrated risks on the logit scale, as the model ``combined``.

    A part that counts for more is given more than once.
    """
    risk = mean_of([part.risk for part in parts])
    out_of_fold = mean_of([part.out_of_fold for part in parts])
    return FinalModel(
        name=COMBINATION,
        cohort=parts[0].cohort,
        risk=risk,
        out_of_fold=out_of_fold,
        recalibration=Choice.none("a mean of recalibrated risks; out of fold it needs no more"),
        uncalibrated=risk,
        uncalibrated_out_of_fold=out_of_fold,
        parts=tuple(part.name for part in parts),
        origin=next((f"in part {part.origin}" for part in parts if part.origin), ""),
    )


def write_tables(models: tuple[FinalModel, ...], folder: Path, *, leave_out: str | None = None) -> None:
    """Write the final risks, the members' risks, the risks before recalibration, and the models."""
    keep = _without(leave_out)
    write_predictions(keep(_rows(models, "risk", "out_of_fold")), folder / PREDICTIONS)
    changed = tuple(model for model in models if model.recalibration.kind != "none")
    if changed:
        before = _rows(changed, "uncalibrated", "uncalibrated_out_of_fold")
        write_predictions(keep(before), folder / "uncalibrated.csv")
    members = [
        model.trained.members.assign(model=model.name)
        for model in models
        if model.trained is not None and model.trained.members is not None
    ]
    if members:
        keep(pd.concat(members, ignore_index=True)).to_csv(folder / "members.csv", index=False)
    write_models(models, folder / "models")


def training_seconds(models: Sequence[FinalModel]) -> dict[str, float]:
    """CPU seconds of each model's trainings, over all workers."""
    return {model.name: round(model.trained.seconds, 2) for model in models if model.trained}


def seed_differences(models: Sequence[FinalModel]) -> dict[str, float]:
    """By model whose first fold was trained twice with one seed, the largest difference of a risk."""
    found: dict[str, float] = {}
    for model in models:
        difference = model.trained.stored.record.get("seed_difference") if model.trained else None
        if model.trained is not None and difference is not None:
            found[model.trained.name] = max(difference, found.get(model.trained.name, 0.0))
    return found


def write_models(models: tuple[FinalModel, ...], folder: Path) -> None:
    """Write weights, recalibrations and the trace of the training images: safetensors and JSON, no code."""
    folder.mkdir()
    write_reference(learn_reference(models[0].cohort), folder)
    for model in models:
        if model.trained is not None and model.name == model.trained.name and model.trained.stored.arrays:
            write_model(model.trained.stored, folder, model.name)
    records = {model.name: _record(model) for model in models}
    write_json(records, folder / RECORDS, indent=2)


def _record(model: FinalModel) -> Mapping[str, Any]:
    trained_on = int(model.cohort.within("train").sum())
    record: dict[str, Any] = {"trained_on": trained_on, "recalibration": model.recalibration.to_json()}
    if model.parts:
        record["mean_logit_of"] = list(model.parts)
    if model.origin:
        record["origin"] = model.origin
    if model.trained is not None:
        record["training"] = model.trained.stored.record
    return record


def _rows(models: tuple[FinalModel, ...], risk: str, out_of_fold: str) -> pd.DataFrame:
    frames = []
    for model in models:
        cohort = model.cohort
        train = cohort.within("train")
        frames.append(_frame(model.name, cohort, cohort.split, getattr(model, risk)))
        if np.isnan(getattr(model, out_of_fold)[train]).all():
            continue  # trained elsewhere: it has no folds here
        apart = cohort.select(train)
        frames.append(
            _frame(model.name, apart, np.full(len(apart), OUT_OF_FOLD), getattr(model, out_of_fold)[train])
        )
    return pd.concat(frames, ignore_index=True)


def _frame(name: str, cohort: Cohort, split: NDArray[np.str_], risk: Floats) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": name,
            "split": split,
            "case": cohort.case,
            "group": cohort.group,
            "outcome": cohort.outcome.astype(int),
            "risk": np.round(risk, DECIMALS),
            **cohort.attributes,
        }
    )


def _without(split: str | None) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame if split is None else frame[frame["split"] != split]


DEVELOPMENT = ("train", "val")


@dataclass(frozen=True)
class Site:
    """A site that is left out, or small ones together, and the cohort in which it is the test split."""

    name: str
    cohort: Cohort


def check_sites(cohort: Cohort, column: str) -> None:
    """Refuse a column that names no sites, before anything is trained or scored.

    Raises
    ------
    InputError : there is no such column, or its sites are too few, too many or too small, or share patients.
    """
    plan(cohort.outcome, site_of(cohort, column), _groups(cohort), column=column)


def site_of(cohort: Cohort, column: str) -> NDArray[np.str_]:
    """Where each image was taken, shape (cases,)."""
    if column not in cohort.attributes:
        known = in_short(list(cohort.attributes)) or "none"
        raise InputError(
            f"{option('--site-column')} needs one of the table's further columns ({known}); got {column!r}, "
            "which is not there, serves as image, outcome or group, or is left out as it identifies people."
        )
    return cohort.attributes[column].astype(str)


def write_left_out_sites(
    cohort: Cohort,
    settings: RunSettings,
    folder: Path,
    *,
    given: Sequence[Given] = (),
    jobs: int | None,
    finished: Path,
    announce: Announce,
) -> None:
    """Train the run's own models once without each site, and write their risks of that site's cases.

    Train and val take part; test stays sealed. Models are trained, recalibrated, combined and given their
    threshold (the one named first, else sensitivity .90 out of fold) as in the run itself, on the other
    sites alone.

    Parameters
    ----------
    cohort : with near-duplicates joined in its groups; images of other sites that have one at the site left
        out are left out, too.
    given : models of the user's; those that were trained elsewhere take no part.

    Raises
    ------
    InputError : as ``check_sites``, or the other sites of one are too few to train on.
    """
    column = str(settings.data.site_column)
    sites = list(left_out_sites(cohort, column))
    learning = [model for model in given if KINDS[model.kind].learns]
    names = (*settings.training.models, *(model.name for model in learning))
    trained = train_cohorts(
        [(site.cohort, names) for site in sites],
        settings=settings.training,
        given=learning,
        jobs=jobs,
        finished=finished,
        progress=announce(f"Training without each of {len(sites)} sites"),
    )
    frames = [
        _scored(model, column, settings)
        for site, models in zip(sites, trained, strict=True)
        for model in _final(models, site.cohort)
    ]
    write_predictions(pd.concat(frames, ignore_index=True), folder / SITE_TABLE)


def left_out_sites(cohort: Cohort, column: str) -> Iterator[Site]:
    """Each site in turn as the test split of the development cases of all others."""
    inside = cohort.select(cohort.within(*DEVELOPMENT))
    site = site_of(inside, column)
    planned = plan(inside.outcome, site, _within(site, inside.group), column=column)
    for name, members in units(planned).items():
        here = np.isin(site, members)
        others = ~here & ~np.isin(inside.group, inside.group[here])
        parted = replace(inside, split=np.where(here, "test", inside.split))
        yield Site(name, parted.select(here | others))


def _within(site: NDArray[np.str_], group: NDArray[np.str_]) -> NDArray[np.str_]:
    """Groups parted by site: a near-duplicate at another site takes no part in the training."""
    return np.array([f"{where}/{each}" for where, each in zip(site, group, strict=True)])


def _groups(cohort: Cohort) -> NDArray[np.str_] | None:
    """The patients, None where every image is of another."""
    return cohort.group if len(np.unique(cohort.group)) < len(cohort) else None


def _final(trained: Sequence[TrainedModel], cohort: Cohort) -> tuple[FinalModel, ...]:
    """The trained models recalibrated, and their combination, as in a run."""
    models = {model.name: finalise(model, cohort) for model in trained}
    parts = parts_of_combined(list(models))
    return (*models.values(), *([combine([models[part] for part in parts])] if parts else []))


def _scored(model: FinalModel, column: str, settings: RunSettings) -> pd.DataFrame:
    """The site's cases with their risks and the threshold that the other sites froze."""
    cohort = model.cohort
    here = cohort.within("test")
    place = cohort.attributes[column].astype(str)[here]
    return pd.DataFrame(
        {
            "model": model.name,
            "split": LEFT_OUT,
            "case": cohort.case[here],
            "group": _within(place, cohort.group[here]),
            "outcome": cohort.outcome[here].astype(int),
            "risk": np.round(model.risk[here], DECIMALS),
            FROZEN: _threshold(model, settings),
            column: place,
        }
    )


def _threshold(model: FinalModel, settings: RunSettings) -> float:
    given, train = settings.evaluation.thresholds, model.cohort.within("train")
    if given:
        return given[0]
    out_of_fold = np.round(model.out_of_fold[train], DECIMALS)
    return float(threshold_for_sensitivity(model.cohort.outcome[train], out_of_fold, TARGET))
