"""Many trainings scored out of fold: models, seeds, folds, repeats and training variants in one table."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data.cohort import Cohort
from clineval.data.splits import derived_seed, grouped_folds
from clineval.errors import InputError, Progress
from clineval.models.classifier import COMBINED, KINDS, Given, mean_of
from clineval.models.ensemble import check_device, check_early_stopping, check_own_name
from clineval.models.parallel import Fitted, Indices, Job, Material, as_finished
from clineval.models.preprocessing import check_images
from clineval.settings import StudySettings, TrainingSettings

SINGLE = "cnn_single"  # one network on the whole training part, in place of fold members
MODELS = ("logreg", SINGLE, "cnn", "scattering", "transfer", "combined")
VARIANTS = ("official", "deduplicated")
PARTS = {"combined": COMBINED}
OWN: Mapping[str, Given] = {}  # models of the user's, by name
POOL = ("train", "val")  # the cases that a study may see
SPLIT = "cross_validation"
STRICT_EIGHTHS = 8  # strict early stopping watches one grouped eighth of the training part


@dataclass(frozen=True)
class Training:
    """One point of a study: which model learns from what, and which cases it is scored on.

    ``train`` and ``held_out`` are indices into the cohort.
    """

    model: str
    variant: str
    fraction: float
    repeat: int
    fold: int
    seed: int
    train: Indices
    held_out: Indices


def study(
    cohort: Cohort,
    *,
    settings: StudySettings,
    training: TrainingSettings,
    given: Sequence[Given] = (),
    jobs: int | None = None,
    cluster: str | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
    watch: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Risks of every training on the cases it did not see: one row per training and held-out case.

    Only cases of train and val are used; the test split serves to know which of them have a
    near-duplicate there, by their groups, and is never scored. Cases of one group share a fold.

    Parameters
    ----------
    given : Python models of the user's, beside those of the settings.
    finished : folder of finished trainings; those of an interrupted study are not repeated.
    progress : called with (done, total) whenever a training is done.
    watch : called with the rows of each point of the study as soon as its trainings are done.

    Returns
    -------
    DataFrame with ``model``, ``variant``, ``fraction``, ``repeat``, ``fold``, ``seed``, ``split``,
    ``case``, ``group``, ``outcome``, ``risk``, ``trained_on`` (cases) and ``cpu_seconds`` (of the training).

    Raises
    ------
    InputError : an unknown model or variant, repeated seeds, a fraction outside (0, 1], too few groups.
    """
    own = {model.name: model for model in given}
    check_study(settings, own)
    check_images(cohort.images)
    check_device(training.device)
    check_early_stopping(training.early_stopping)
    points = plan(cohort, settings, own)
    batches = [
        (_name(point), job)
        for point in points
        if point.model not in PARTS
        for job in _jobs(cohort, point, training, own)
    ]
    results: _Results = {name: {} for name, _ in batches}
    wanted = Counter(name for name, _ in batches)
    material = {kind: Material.of(cohort, kind) for kind in {job.kind for _, job in batches}}
    arriving = as_finished(
        [(material[job.kind], job) for _, job in batches],
        workers=jobs,
        cluster=cluster,
        finished=finished,
        progress=progress,
    )
    for place, fitted in arriving:
        name = batches[place][0]
        results[name][place] = fitted
        if watch is not None and len(results[name]) == wanted[name]:
            watch(_rows(cohort, next(point for point in points if _name(point) == name), results))
    return pd.concat([_rows(cohort, point, results) for point in points], ignore_index=True)


def plan(cohort: Cohort, settings: StudySettings, own: Mapping[str, Given] = OWN) -> list[Training]:
    """Every training of a study, in a fixed order; ``own`` are models of the user's, by name."""
    pool = np.flatnonzero(cohort.within(*POOL))
    points = []
    for repeat in range(settings.repeats):
        fold = grouped_folds(cohort.outcome[pool], cohort.group[pool], folds=settings.folds, seed=repeat)
        for number in range(settings.folds):
            inside, held_out = pool[fold != number], pool[fold == number]
            for variant in settings.variants:
                allowed = _allowed(cohort, inside, variant)
                for fraction in settings.fractions:
                    train = _part(cohort, allowed, fraction, seed=derived_seed(repeat, number, "part"))
                    points += [
                        Training(model, variant, fraction, repeat, number, seed, train, held_out)
                        for model in (*settings.models, *own)
                        for seed in (settings.seeds if _is_seeded(model, own) else settings.seeds[:1])
                    ]
    return points


def check_study(settings: StudySettings, own: Mapping[str, Given] = OWN) -> None:
    """Refuse settings that no study can be made of.

    Raises
    ------
    InputError : as :func:`study`.
    """
    for model in own.values():
        _check_own(model)
    if settings.models or not own:
        _known("Models", settings.models, MODELS)
    _known("Variants", settings.variants, VARIANTS)
    for whole, parts in PARTS.items():
        if whole in settings.models and not set(parts) <= set(settings.models):
            raise InputError(
                f"The model {whole} is made of {' and '.join(parts)}; name these in --models too."
            )
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise InputError(
            f"A study needs seeds, each once; got {', '.join(map(str, settings.seeds)) or 'none'}."
        )
    wrong = [fraction for fraction in settings.fractions if not 0 < fraction <= 1]
    if wrong or not settings.fractions:
        raise InputError(f"Fractions of the training part lie above 0 and up to 1; got {settings.fractions}.")
    if settings.folds < 2 or settings.repeats < 1:
        raise InputError(
            f"A study needs at least 2 folds and 1 repeat; got {settings.folds} and {settings.repeats}."
        )


