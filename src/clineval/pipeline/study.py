"""The work of clineval study: many trainings scored by grouped cross-validation."""

import hashlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval import results
from clineval.data.audit import audit
from clineval.data.cohort import Cohort, derived_seed, grouped_folds
from clineval.errors import Announce, InputError, Progress, option, reason_of, require_extra, silent
from clineval.files import write_whole
from clineval.models.classifier import (
    COMBINED,
    KINDS,
    Given,
    ModelSource,
    given_model,
    mean_of,
    parts_of_combined,
    ready,
)
from clineval.models.ensemble import check_device, check_early_stopping, check_own_name
from clineval.models.parallel import Fitted, Indices, Job, Material, as_finished, checked_workers
from clineval.models.preprocessing import check_images
from clineval.models.user_model import TIMEOUT
from clineval.pipeline.run import facts, load, trained_here
from clineval.pipeline.train import COMBINATION
from clineval.results.folder import hold_folder, move_whole
from clineval.settings import RunSettings, StudySettings, TrainingSettings
from clineval.statistics.intervals import normal_quantile
from clineval.statistics.roc import auc

SINGLE = "cnn_single"  # one network on the whole training part, in place of fold members
MODELS = ("logreg", SINGLE, "cnn", "scattering", "transfer", COMBINATION)
VARIANTS = ("official", "deduplicated")
OWN: Mapping[str, Given] = {}  # models of the user's, by name
POOL = ("train", "val")  # the cases that a study may see
SPLIT = "cross_validation"
STRICT_EIGHTHS = 8  # strict early stopping watches one grouped eighth of the training part
TRAINING = ["model", "variant", "fraction", "repeat", "fold", "seed"]
CONDITION = ["model", "variant", "fraction"]
DRAWS = 2000  # resamples of the bootstrap behind a learning curve's band
SETTINGS_FILE = "study.json"
TRAININGS = "trainings"


@dataclass(frozen=True)
class FinishedStudy:
    """What a study found and where it lies; the tables are those of :mod:`clineval.pipeline.study`."""

    folder: Path
    scores: pd.DataFrame
    summary: pd.DataFrame
    variance: pd.DataFrame
    curve: pd.DataFrame


def run_study(
    settings: RunSettings,
    plan: StudySettings,
    *,
    models: Mapping[str, ModelSource] | None = None,
    model_timeout: float = TIMEOUT,
    out: Path = Path("study"),
    jobs: int | None = None,
    cluster: str | None = None,
    command: Iterable[str] = ("clineval", "study"),
    announce: Announce = silent,
    show: Callable[[pd.DataFrame], None] | None = None,
    warn: Callable[[str], None] = lambda notice: None,
) -> FinishedStudy:
    """Cross-validate models on train and val of a data set; test is never scored.

    A study that was interrupted goes on where it was: every finished training is a file in
    ``out/trainings``.

    Parameters
    ----------
    models, model_timeout : Python models of the user's, as for ``clineval.run``. On a cluster their files
        must be at the same place on every machine.
    out : folder of the study; made if absent, continued if it holds the same study.
    cluster : address of a Dask scheduler, ``tcp://HOST:8786``, instead of ``jobs`` processes here.
    show : called with the summary so far, one row per model, variant and fraction, as trainings end.
    warn : called first with what must be known of the models.

    Raises
    ------
    InputError : the folder holds another study or something else, or a setting is not fit.
    """
    require_extra("train", for_what="study")
    recorder = results.Recorder()
    with recorder.step("load"):
        cohort = load(settings, colour=bool(models), announce=announce)
    given = [
        given_model(name, source, cohort, timeout=model_timeout) for name, source in (models or {}).items()
    ]
    for line in trained_here(given):
        warn(line)
    check_study(plan, {model.name: model for model in given})
    check_device(settings.training.device)
    check_early_stopping(settings.training.early_stopping)
    checked_workers(jobs)
    plan = replace(plan, given=tuple(model.about for model in given))
    out = Path(out)
    with ready([] if cluster else given), hold_folder(out), _claimed(out, _identity(settings, plan, cohort)):
        with recorder.step("audit"):
            findings = audit(
                cohort, threshold=settings.audit.threshold, progress=announce("Auditing the images")
            )
            cohort = cohort.with_groups(findings.group_of)
        with recorder.step("train"):
            risks = study(
                cohort,
                settings=plan,
                training=settings.training,
                given=given,
                jobs=jobs,
                cluster=cluster,
                finished=out / TRAININGS,
                progress=announce("Training"),
                watch=None if show is None else _scored_so_far(show),
            )
        with recorder.step("score"):
            scores = score(risks)
            found = FinishedStudy(
                out,
                scores,
                summarise(scores),
                split_variance(scores),
                learning_curve(scores, level=settings.evaluation.level, seed=settings.evaluation.seed),
            )
        seconds = scores.groupby("model", sort=False)["cpu_seconds"].sum().round(2)
        recorder.training.update({str(model): float(each) for model, each in seconds.items()})
        with recorder.step("write"):
            write_tables(found, risks)
            _draw(found, cohort)
        record = facts("study", command, settings, cohort, recorder)
        asked = {**record["settings"], "study": asdict(plan)}
        results.seal(out, {**record, "settings": asked, "seeds": results.seeds_of(asked)})
    return found


