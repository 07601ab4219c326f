"""A study in a folder: train what is missing, score out of fold, write tables and figures."""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clineval import provenance
from clineval.data.audit import audit
from clineval.data.cohort import Cohort
from clineval.learning.study import study
from clineval.pipeline.run import Announce, facts, load, silent
from clineval.pipeline.study_scores import learning_curve, score, split_variance, summarise
from clineval.refusal import Refusal
from clineval.run_folder import hold_folder, move_whole, write_whole
from clineval.settings import RunSettings, StudySettings

SETTINGS_FILE = "study.json"
TRAININGS = "trainings"


@dataclass(frozen=True)
class FinishedStudy:
    """What a study found and where it lies; the tables are those of :mod:`clineval.pipeline.study_scores`."""

    folder: Path
    scores: pd.DataFrame
    summary: pd.DataFrame
    variance: pd.DataFrame
    curve: pd.DataFrame


def run_study(
    settings: RunSettings,
    plan: StudySettings,
    *,
    out: Path = Path("study"),
    jobs: int | None = None,
    cluster: str | None = None,
    command: Iterable[str] = ("clineval", "study"),
    announce: Announce = silent,
    show: Callable[[pd.DataFrame], None] | None = None,
) -> FinishedStudy:
    """Cross-validate models on train and val of a data set; test is never scored.

    A study that was interrupted goes on where it was: every finished training is a file in
    ``out/trainings``.

    Parameters
    ----------
    out : folder of the study; made if absent, continued if it holds the same study.
    cluster : address of a Dask scheduler, ``tcp://HOST:8786``, instead of ``jobs`` processes here.
    show : called with the summary so far, one row per model, variant and fraction, as trainings end.

    Raises
    ------
    Refusal : the folder holds another study (it says what differs) or something else, or a room refuses.
    """
    recorder = provenance.Recorder()
    with recorder.step("load"):
        cohort = load(settings, announce=announce)
    out = Path(out)
    with hold_folder(out):
        claim_folder(out, _identity(settings, plan, cohort))
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
        with recorder.step("write"):
            write_tables(found, risks)
            _draw(found, cohort)
        record = facts("study", command, settings, cohort, recorder)
        asked = {**record["settings"], "study": asdict(plan)}
        provenance.seal(out, {**record, "settings": asked, "seeds": provenance.seeds_of(asked)})
    return found


def claim_folder(folder: Path, identity: dict[str, Any]) -> None:
    """Make the study's folder, or make sure that it holds this very study.

    Raises
    ------
    Refusal : it holds a study of other settings, or files of something else.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Refusal(f"{folder} is not empty and holds no study; choose another --out.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(identity, indent=2) + "\n")
        except OSError as error:
            raise Refusal(f"Cannot write into {folder}: {error.strerror}. Choose another --out.") from error
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Refusal(f"{path} cannot be read ({error}); choose another --out.") from error
    differ = sorted(_differences(found, json.loads(json.dumps(identity))))
    if differ:
        raise Refusal(
            f"{folder} holds a study of other settings: {'; '.join(differ)}. "
            "Use those settings to continue it, or choose another --out."
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
            write_whole(folder / f"study_{name}.csv", table.to_csv(index=False, lineterminator="\n"))


def _draw(found: FinishedStudy, cohort: Cohort) -> None:
    from clineval.reporting.study_plots import write_study_figures

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
    training = asdict(settings.training)
    training.pop("device")
    return {
        "images": digest.hexdigest()[:16],
        "condition": cohort.condition,
        "audit": asdict(settings.audit),
        "study": asdict(plan),
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
