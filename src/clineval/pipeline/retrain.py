"""A run repeated from its recorded settings, and its predictions set beside those of the first time."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from clineval import results
from clineval.data.own_images import OWN
from clineval.errors import Announce, InputError, in_short, option, require_extra
from clineval.files import PREDICTIONS, from_plain
from clineval.models.classifier import KINDS, Given, ModelSource, given_model
from clineval.models.user_model import TIMEOUT, changed_modules
from clineval.pipeline.run import OwnImages, audit_and_group, load, load_own, write_exploration
from clineval.pipeline.stored_run import RECORDS, read_records
from clineval.pipeline.train import train_all, write_tables
from clineval.pipeline.verify import Verdict
from clineval.predictions import OUT_OF_FOLD, read_predictions
from clineval.results.folder import require_results
from clineval.results.provenance import environment_differences
from clineval.settings import GivenModel, RunSettings

TOLERANCE = 1e-3
"""Difference of a risk that another processor or version is allowed: docs/reproducibility.md."""

NETWORK_TOLERANCE = 0.025
"""Mean difference over a split that it is allowed where the risk is the mean of several networks."""

MEMBER_TOLERANCE = 0.05
"""The same out of fold, where each risk is that of one network."""

KEY = ["model", "split", "case"]
UNSEEN = {"run": None, "train": "test"}  # kinds that can be repeated, and the split that each leaves out
INSTEAD = {
    "evaluate": "its numbers follow from the table alone, and verify without --retrain recomputes them all",
    "validate": "it trained nothing; verify --retrain the run whose models it applied, "
    "and repeat the validation with clineval validate",
    "study": "its trainings lie beside its tables; the same clineval study with another --out repeats them",
    "audit": "it trained nothing; the same clineval audit with another --out repeats it",
    "explore": "it trained nothing; the same clineval explore with another --out repeats it",
}


@dataclass(frozen=True)
class Gap:
    """How far a model's risks are from what they were.

    ``largest`` is the largest difference of a risk and ``case`` whose it is; ``mean`` the largest mean
    difference over the cases of a split; ``tolerable`` whether another processor or version may have done it.
    """

    model: str
    largest: float
    case: str
    mean: float
    tolerable: bool


def repeat_run(
    folder: Path,
    *,
    own: OwnImages | None = None,
    models: Mapping[str, ModelSource] | None = None,
    model_timeout: float = TIMEOUT,
    jobs: int | None = None,
    announce: Announce,
) -> Verdict:
    """Repeat a run from its recorded settings in a temporary folder and compare what it predicts.

    Loading, audit, exploration and training are repeated; the test cases are not scored, for what
    follows from the predictions ``verify_results`` recomputes, so the ledger gets no line. All files
    are compared byte for byte. Where they are not the same and the processor or a version is another
    than it was, the risks are compared within the tolerances that docs/reproducibility.md derives.

    Parameters
    ----------
    folder : results of ``clineval run`` or ``train``.
    own : the user's own images, where the run was made from such.
    models : the user's own models by name, as for ``run``: a results folder never leads to code by itself.
    model_timeout : seconds that one training of a Python model may take, and the scoring of all images by a
        graph.
    jobs : trainings at once; all cores by default.

    Raises
    ------
    InputError : the folder holds something that trained nothing, or its images or models are not given.
    """
    require_extra("train", for_what="verify --retrain")
    require_results(folder, results.PROVENANCE, PREDICTIONS)
    record = results.read_provenance(folder / results.PROVENANCE)
    if record["kind"] not in UNSEEN:
        why = INSTEAD.get(record["kind"], "this version does not know how")
        raise InputError(
            f"{folder} holds the results of 'clineval {record['kind']}', not to be retrained: {why}."
        )
    settings, sources = settings_of(record), models or {}
    _check_given(folder, settings.training.given, sources)
    with tempfile.TemporaryDirectory(prefix="clineval-retrain-") as place:
        other = _repeat(
            folder,
            record,
            settings,
            Path(place),
            own=own,
            sources=sources,
            model_timeout=model_timeout,
            jobs=jobs,
            announce=announce,
        )
        return Verdict((other,)) if other else _compared(folder, Path(place), record)


def _check_given(folder: Path, recorded: Sequence[GivenModel], sources: Mapping[str, ModelSource]) -> None:
    """Models of the user's are named again by the user, never by the folder: their code would be run."""
    lacking = [each for each in recorded if each.name not in sources]
    if lacking:
        raise InputError(
            f"{folder} was made with models of your own; a results folder never makes the program run a "
            f"user's code. Give what you trust again: {in_short([_source(each) for each in lacking])}."
        )
    odd = sorted(set(sources) - {each.name for each in recorded})
    if odd:
        given = option(f"--model {odd[0]}", f"models[{odd[0]!r}]")
        raise InputError(f"{given}: {folder} was made without a model of that name; leave it out.")