@contextmanager
def _claimed(folder: Path, identity: dict[str, Any]) -> Iterator[None]:
    """Claim the study's folder; a study that is then refused leaves none behind that it made."""
    fresh = not (folder / SETTINGS_FILE).is_file()
    claim_folder(folder, identity)
    try:
        yield
    except InputError:
        if fresh and not (folder / TRAININGS).exists():
            (folder / SETTINGS_FILE).unlink(missing_ok=True)
            with suppress(OSError):  # it was there before, or is not empty
                folder.rmdir()
        raise


def claim_folder(folder: Path, identity: dict[str, Any]) -> None:
    """Make the study's folder, or make sure that it holds this very study.

    Raises
    ------
    InputError : it holds a study of other settings, or files of something else.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} is not empty and holds no study; choose another {option('--out')}.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(identity, indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"Cannot write into {folder}: {error.strerror}. Choose another {option('--out')}."
            ) from error
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = reason_of(error)
        raise InputError(f"{path} cannot be read ({reason}); choose another {option('--out')}.") from error
    differ = sorted(_differences(found, json.loads(json.dumps(identity))))
    if differ:
        raise InputError(
            f"{folder} holds a study of other settings: {'; '.join(differ)}. "
            f"Use those settings to continue it, or choose another {option('--out')}."
        )


def write_tables(found: FinishedStudy, risks: pd.DataFrame) -> None:
    """Write the tidy table of scores, the risks behind it, and the three tables drawn from it."""
    folder = found.folder
    content = io.BytesIO()
    risks.drop(columns="cpu_seconds").to_parquet(content, index=False)
    write_whole(folder / "study_risks.parquet", content.getvalue())
    for name in ("scores", "summary", "variance", "curve"):
        table: pd.DataFrame = getattr(found, name)
        if len(table):
            timeless = table.drop(columns="cpu_seconds", errors="ignore")  # times are in the provenance
            text = timeless.to_csv(index=False, lineterminator="\n")
            write_whole(folder / f"study_{name}.csv", text)


def _draw(found: FinishedStudy, cohort: Cohort) -> None:
    from clineval.reporting.plots import write_study_figures

    with tempfile.TemporaryDirectory(dir=found.folder, prefix=".figures.tmp-") as fresh:
        write_study_figures(
            Path(fresh),
            scores=found.scores,
            variance=found.variance,
            curve=found.curve,
            about=f"{cohort.source.title}, {cohort.condition}",
            notice=cohort.source.notice,
        )
        for path in sorted(Path(fresh).iterdir()):
            move_whole(path, found.folder)


def _scored_so_far(show: Callable[[pd.DataFrame], None]) -> Callable[[pd.DataFrame], None]:
    rows: list[pd.DataFrame] = []

    def watch(risks: pd.DataFrame) -> None:
        rows.append(score(risks))
        show(summarise(pd.concat(rows, ignore_index=True)))

    return watch


def _identity(settings: RunSettings, plan: StudySettings, cohort: Cohort) -> dict[str, Any]:
    """What makes two studies the same: the data and every setting that decides a number."""
    digest = hashlib.sha256(np.ascontiguousarray(cohort.images).tobytes() + cohort.outcome.tobytes())
    training, study = asdict(settings.training), asdict(plan)
    training.pop("device")
    if not plan.given:
        del study["given"]  # as in studies of before there were any
    return {
        "images": digest.hexdigest()[:16],
        "condition": cohort.condition,
        "audit": asdict(settings.audit),
        "study": study,
        "training": training,
        "device": settings.training.device,
    }


def _differences(found: Any, wanted: Any, name: str = "") -> Iterable[str]:
    """Where two settings differ, as ``name: there, here``."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {*found, *wanted}:
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(found.get(key), wanted.get(key), inner)
    elif found != wanted:
        yield f"{name} was {found}, is now {wanted}"