def _check_own(model: Given) -> None:
    check_own_name(model.name)
    if model.name in MODELS or not KINDS[model.kind].learns:
        raise InputError(
            f"A study expects models that it can train, under names other than {', '.join(MODELS)}; got "
            f"{model.name}={model.about.file}."
        )


def _known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    if not given or any(name not in known for name in given) or len(set(given)) < len(given):
        raise InputError(
            f"{what} of a study are {', '.join(known)}, each once; got {', '.join(given) or 'none'}."
        )


def _allowed(cohort: Cohort, inside: Indices, variant: str) -> Indices:
    """Training cases of a variant; ``deduplicated`` leaves out those with a near-duplicate in test."""
    if variant == "official":
        return inside
    in_test = np.unique(cohort.group[cohort.within("test")])
    return inside[~np.isin(cohort.group[inside], in_test)]


def _part(cohort: Cohort, cases: Indices, fraction: float, *, seed: int) -> Indices:
    """A share of the cases, whole groups at a time, at the same prevalence; smaller shares lie in larger."""
    if fraction == 1:
        return cases
    groups, member = np.unique(cohort.group[cases], return_inverse=True)
    with_event = np.zeros(len(groups), dtype=bool)
    with_event[member[cohort.outcome[cases]]] = True
    order = np.random.default_rng(seed).permutation(len(groups))
    chosen = [
        stratum[: max(1, round(fraction * len(stratum)))]
        for stratum in (order[with_event[order]], order[~with_event[order]])
    ]
    return cases[np.isin(member, np.concatenate(chosen))]


def _jobs(cohort: Cohort, point: Training, training: TrainingSettings, own: Mapping[str, Given]) -> list[Job]:
    """The trainings that one point of the study takes: one, or one per fold-member of an ensemble."""
    if point.model in own:
        model, nobody = own[point.model], point.train[:0]
        job = Job(model.kind, point.train, nobody, model.settings, point.seed, keep_model=False)
        return [replace(job, call=model.call)]
    if KINDS[_kind(point.model)].join is None:
        return [_job(point, point.train, training, point.seed)]
    if point.model == SINGLE:
        return [_member(cohort, point.train, training, point, -1)]
    outcome, group = cohort.outcome[point.train], cohort.group[point.train]
    seed = derived_seed(point.seed, point.repeat, point.fold, "members")
    fold = grouped_folds(outcome, group, folds=training.members, seed=seed)
    return [
        _member(cohort, point.train[fold != number], training, point, number)
        for number in range(training.members)
    ]


def _member(cohort: Cohort, train: Indices, training: TrainingSettings, point: Training, number: int) -> Job:
    """One member; the guard has nothing to watch here, strict stopping sets a grouped eighth apart."""
    seed = derived_seed(point.seed, point.repeat, point.fold, number)
    job = replace(_job(point, train, training, seed), fold=number, device=training.device)
    if training.early_stopping != "strict":
        return job
    eighth = grouped_folds(cohort.outcome[train], cohort.group[train], folds=STRICT_EIGHTHS, seed=seed)
    return replace(job, train=train[eighth > 0], watch=train[eighth == 0], strict=True)


def _job(point: Training, train: Indices, training: TrainingSettings, seed: int) -> Job:
    kind = _kind(point.model)
    return Job(kind, train, train[:0], KINDS[kind].settings(training), seed, keep_model=False)


def _kind(model: str, own: Mapping[str, Given] = OWN) -> str:
    if model in own:
        return own[model].kind
    return "cnn" if model == SINGLE else model


def _is_seeded(model: str, own: Mapping[str, Given]) -> bool:
    """Whether another seed gives other risks; a model where none does is trained with the first alone."""
    return model in PARTS or KINDS[_kind(model, own)].seeded


_Name = tuple[str, str, float, int, int, int]
_Results = dict[_Name, dict[int, Fitted]]  # per point its trainings, by their place among all


def _name(point: Training) -> _Name:
    return (point.model, point.variant, point.fraction, point.repeat, point.fold, point.seed)


def _rows(cohort: Cohort, point: Training, results: _Results) -> pd.DataFrame:
    risk, seconds = _risk(point, results)
    held_out = point.held_out
    return pd.DataFrame(
        {
            "model": point.model,
            "variant": point.variant,
            "fraction": point.fraction,
            "repeat": point.repeat,
            "fold": point.fold,
            "seed": point.seed,
            "split": SPLIT,
            "case": cohort.case[held_out],
            "group": cohort.group[held_out],
            "outcome": cohort.outcome[held_out].astype(int),
            "risk": risk[held_out],
            "trained_on": len(point.train),
            "cpu_seconds": seconds,
        }
    )


def _risk(point: Training, results: _Results) -> tuple[NDArray[np.float64], float]:
    if point.model in PARTS:
        parts = [_risk(replace(point, model=part), results) for part in PARTS[point.model]]
        return mean_of([risk for risk, _ in parts]), sum(seconds for _, seconds in parts)
    key = _name(point)
    if key not in results:  # trained once, with the first seed
        key = next(name for name in results if name[:5] == key[:5])
    fitted = [one for _, one in sorted(results[key].items())]
    return np.mean([one.risk for one in fitted], axis=0), sum(one.seconds for one in fitted)