def _source(model: GivenModel) -> str:
    where = model.file if model.factory is None else f"{model.file}:{model.factory}"
    known = "from Python" if model.sha256 is None else f"SHA-256 {model.sha256[:12]}"
    return f"{option(f'--model {model.name}={where}', f'models[{model.name!r}] = {where!r}')} ({known})"


def settings_of(record: Mapping[str, Any]) -> RunSettings:
    """The settings of a run, from its provenance; the data set by the name that ``auto`` chose.

    Raises
    ------
    InputError : a setting that this version does not have.
    """
    given = dict(record["settings"])
    given["data"] = {**given.get("data", {}), "dataset": record["data"].get("dataset")}
    try:
        settings: RunSettings = from_plain(RunSettings, given, place="settings", strict=True)
    except ValueError as error:
        raise InputError(
            f"{results.PROVENANCE}: {error}; this version of clineval cannot repeat the run."
        ) from error
    return settings


def _repeat(
    folder: Path,
    record: Mapping[str, Any],
    settings: RunSettings,
    place: Path,
    *,
    own: OwnImages | None,
    sources: Mapping[str, ModelSource],
    model_timeout: float,
    jobs: int | None,
    announce: Announce,
) -> str | None:
    """Train again into ``place``; or say, before anything is trained, that data or models are others."""
    _check_images(record, own)
    recorded = settings.training.given
    cohort = (
        load(settings, colour=any(one.factory for one in recorded), announce=announce)
        if own is None
        else load_own(own, settings, announce=announce).cohort
    )
    then, now = record["data"].get("sha256"), cohort.source.sha256
    if then != now:
        return f"data: their SHA-256 was {then}, now it is {now}; nothing was trained"
    twice = "seed_differences" in record
    given = [
        given_model(one.name, sources[one.name], cohort, timeout=model_timeout, check_seed=twice)
        for one in recorded
    ]
    for before, model in zip(recorded, given, strict=True):
        if model.about != before:
            return f"it was {_source(before)}, now it is {_source(model.about)}; nothing was trained"
        changed = _changed_modules(folder, model)
        if changed:
            said = f"modules of {model.name} changed, or were not recorded ({in_short(changed)})"
            return f"{said}; nothing was trained"
    findings, cohort = audit_and_group(cohort, settings, place, announce=announce)
    if record["kind"] == "run":
        write_exploration(cohort, place)
    models = train_all(cohort, findings, settings, given=given, jobs=jobs, announce=announce)
    write_tables(models, place, leave_out=UNSEEN[record["kind"]])
    return None


def _changed_modules(folder: Path, model: Given) -> list[str]:
    """Of a user's Python model, the modules that it loaded then and that are others now."""
    try:
        recorded = read_records(folder)[model.name]["training"]
        return changed_modules(model.settings, recorded) if model.kind == "python" else []
    except (KeyError, TypeError, AttributeError):  # none is recorded; the risks will be compared
        return []


def _check_images(record: Mapping[str, Any], own: OwnImages | None) -> None:
    data = record["data"]
    if data.get("dataset") == OWN and own is None:
        where = option("--cohort TABLE and --image-folder FOLDER", "own=OwnImages(...)")
        raise InputError(
            f"These results were made from images of your own, named by the table {data.get('file')}, which "
            f"no results folder holds; say where they are with {where}."
        )
    if data.get("dataset") != OWN and own is not None:
        raise InputError(
            f"These results were made from {data.get('title')}; leave out {option('--cohort', 'own')}."
        )


