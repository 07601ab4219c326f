"""The main job: data, audit, exploration, learning, the table, evaluation, figures, report, provenance."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clineval import provenance
from clineval.data import load_cohort, splits
from clineval.data.audit import Audit, audit
from clineval.data.cohort import Cohort, Source
from clineval.data.exploration import Exploration
from clineval.data.exploration import explore as explore_cohort
from clineval.data.load import STANDARD
from clineval.data.own_cohort import OWN
from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves, curves
from clineval.pipeline.audit import draw_audit, write_audit
from clineval.pipeline.cohort_run import OwnImages, draw_check_strip, load_own
from clineval.pipeline.models import Shipped, train_all, training_seconds, write_tables
from clineval.pipeline.scoring import open_and_score
from clineval.predictions import read_predictions
from clineval.refusal import Refusal
from clineval.run_folder import replace_folder, require_apart
from clineval.settings import RunSettings

Progress = Callable[[int, int], None]
Announce = Callable[[str], Progress]

FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Finished:
    """Where results lie, and the cohort that they are of."""

    folder: Path
    cohort: Cohort


@dataclass(frozen=True)
class FinishedRun(Finished):
    """What a run made and where it lies."""

    audit: Audit
    evaluation: Evaluation


def silent(_step: str) -> Progress:
    """An ``announce`` that shows nothing, for callers without a screen."""
    return lambda done, total: None


def run(
    settings: RunSettings,
    *,
    own: OwnImages | None = None,
    out: Path | None = None,
    jobs: int | None = None,
    formats: Sequence[str] = ("png",),
    force: bool = False,
    resume: bool = False,
    command: Iterable[str] = ("clineval", "run"),
    announce: Announce = silent,
) -> FinishedRun:
    """Take a data set from images to a report; the folder appears whole or not at all.

    Parameters
    ----------
    own : a user's own images, in place of the data set that the settings name.
    out : results folder; by default ``results``, ``results-phantom`` for phantom data, or
        ``results-own`` for a user's images.
    jobs : trainings at once, at least 1; all cores by default. The numbers do not depend on it.
    formats : figure formats, of png, svg and pdf.
    resume : reuse the trainings that an interrupted run of the same settings finished.
    command : the words to record in the provenance.
    announce : called with each step's name; returns the step's ``progress(done, total)``.

    Raises
    ------
    Refusal : a setting, the data, or the output folder is not fit.
    """
    check_formats(formats)
    recorder = provenance.Recorder()
    with recorder.step("load"):
        read = load_own(own, settings, announce=announce) if own is not None else None
        cohort = load(settings, announce=announce) if read is None else read.cohort
    settings = _named(settings, cohort)
    target = results_folder(out, cohort.source)
    if own is not None and read is not None:
        require_apart(target, own.table, own.folder, *read.folders)
    with replace_folder(target, kind="run", force=force) as folder:
        finished = _finished_members(target, keep=resume)
        with recorder.step("audit"):
            whole = cohort
            findings, cohort = audit_and_group(cohort, settings, folder, announce=announce)
        with recorder.step("explore"):
            exploration = write_exploration(cohort, folder)
        with recorder.step("train"):
            shipped = train_all(cohort, findings, settings, jobs=jobs, finished=finished, announce=announce)
            write_tables(shipped, folder)
            recorder.training.update(training_seconds(shipped))
        with recorder.step("evaluate"):
            evaluation = open_test(folder, cohort, settings, announce=announce)
        with recorder.step("draw"):
            about = {"condition": whole.condition, "notice": whole.source.notice}
            draw_audit(findings, whole.images, folder, **about)
            lines = draw(folder, evaluation, exploration, cohort, shipped, formats=formats, announce=announce)
            if read is not None:
                draw_check_strip(read, folder)
        with recorder.step("report"):
            provenance.seal(folder, facts("run", command, settings, cohort, recorder))
            write_words(folder, lines, announce=announce)
        provenance.seal(folder, facts("run", command, settings, cohort, recorder))
    shutil.rmtree(finished, ignore_errors=True)
    return FinishedRun(target, cohort, findings, evaluation)


def explore(
    settings: RunSettings,
    *,
    out: Path | None = None,
    force: bool = False,
    command: Iterable[str] = ("clineval", "explore"),
    announce: Announce = silent,
) -> Finished:
    """Write ``exploration.json`` and its figures. Raises as ``run`` does."""
    recorder = provenance.Recorder()
    with recorder.step("load"):
        cohort = load(settings, announce=announce)
    target = results_folder(out, cohort.source)
    with replace_folder(target, kind="explore", force=force) as folder:
        with recorder.step("explore"):
            exploration = write_exploration(cohort, folder)
        with recorder.step("draw"):
            from clineval.reporting.figures import write_exploration_figures

            write_exploration_figures(folder, exploration, cohort)
        provenance.seal(folder, facts("explore", command, settings, cohort, recorder))
    return Finished(target, cohort)


def train(
    settings: RunSettings,
    *,
    out: Path | None = None,
    jobs: int | None = None,
    force: bool = False,
    resume: bool = False,
    command: Iterable[str] = ("clineval", "train"),
    announce: Announce = silent,
) -> Finished:
    """Write models and the risks on train and val, none on test. Raises as ``run`` does."""
    recorder = provenance.Recorder()
    with recorder.step("load"):
        cohort = load(settings, announce=announce)
    target = results_folder(out, cohort.source)
    with replace_folder(target, kind="train", force=force) as folder:
        finished = _finished_members(target, keep=resume)
        with recorder.step("audit"):
            findings, cohort = audit_and_group(cohort, settings, folder, announce=announce)
        with recorder.step("train"):
            shipped = train_all(cohort, findings, settings, jobs=jobs, finished=finished, announce=announce)
        with recorder.step("table"):
            write_tables(shipped, folder, leave_out="test")
        provenance.seal(folder, facts("train", command, settings, cohort, recorder))
    shutil.rmtree(finished, ignore_errors=True)
    return Finished(target, cohort)


def load(settings: RunSettings, *, announce: Announce = silent) -> Cohort:
    """The cohort that the settings name; its source says whether it is real."""
    return load_cohort(
        settings.data.dataset,
        size=settings.data.size,
        seed=settings.training.seed,
        condition=settings.data.condition,
        progress=announce("Loading the images"),
    )


def results_folder(out: Path | None, source: Source) -> Path:
    """Where results go: ``out`` where given, and by default one folder each for real, phantom, own data."""
    by_default = (
        "results-phantom" if source.synthetic else f"results-{OWN}" if source.dataset == OWN else "results"
    )
    return out if out is not None else Path(by_default)


def audit_and_group(
    cohort: Cohort, settings: RunSettings, folder: Path, *, announce: Announce = silent
) -> tuple[Audit, Cohort]:
    """Audit the images, write what was found, and return the cohort under its duplicate groups."""
    findings = audit(cohort, threshold=settings.audit.threshold, progress=announce("Auditing the images"))
    write_audit(findings, cohort, folder, seed=settings.training.seed)
    grouped = cohort.with_groups(findings.group_of)
    return findings, splits.apply_split(grouped, findings, settings.data.split, seed=settings.training.seed)


def _named(settings: RunSettings, cohort: Cohort) -> RunSettings:
    """The settings with the data set that ``auto`` came to: asking for it by name is no other setting.

    Phantoms that stand in for it keep ``auto``, and with it the reason why.
    """
    if settings.data.dataset != "auto" or cohort.source.dataset != STANDARD:
        return settings
    return replace(settings, data=replace(settings.data, dataset=STANDARD))


def write_exploration(cohort: Cohort, folder: Path) -> Exploration:
    """Describe the images in numbers and write ``exploration.json``."""
    exploration = explore_cohort(cohort)
    text = json.dumps(exploration.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "exploration.json").write_text(text + "\n", encoding="utf-8")
    return exploration


def open_test(
    folder: Path, cohort: Cohort, settings: RunSettings, *, announce: Announce = silent
) -> Evaluation:
    """Open the test set: the ledger's line first, then the scores of the table as it lies on disk."""
    chosen = asdict(settings)
    frozen = {
        "dataset": cohort.source.dataset,
        "data_sha256": cohort.source.sha256,
        "settings": chosen,
        "settings_sha256": provenance.hash_settings(chosen),
        "models_sha256": provenance.hash_settings(provenance.hash_folder(folder / "models")),
    }
    return open_and_score(
        folder,
        chosen["evaluation"],
        condition=cohort.condition,
        frozen=frozen,
        progress=announce("Scoring the table, test included, once"),
    )