@dataclass(frozen=True)
class Training:
    """One point of a study: which model learns from what, and which cases it is scored on.

    ``train`` and ``held_out`` are indices into the cohort; ``parts`` are the models whose mean it is, of
    this study, as in a run; none where it is trained itself.
    """

    model: str
    variant: str
    fraction: float
    repeat: int
    fold: int
    seed: int
    train: Indices
    held_out: Indices
    parts: tuple[str, ...] = ()


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
    InputError : images that differ in nothing, or too few groups; ``check_study`` refuses the settings.
    """
    own = {model.name: model for model in given}
    check_images(cohort.images)
    points = plan(cohort, settings, own)
    batches = [
        (_name(point), job)
        for point in points
        if not point.parts
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
    parts = {COMBINATION: parts_of_combined(settings.models)}
    points = []
    for repeat in range(settings.repeats):
        fold = grouped_folds(cohort.outcome[pool], cohort.group[pool], folds=settings.folds, seed=repeat)
        for number in range(settings.folds):
            inside, held_out = pool[fold != number], pool[fold == number]
            for variant in settings.variants:
                allowed = _allowed(cohort, inside, variant)
                for fraction in settings.fractions:
                    train = _part(cohort, allowed, fraction, seed=derived_seed(repeat, number, "part"))
                    place = (variant, fraction, repeat, number)
                    points += [
                        Training(model, *place, seed, train, held_out, parts.get(model, ()))
                        for model in (*settings.models, *own)
                        for seed in (settings.seeds if _is_seeded(model, own) else settings.seeds[:1])
                    ]
    return points


def check_study(settings: StudySettings, own: Mapping[str, Given] = OWN) -> None:
    """Refuse settings that no study can be made of.

    Raises
    ------
    InputError : an unknown model or variant, repeated seeds, a fraction outside (0, 1].
    """
    for model in own.values():
        _check_own(model)
    if settings.models or not own:
        _known("Models", settings.models, MODELS)
    _known("Variants", settings.variants, VARIANTS)
    if COMBINATION in settings.models and not parts_of_combined(settings.models):
        raise InputError(
            f"The model {COMBINATION} is made of {' and '.join(COMBINED)}; name these in "
            f"{option('--models')} too."
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
        model, none = own[point.model], point.train[:0]
        job = Job(model.kind, point.train, none, model.settings, point.seed, keep_model=False)
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
    return model == COMBINATION or KINDS[_kind(model, own)].seeded


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
    if point.parts:
        found = {part: _risk(replace(point, model=part, parts=()), results) for part in point.parts}
        seconds = sum(each for _, each in found.values())
        return mean_of([found[part][0] for part in point.parts]), seconds
    key = _name(point)
    if key not in results:  # trained once, with the first seed
        key = next(name for name in results if name[:5] == key[:5])
    fitted = [one for _, one in sorted(results[key].items())]
    return np.mean([one.risk for one in fitted], axis=0), sum(one.seconds for one in fitted)


def score(risks: pd.DataFrame) -> pd.DataFrame:
    """One row per training, scored on its held-out cases.

    Columns: the training's ``model`` to ``seed``, ``trained_on``, ``cases``, ``events``, ``auc``,
    ``auc_error`` (DeLong's standard error, by group), ``brier``, ``log_loss``, ``cpu_seconds``.
    """
    scored = [
        {**dict(zip(TRAINING, name, strict=True)), **_scores(rows)}
        for name, rows in risks.groupby(TRAINING, sort=False)
    ]
    return pd.DataFrame(scored)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model, variant and fraction: the mean over folds, repeats and seeds, and its spread.

    ``auc_sd`` is the standard deviation of whole cross-validations (one repeat with one seed each),
    NaN where there is only one.
    """
    runs = scores.groupby([*CONDITION, "repeat", "seed"], sort=False)[["auc", "brier", "log_loss"]].mean()
    by_condition = runs.groupby(CONDITION, sort=False)
    summary = by_condition.mean().join(by_condition["auc"].std().rename("auc_sd"))
    summary["cross_validations"] = by_condition.size()
    trainings = scores.groupby(CONDITION, sort=False)
    summary["trained_on"] = trainings["trained_on"].mean()
    summary["cpu_seconds"] = trainings["cpu_seconds"].mean()
    return summary.reset_index()


def split_variance(scores: pd.DataFrame) -> pd.DataFrame:
    """Where the spread of a fold's AUC comes from, as standard deviations, per model, variant and fraction.

    ``cases`` is what the number of held-out cases alone explains (DeLong); ``folds`` what folds differ
    by beyond that; ``repeats`` the spread of whole cross-validations over fold drawings; ``seeds`` the
    spread over seeds on the same fold. NaN where there is only one to compare.
    """
    rows = [
        {**dict(zip(CONDITION, name, strict=True)), **_sources(group)}
        for name, group in scores.groupby(CONDITION, sort=False)
    ]
    return pd.DataFrame(rows)


def learning_curve(scores: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """AUC against the number of training cases, with a band, and what the double of the data would buy.

    Per model and variant one row per fraction, ``kind`` "measured", then one at twice the largest
    number, ``kind`` "extrapolated": a straight line in 1 / sqrt(cases) through the measured means, the
    rate at which many learning curves flatten. Bands are percentiles of a bootstrap over folds, so
    they hold what the choice of folds adds and not the choice of the cohort.
    """
    rows = [
        row
        for _, part in scores.groupby(["model", "variant"], sort=False)
        for row in _curve(part, level, seed)
    ]
    return pd.DataFrame(rows)


def _scores(rows: pd.DataFrame) -> dict[str, float]:
    outcome, risk = rows["outcome"].to_numpy(bool), rows["risk"].to_numpy(float)
    estimate = auc(outcome, risk, group=rows["group"].to_numpy(str))
    return {
        "trained_on": int(rows["trained_on"].iloc[0]),
        "cases": len(rows),
        "events": int(outcome.sum()),
        "auc": estimate.value,
        "auc_error": (estimate.high - estimate.low) / (2 * normal_quantile(estimate.level)),
        "brier": float(np.mean((risk - outcome) ** 2)),
        "log_loss": float(-np.mean(np.log(np.where(outcome, risk, 1 - risk)))),
        "cpu_seconds": float(rows["cpu_seconds"].iloc[0]),
    }


def _sources(scores: pd.DataFrame) -> dict[str, float]:
    cases = float(np.mean(scores["auc_error"] ** 2))
    seeds = scores.groupby(["repeat", "fold"])["auc"].var().mean()
    fold_means = scores.groupby(["repeat", "fold"])["auc"].mean()
    folds = fold_means.groupby("repeat").var().mean()
    repeats = fold_means.groupby("repeat").mean().var()
    beyond = max(0.0, folds - cases) if np.isfinite(folds) else np.nan
    return {
        "cases": float(np.sqrt(cases)),
        "folds": float(np.sqrt(beyond)),
        "repeats": float(np.sqrt(repeats)),
        "seeds": float(np.sqrt(seeds)),
    }


def _curve(scores: pd.DataFrame, level: float, seed: int) -> Iterator[dict[str, object]]:
    table = scores.pivot_table(index=["repeat", "fold"], columns="fraction", values="auc")
    cases = scores.groupby("fraction")["trained_on"].mean().to_numpy()
    drawn = np.random.default_rng(seed).integers(0, len(table), (DRAWS, len(table)))
    means = table.to_numpy()[drawn].mean(axis=1)
    about = {"model": scores["model"].iloc[0], "variant": scores["variant"].iloc[0]}
    tail = [(1 - level) / 2, (1 + level) / 2]
    for place, fraction in enumerate(table.columns):
        low, high = np.quantile(means[:, place], tail)
        value = float(table[fraction].mean())
        yield {
            **about,
            "kind": "measured",
            "trained_on": cases[place],
            "auc": value,
            "low": low,
            "high": high,
        }
    if len(cases) < 3:
        return
    double = 2 * cases.max()
    low, high = np.quantile(_at(means, cases, double), tail)
    value = float(_at(table.to_numpy().mean(axis=0)[None], cases, double)[0])
    yield {**about, "kind": "extrapolated", "trained_on": double, "auc": value, "low": low, "high": high}


def _at(means: NDArray[np.float64], cases: NDArray[np.float64], wanted: float) -> NDArray[np.float64]:
    """Values at ``wanted`` cases of lines in 1 / sqrt(cases), one per row of ``means``."""
    design = np.stack([np.ones_like(cases), 1 / np.sqrt(cases)])
    line = means @ np.linalg.pinv(design)
    return line @ np.array([1.0, 1 / np.sqrt(wanted)])