def _compared(folder: Path, place: Path, record: Mapping[str, Any]) -> Verdict:
    then, now = results.hash_folder(folder), results.hash_folder(place)
    odd = [name for name in now if now[name] != then.get(name)]
    if not odd:
        same = f"retrained: {len(now)} files have the same bytes, {PREDICTIONS} among them"
        return Verdict((), (same,))
    gaps = _gaps(folder, place)
    environment = environment_differences(record)
    differing = [*environment, *_program_differences(record)]
    said = (f"other than when the results were written are: {'; '.join(differing)}",) if differing else ()
    if environment and gaps is not None and all(gap.tolerable for gap in gaps):
        return Verdict((), (_within(gaps, odd), *said))
    return Verdict(tuple(_named(odd, gaps)), said)


def _named(odd: list[str], gaps: list[Gap] | None) -> Iterator[str]:
    for name in odd:
        words = f"; {_words(gaps)}" if name == PREDICTIONS else ""
        yield f"{name}: retraining gives other bytes{words}"


def _words(gaps: list[Gap] | None) -> str:
    if gaps is None:
        return "other models or cases"
    apart = [gap for gap in gaps if gap.largest > 0]
    return "the largest difference of a risk is " + (
        ", ".join(
            f"{gap.largest:.2g} for {gap.model} (of {gap.case}; {gap.mean:.2g} on average)" for gap in apart
        )
        or "0"
    )


def _within(gaps: list[Gap], odd: list[str]) -> str:
    return (
        f"retrained: not the same bytes ({', '.join(odd)}), but within what another machine may do "
        f"(risks of networks {NETWORK_TOLERANCE:g} on average, of single ones {MEMBER_TOLERANCE:g}, of other "
        f"models {TOLERANCE:g} each): {_words(gaps)}"
    )


def _gaps(folder: Path, place: Path) -> list[Gap] | None:
    """How far apart the tables of two folders are, a gap per model; None where they are of other cases."""
    one, other = (
        read_predictions(path / PREDICTIONS).set_index(KEY)["risk"].sort_index() for path in (folder, place)
    )
    if not one.index.equals(other.index):
        return None
    networks = _by_networks(place / "models" / RECORDS)
    apart: pd.Series = (one - other).abs()
    return [_gap(str(model), rows, model in networks) for model, rows in apart.groupby(level="model")]


def _gap(model: str, apart: pd.Series, by_network: bool) -> Gap:
    _, _, case = apart.index[int(apart.to_numpy().argmax())]
    means = {str(split): float(mean) for split, mean in apart.groupby(level="split").mean().items()}
    allowed = {split: MEMBER_TOLERANCE if split == OUT_OF_FOLD else NETWORK_TOLERANCE for split in means}
    tolerable = (
        all(mean <= allowed[split] for split, mean in means.items())
        if by_network
        else bool(apart.max() <= TOLERANCE)
    )
    return Gap(model, float(apart.max()), str(case), max(means.values()), tolerable)


def _by_networks(path: Path) -> frozenset[str]:
    """The models that are networks or a mean with one."""
    records = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ensembles = {kind for kind in KINDS if KINDS[kind].join}
    own = {name for name, record in records.items() if record.get("training", {}).get("kind") in ensembles}
    return frozenset(own | {name for name in records if own & set(records[name].get("mean_logit_of", ()))})


def _program_differences(record: Mapping[str, Any]) -> Iterator[str]:
    then, now = record.get("commit") or {}, results.commit() or {}
    if (then.get("hash"), then.get("clean")) != (now.get("hash"), now.get("clean")):
        yield f"the program ({_state(then)} then, {_state(now)} now)"


def _state(commit: Mapping[str, Any]) -> str:
    if not commit:
        return "of no known commit"
    return f"commit {commit.get('hash', '')[:12]}" + ("" if commit.get("clean") else " with changes")