def draw(
    folder: Path,
    evaluation: Evaluation,
    exploration: Exploration,
    cohort: Cohort,
    shipped: Sequence[Shipped] = (),
    *,
    formats: Sequence[str],
    announce: Announce = silent,
) -> Curves:
    """Draw the figures of exploration, learning and evaluation; return the lines drawn, for the report.

    ``shipped`` are the models that were trained; none where a finished run is applied.
    """
    from clineval.reporting.figures import write_figures  # matplotlib is loaded only to draw

    table = read_predictions(folder / "predictions.csv")
    lines = curves(table, evaluation)
    write_figures(
        folder,
        table=table,
        evaluation=evaluation,
        curves=lines,
        exploration=exploration,
        cohort=cohort,
        learning_curves=[
            curve for model in shipped if model.name == "cnn" for curve in model.learning_curves
        ],
        formats=formats,
        progress=announce("Drawing the figures"),
    )
    return lines


def write_words(folder: Path, lines: Curves | None = None, *, announce: Announce = silent) -> None:
    """Write checklist, model card and report from what lies in the folder; ``lines`` saves computing."""
    from clineval.reporting.checklist import write_checklist
    from clineval.reporting.model_card import write_model_card
    from clineval.reporting.report import write_report

    progress = announce("Writing the report")
    write_checklist(folder)
    progress(1, 3)
    write_model_card(folder)
    progress(2, 3)
    write_report(folder, curves=lines)
    progress(3, 3)


def facts(
    kind: str, command: Iterable[str], settings: RunSettings, cohort: Cohort, recorder: provenance.Recorder
) -> dict[str, Any]:
    """The provenance of a folder, less the hashes of what lies in it."""
    source = {"condition": cohort.condition, **asdict(cohort.source), "notice": cohort.source.notice}
    return provenance.describe(
        kind=kind, command=command, settings=asdict(settings), source=source, recorder=recorder
    )


def _finished_members(target: Path, *, keep: bool) -> Path:
    """Where finished trainings wait beside the results, so that a killed run can go on."""
    folder = target.with_name(f".{target.name}.members")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def check_formats(formats: Sequence[str]) -> None:
    """Refuse figure formats that there are not, before anything is computed."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or "png" not in formats:
        raise Refusal(
            f"Figures are needed as png, with svg or pdf beside it; came {', '.join(formats) or 'nothing'}. "
            "Say for example: --figures png,svg,pdf"
        )
