"""The validate step: a finished run, frozen, on the images of other patients."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clineval import provenance
from clineval.data.cohort import Cohort
from clineval.data.exploration import Exploration
from clineval.data.own_cohort import OwnCohort, read_own_cohort
from clineval.data.own_table import Columns
from clineval.data.training_twins import recognise
from clineval.evaluation import Evaluation, json_form, read_evaluation
from clineval.evaluation.curves import Curves, curves
from clineval.evaluation.record import Point
from clineval.evaluation.transport import to_json, transport
from clineval.learning.matching import LOOKS, mean_histogram
from clineval.learning.plain_models import Floats
from clineval.pipeline.cohort_run import OwnImages, draw_check_strip
from clineval.pipeline.models import DECIMALS
from clineval.pipeline.robustness import write_robustness
from clineval.pipeline.run import check_formats, silent, write_exploration, write_words
from clineval.pipeline.scoring import open_and_score
from clineval.pipeline.stored_run import Seen, StoredRun, cut_for, read_run, shipped_risks, view_images
from clineval.predictions import OUT_OF_FOLD, read_predictions, write_predictions
from clineval.refusal import Refusal
from clineval.run_folder import replace_folder, require_apart
from clineval.settings import ValidationSettings
from clineval.statistics.roc import auc_logit

FILE = "transport.json"
SCHEMA = 1
RESERVED = ("train", "val", "test", "test_clean", OUT_OF_FOLD, "all")
LONGEST_NAME = 80  # characters of a cohort's name
FURTHER_LOOKS = "further looks: grey levels matched, blurred"
UNLIKE = "unlike_training"  # attribute of every external image
Announce = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class Validated:
    """Where the validation lies, the external cohort, its evaluation, and what ``transport.json`` holds."""

    folder: Path
    cohort: Cohort
    evaluation: Evaluation
    transport: Mapping[str, Any]


@dataclass(frozen=True)
class _Scored:
    """External images as the models see them and what these say.

    ``views`` are the squares of each image (the middle one; the upper one where it counts); ``risks``
    the shipped ones by model; ``steps`` those after each step of preparation, in order.
    """

    views: tuple[NDArray[np.uint8], ...]
    seen: Seen
    risks: Mapping[str, Floats]
    steps: Mapping[str, Mapping[str, Floats]]


def validate(
    results: Path,
    own: OwnImages,
    settings: ValidationSettings,
    *,
    out: Path,
    force: bool = False,
    jobs: int | None = None,
    formats: Sequence[str] = ("png",),
    command: Iterable[str] = ("clineval", "validate"),
    announce: Announce = silent,
) -> Validated:
    """Apply a finished run to other patients and set the result beside that at home.

    Scaling, models, recalibrations and thresholds are those of the run, to the last byte. The folder
    holds what every run holds, less the training, and ``transport.json``; it appears whole or not at all.

    Parameters
    ----------
    results : folder of ``clineval run``.
    own : the table that names the external images, and their folder.
    jobs : threads; all cores by default. The numbers do not depend on it.
    formats : of the figures, png among them.
    announce : called with each step's name; returns the step's ``progress(done, total)``.

    Raises
    ------
    Refusal : the run, the table, an image, the name or the output folder is not fit; nothing is written.
    """
    _check_name(settings.name)
    _check_apart(results, own, out)
    check_formats(formats)
    if jobs is not None and jobs < 1:
        raise Refusal(f"--jobs needs a number from 1 on; came {jobs}.")
    recorder = provenance.Recorder()
    with recorder.step("read"):
        run = read_run(results)
        at_home = read_evaluation(results / "evaluation.json")
        fits = cut_for(run, settings.own.fit, second_view=settings.second_view)
        settings = replace(settings, own=replace(settings.own, fit=fits[0]))
        external = _read(run, own, settings, fits[1:], announce)
    scoring = {**asdict(settings.evaluation), "points": _points(run, at_home)}
    with replace_folder(out, kind="validate", force=force) as folder, threadpool_limits(1):
        with recorder.step("score"):
            scored = _score(run, external, settings, jobs=jobs, announce=announce)
            table = _write_table(external.cohort, scored, folder)
        with recorder.step("evaluate"):
            evaluation = _evaluate(run, scoring, settings, results, folder, announce)
        with recorder.step("transport"):
            announce("Setting the external cohort beside the test cases of the run")
            beside = _transport(run, results, table, external.cohort, scored, at_home, settings)
            _write_json(beside, folder / FILE)
        if settings.corruptions:
            with recorder.step("robustness"):
                write_robustness(run, external.cohort, scored.views, settings, folder, announce=announce)
        with recorder.step("draw"):
            exploration = write_exploration(external.cohort, folder)
            lines = _draw(folder, table, evaluation, exploration, external, formats, announce)
            _draw_beside(beside, external, folder)
        with recorder.step("report"):
            about = (command, {**asdict(settings), "evaluation": scoring}, external.cohort, results)
            provenance.seal(folder, _facts(*about, recorder))
            write_words(folder, lines, announce=announce)
        provenance.seal(folder, _facts(*about, recorder))
    return Validated(out, external.cohort, evaluation, beside)


def _check_name(name: str) -> None:
    if not name.strip() or name in RESERVED or not name.isprintable() or len(name) > LONGEST_NAME:
        shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}... ({len(name)} characters)"
        raise Refusal(
            f"--name needs a name of its own for the external cohort, of up to {LONGEST_NAME} printable "
            f"characters, none of {', '.join(RESERVED)}; came {shown!r}. Say for example: --name hospital-b"
        )


def _check_apart(results: Path, own: OwnImages, out: Path) -> None:
    if out.resolve().is_relative_to(results.resolve()):
        raise Refusal(
            f"--out {out} is the run that is to be validated, or lies inside it; choose another folder."
        )
    require_apart(out, results, own.table, own.folder)


def _read(
    run: StoredRun, own: OwnImages, settings: ValidationSettings, also: Sequence[str], announce: Announce
) -> OwnCohort:
    """The external images, prepared as those of the run, and cut ``also`` in another way."""
    given = settings.own
    read = read_own_cohort(
        own.table,
        Columns(given.image_column, given.outcome_column, given.positive, given.group_column),
        image_folder=own.folder,
        size=run.side,
        fit=given.fit,
        also=also,
        bits=given.bits,
        condition=run.condition,
        name=settings.name,
        progress=announce("Reading the images"),
    )
    source = replace(
        read.cohort.source,
        notes=(*read.cohort.source.notes, *_notes(run, settings, second_view=bool(also))),
        synthetic=bool(run.notice),
        reason=f"the models learnt from it ({run.notice.split(': ', 1)[-1]})" if run.notice else "",
    )
    return replace(read, cohort=replace(read.cohort, source=source))


def _notes(run: StoredRun, settings: ValidationSettings, *, second_view: bool) -> Iterator[str]:
    yield (
        f"Models, recalibrations and thresholds are those of a run on {run.data_title}, frozen; the outcomes "
        "of this cohort served to score them and for nothing else."
    )
    if settings.matching:
        yield (
            "Some models also scored each image with mean and spread of its grey levels brought to those of "
            f"the training images, or blurred; their risk is the mean ({_looks()}): a step that uses this "
            "cohort's grey levels, never its outcomes (--no-matching leaves it out)."
        )
    if second_view:
        yield "Of upright images the upper square was scored too, and the risk is the mean of both."


def _looks() -> str:
    return "; ".join(f"{model}: {', '.join(names)}" for model, names in LOOKS.items() if len(names) > 1)


def _score(
    run: StoredRun, external: OwnCohort, settings: ValidationSettings, *, jobs: int | None, announce: Announce
) -> _Scored:
    views = (external.cohort.images, *external.further)
    plain = view_images(run, views[0], matching=False, jobs=jobs, progress=announce("Scoring the images"))
    steps = {"middle square" if settings.own.fit == "crop" else settings.own.fit: [plain.risks]}
    kept = [plain]
    if settings.matching:
        kept = [view_images(run, views[0], jobs=jobs, progress=announce("Scoring further looks"))]
        steps[FURTHER_LOOKS] = [kept[0].risks]
    for view in views[1:]:
        progress = announce("Scoring the upper squares")
        kept.append(view_images(run, view, matching=settings.matching, jobs=jobs, progress=progress))
        steps["mean with the upper square"] = [each.risks for each in kept]
    risks = {step: shipped_risks(run, seen) for step, seen in steps.items()}
    return _Scored(views, plain, list(risks.values())[-1], risks)


def _write_table(cohort: Cohort, scored: _Scored, folder: Path) -> pd.DataFrame:
    """Write ``predictions.csv`` and hand back what lies there, for that is what must be scored."""
    about = {
        "split": cohort.split,
        "case": cohort.case,
        "group": cohort.group,
        "outcome": cohort.outcome.astype(int),
    }
    further = {**cohort.attributes, UNLIKE: scored.seen.distance.unlike.astype(int)}
    frames = [
        pd.DataFrame({"model": model, **about, "risk": np.round(risk, DECIMALS), **further})
        for model, risk in scored.risks.items()
    ]
    write_predictions(pd.concat(frames, ignore_index=True), folder / "predictions.csv")
    return read_predictions(folder / "predictions.csv")


def _points(run: StoredRun, at_home: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """The frozen thresholds of each model, as the provenance keeps them for whoever scores the table anew."""
    return {name: [json_form.point(one) for one in at_home.points[name]] for name in run.names}


def _evaluate(
    run: StoredRun,
    scoring: Mapping[str, Any],
    settings: ValidationSettings,
    results: Path,
    folder: Path,
    announce: Announce,
) -> Evaluation:
    """Open the external cohort: the ledger's line first, then its scores at the run's thresholds."""
    frozen = {
        "settings": asdict(settings),
        "settings_sha256": provenance.hash_settings({**asdict(settings), "evaluation": scoring}),
        "models_sha256": provenance.hash_settings(provenance.hash_folder(results / "models")),
        "evaluation_sha256": provenance.hash_file(results / "evaluation.json"),
    }
    return open_and_score(
        folder,
        scoring,
        condition=run.condition,
        frozen=frozen,
        models=results / "models",
        progress=announce("Scoring the table"),
    )


def _transport(
    run: StoredRun,
    results: Path,
    table: pd.DataFrame,
    cohort: Cohort,
    scored: _Scored,
    at_home: Evaluation,
    settings: ValidationSettings,
) -> dict[str, Any]:
    points: dict[str, tuple[Point, ...]] = {name: at_home.points[name] for name in run.names}
    models = transport(
        read_predictions(results / "predictions.csv"), table, points=points, **asdict(settings.evaluation)
    )
    return {
        "schema": SCHEMA,
        "external": settings.name,
        "internal": run.data_title,
        "condition": run.condition,
        "level": settings.evaluation.level,
        "steps": list(_steps(cohort, scored, settings)),
        "models": to_json(models),
        "images": _images(run, cohort, scored),
        "seen_in_training": [
            _twin(run, cohort, each) for each in recognise(run.reference.trace, cohort.images)
        ],
    }


def _steps(cohort: Cohort, scored: _Scored, settings: ValidationSettings) -> Iterator[dict[str, Any]]:
    """What each step of preparation gave; none was chosen by it."""
    for step, risks in scored.steps.items():
        aucs = {
            model: auc_logit(cohort.outcome, risk, group=cohort.group, level=settings.evaluation.level)
            for model, risk in risks.items()
        }
        yield {"step": step, "uses_grey_levels": step == FURTHER_LOOKS, "auc": to_json(aucs)}


def _images(run: StoredRun, cohort: Cohort, scored: _Scored) -> dict[str, Any]:
    """Grey levels here and in training, and how many images are unlike those of training."""
    known, far = run.reference.familiarity, scored.seen.distance
    here = mean_histogram(cohort.images)
    return {
        "grey_levels": {"training": known.grey.tolist(), "external": here.tolist()},
        "mean_grey": {"training": _mean(known.grey), "external": _mean(here)},
        "sd_grey": {"training": _sd(known.grey), "external": _sd(here)},
        "unlike": int(far.unlike.sum()),
        "unlike_texture": int((far.texture > known.texture_limit).sum()),
        "unlike_grey": int((far.grey > known.grey_limit).sum()),
        "texture_distance": _quartiles(far.texture) | {"limit": to_json(known.texture_limit)},
        "grey_distance": _quartiles(far.grey) | {"limit": to_json(known.grey_limit)},
    }


def _twin(run: StoredRun, cohort: Cohort, found: Any) -> dict[str, Any]:
    about = {name: value for name, value in vars(found).items() if name != "row"}
    return {"case": str(cohort.case[found.row]), **about}


def _mean(shares: Floats) -> float:
    return float(shares @ np.arange(len(shares)))


def _sd(shares: Floats) -> float:
    return float(np.sqrt(shares @ (np.arange(len(shares)) - _mean(shares)) ** 2))


def _quartiles(values: Floats) -> dict[str, float]:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"lower_quartile": float(low), "median": float(median), "upper_quartile": float(high)}


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _draw(
    folder: Path,
    table: pd.DataFrame,
    evaluation: Evaluation,
    exploration: Exploration,
    external: OwnCohort,
    formats: Sequence[str],
    announce: Announce,
) -> Curves:
    from clineval.reporting.figures import write_figures  # matplotlib is loaded only to draw

    lines = curves(table, evaluation)
    write_figures(
        folder,
        table=table,
        evaluation=evaluation,
        curves=lines,
        exploration=exploration,
        cohort=external.cohort,
        formats=formats,
        progress=announce("Drawing the figures"),
    )
    return lines


def _draw_beside(beside: Mapping[str, Any], external: OwnCohort, folder: Path) -> None:
    from clineval.reporting.transport_plots import write_case_mix  # matplotlib is loaded only to draw

    write_case_mix(beside, folder / "case_mix.png", notice=external.cohort.source.notice)
    draw_check_strip(external, folder)


def _facts(
    command: Iterable[str],
    settings: Mapping[str, Any],
    cohort: Cohort,
    results: Path,
    recorder: provenance.Recorder,
) -> dict[str, Any]:
    """The provenance of the folder, less the hashes of what lies in it."""
    made = {"run": results.resolve().name, "models_sha256": provenance.hash_folder(results / "models")}
    source = {"condition": cohort.condition, **asdict(cohort.source), "notice": cohort.source.notice}
    return provenance.describe(
        kind="validate",
        command=command,
        settings=settings,
        source={**source, **made},
        recorder=recorder,
    )
