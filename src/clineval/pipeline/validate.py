"""The validate step: a finished run, frozen, on the images of other patients, of one site or of several."""

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clineval import results as provenance
from clineval.data.cohort import Cohort, Source
from clineval.data.image_files import Unreadable, as_cell
from clineval.data.own_images import OwnCohort, read_own_cohort
from clineval.errors import Announce, InputError, in_short, option, silent
from clineval.evaluation import Evaluation, read_evaluation
from clineval.evaluation import sites as by_site
from clineval.evaluation.curves import curves
from clineval.evaluation.populations import check_chosen
from clineval.evaluation.readers import check_readers
from clineval.evaluation.records import Point, Primary, Scale, scale_of
from clineval.evaluation.sites import LONGEST_NAME
from clineval.files import EVALUATION, PREDICTIONS, CsvRows, to_plain, write_json
from clineval.models.onnx_model import TRAINED_ELSEWHERE
from clineval.models.parallel import checked_workers
from clineval.pipeline.external import (
    ExternalScores,
    draw_beside,
    draw_scored_squares,
    external_probes,
    hashes_of,
    score_external,
    transport_record,
    views_in_words,
    write_robustness,
)
from clineval.pipeline.run import (
    OwnImages,
    check_formats,
    draw_models,
    said_first,
    write_exploration,
    write_sites,
    write_words,
)
from clineval.pipeline.scoring import open_and_score
from clineval.pipeline.stored_run import StoredRun, cut_for, left_out, read_run, refuse_altered_table
from clineval.pipeline.train import check_sites, site_of
from clineval.predictions import OUT_OF_FOLD, read_predictions, write_predictions
from clineval.reporting.artefacts import SITES, TRANSPORT
from clineval.reporting.beside import write_beside_figures
from clineval.reporting.sections import UNLIKE
from clineval.reporting.sentences import subject_of
from clineval.results.folder import replace_folder, require_apart, watch
from clineval.settings import ValidationSettings
from clineval.tables.columns import ALIKE, split_or_cohort
from clineval.tables.own_table import Columns

RESERVED = ("train", "val", "test", "test_clean", OUT_OF_FOLD, "all")
OWN_UNLIKE = f"own_{UNLIKE}"  # a column of that name in the table


@dataclass(frozen=True)
class Validated:
    """Where the validation lies, the external cohort, its evaluation, and what ``transport.json`` holds.

    ``unreadable`` are the images that were left out because they cannot be used; ``sites`` says how much
    sites differ, where that was asked for.
    """

    folder: Path
    cohort: Cohort
    evaluation: Evaluation
    transport: Mapping[str, Any]
    unreadable: tuple[Unreadable, ...] = ()
    sites: by_site.SiteStudy | None = None


def validate(
    results: Path,
    own: OwnImages | Sequence[OwnImages],
    settings: ValidationSettings,
    *,
    out: Path,
    force: bool = False,
    jobs: int | None = None,
    formats: Sequence[str] = ("png",),
    command: Iterable[str] = ("clineval", "validate"),
    announce: Announce = silent,
    warn: Callable[[str], None] = lambda line: None,
) -> Validated:
    """Apply a finished run to other patients and set the external result beside the internal one.

    Scaling, models, recalibrations and thresholds are those of the run, to the last byte. The folder
    holds what every run holds, less the training, and ``transport.json``; it appears whole or not at all.

    Parameters
    ----------
    results : folder of ``clineval run``; or ``model.onnx`` with ``model.json`` beside it, which is shown on
        the external cohort alone.
    own : the table that names the external images, and their folder; several of them, named by
        ``settings.sites``, are sites of one cohort.
    jobs : threads; all cores by default. The numbers do not depend on it.
    formats : of the figures, png among them.
    announce : called with each step's name; returns the step's ``progress(done, total)``.
    warn : called with each thing that should be known first, such as the columns that are left out.

    Raises
    ------
    InputError : the run, the table, an image, the name or the output folder is not fit; nothing is written.
    """
    tables = (own,) if isinstance(own, OwnImages) else tuple(own)
    settings = _with_sites(settings, tables)
    scale = scale_of(settings.evaluation)
    for each in tables:
        check_apart(results, each, out)
    check_formats(formats)
    checked_workers(jobs)
    recorder, unchanged = provenance.Recorder(), watch(results)
    with recorder.step("read"):
        run = read_run(results, thresholds=settings.evaluation.thresholds)
        if run.alone is None:
            refuse_altered_table(results)
        internal = _internal(run, results, settings)
        if settings.corruptions and run.in_colour:
            raise InputError(
                f"{option('--corruptions')} changes grey images; {run.in_colour[0]} takes them in colour. "
                "Leave it out."
            )
        fits = cut_for(run, settings.own.fit, second_view=settings.second_view)
        settings = _for_run(run, replace(settings, own=replace(settings.own, fit=fits[0])))
        external = _read_all(run, tables, settings, fits[1:], announce)
        require_apart(out, *external.folders)
        check_columns(external.cohort, settings)
        unchanged()
    for line in (*said_first(external.cohort), *((left_out(run),) if run.alone is not None else ())):
        if ALIKE not in line:  # the evaluation says that of all tables together
            warn(line)
    scoring = {**asdict(settings.evaluation), **_chosen(run, internal, settings)}
    with replace_folder(out, kind="validate", force=force) as folder, threadpool_limits(1):
        with recorder.step("score"):
            scored = score_external(run, external, settings, jobs=jobs, announce=announce)
            table = write_table(external.cohort, scored, folder)
            if settings.skip_unreadable:
                write_unreadable(external, folder)
        with recorder.step("evaluate"):
            evaluation = _evaluate(run, scoring, settings, results, folder, table, announce)
        with recorder.step("transport"):
            announce("Setting the external cohort beside the test cases of the run")
            beside = transport_record(run, results, table, external, scored, internal, settings)
            if settings.probes:
                beside["probes"] = external_probes(external, scored, internal, settings, announce=announce)
            write_json(beside, folder / TRANSPORT)
        study = None
        if settings.site_column is not None:
            with recorder.step("sites"):
                announce("Summing up over sites")
                study = _sites(table, external.cohort, settings, internal, scale)
                write_json(to_plain(study), folder / SITES)
                write_sites(study, folder, formats=formats, notice=external.cohort.source.notice)
        if settings.corruptions:
            with recorder.step("robustness"):
                write_robustness(
                    run, external.cohort, scored.views, settings, folder, jobs=jobs, announce=announce
                )
        with recorder.step("draw"):
            from clineval.reporting.figures import write_exploration_figures

            exploration = write_exploration(external.cohort, folder)
            write_exploration_figures(folder, exploration, external.cohort, formats=formats)
            lines = curves(table, evaluation)
            draw_models(
                folder,
                table,
                evaluation,
                lines,
                exploration,
                external.cohort,
                formats=formats,
                progress=announce("Drawing the figures"),
            )
            write_beside_figures(folder, subject_of(evaluation), lines, notice=external.cohort.source.notice)
            draw_beside(beside, external, folder)
            draw_scored_squares(run, external, scored, folder, matching=settings.matching)
        with recorder.step("report"):
            asked = {**asdict(settings), "evaluation": scoring}
            provenance.seal(folder, _facts(command, asked, external.cohort, run, results, recorder))
            write_words(folder, lines, table=table, announce=announce)
        provenance.seal(folder, _facts(command, asked, external.cohort, run, results, recorder))
        unchanged()  # all that was read of the run, and hashed, is of one run
    return Validated(out, external.cohort, evaluation, beside, external.unreadable, study)


def name_of_all(names: Sequence[str]) -> str:
    """What the cases of several sites are called together."""
    joined = BETWEEN.join(names)
    return joined if len(joined) <= LONGEST_NAME or len(names) == 1 else f"{len(names)} sites"


def _with_sites(settings: ValidationSettings, tables: Sequence[OwnImages]) -> ValidationSettings:
    """The settings, of several tables with the column that says which one a case is from."""
    check_name(settings.name)
    names = settings.sites
    if len(tables) == 1 and not names:
        return settings
    for name in names:
        check_name(name)
    if len(names) != len(tables) or len(set(names)) != len(names):
        raise InputError(
            f"validate expects as many different names as tables; got {len(tables)} tables and the names "
            f"{in_short(list(names)) or 'none'}. "
            f"{option('Repeat --name', 'Name them in sites')}, in the order of the tables."
        )
    if settings.site_column is not None:
        raise InputError(
            f"Several tables are sites themselves; got {option('--site-column')} {settings.site_column} "
            f"beside {len(tables)} of them. Leave it out, or name the column in one table of all sites."
        )
    return replace(settings, site_column=SITE)


def _read_all(
    run: StoredRun,
    tables: Sequence[OwnImages],
    settings: ValidationSettings,
    also: Sequence[str],
    announce: Announce,
) -> OwnCohort:
    """The external images, those of several tables as one cohort."""
    if not settings.sites:
        return read_external(run, tables[0], settings, also, announce)
    read = {
        name: read_external(run, own, replace(settings, name=name), also, announce)
        for name, own in zip(settings.sites, tables, strict=True)
    }
    return join_cohorts(read, name=settings.name, grouped=settings.own.group_column is not None)


def _named(run: StoredRun, settings: ValidationSettings) -> Evaluation:
    """What stands in the place of a run's evaluation for a model without a run: its thresholds, no cases."""
    (model,) = run.names
    given = [
        Point(each.name, each.threshold, each.chosen_on, "given beforehand") for each in run.thresholds[model]
    ]
    points = tuple(given) or (Point("given", math.nan, "given", "none was given"),)
    scale = settings.evaluation
    return Evaluation(
        condition=run.condition,
        level=scale.level,
        draws=scale.draws,
        seed=scale.seed,
        models={},
        points={model: points},
        primary=Primary(
            model, points[0].threshold, "given", f"Model: the only one. Threshold: {points[0].rule}."
        ),
        origins={model: TRAINED_ELSEWHERE},
    )


def _for_run(run: StoredRun, settings: ValidationSettings) -> ValidationSettings:
    """The settings as the models can be asked; of a model without a run the thresholds stand with it."""
    if run.alone is None:
        return settings
    if settings.site_column is not None and not any(run.thresholds.values()):
        raise InputError(
            f"Sites are compared at a threshold, and {run.alone.file} has none; give it with "
            f"{option('--threshold', 'thresholds')}."
        )
    return replace(settings, matching=False, evaluation=replace(settings.evaluation, thresholds=()))


def check_name(name: str) -> None:
    """Refuse a name of an external cohort that is empty, like a split, reserved, long or not printable."""
    reserved = name in RESERVED or split_or_cohort(name) != name.strip()
    if not name.strip() or reserved or not name.isprintable() or len(name) > LONGEST_NAME:
        shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}... ({len(name)} characters)"
        example = option("--name hospital-b", 'name="hospital-b"')
        raise InputError(
            f"{option('--name')} needs a name of its own for the external cohort, of up to "
            f"{LONGEST_NAME} printable characters, none of {', '.join(RESERVED)} nor like one; "
            f"got {shown!r}. Say for example: {example}"
        )


def check_apart(results: Path, own: OwnImages, out: Path) -> None:
    """Refuse to write into the run, the table or the images that are read."""
    if out.resolve().is_relative_to(results.resolve()):
        raise InputError(
            f"{option('--out')} {out} is the run that is read, or lies inside it; choose another folder."
        )
    require_apart(out, results, own.table, own.folder)


def read_external(
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
        skip_unreadable=settings.skip_unreadable,
        colour=bool(run.in_colour),
        progress=announce("Reading the images"),
    )
    source = replace(
        read.cohort.source,
        notes=(*read.cohort.source.notes, *_notes(run, settings, second_view=bool(also))),
        synthetic=bool(run.notice),
        reason=f"the models learnt from it ({run.notice.split(': ', 1)[-1]})" if run.notice else "",
    )
    given_there = read.cohort.attributes
    attributes = {OWN_UNLIKE if name == UNLIKE else name: given_there[name] for name in given_there}
    return replace(read, cohort=replace(read.cohort, source=source, attributes=attributes))


def check_columns(cohort: Cohort, settings: ValidationSettings) -> None:
    """Refuse a column of groups that is constant, and chosen attributes that are not there."""
    column = settings.own.group_column
    if column is not None and len(cohort) > 1 and (cohort.group == cohort.group[0]).all():
        raise InputError(
            f"{option('--group-column')} {column} says {str(cohort.group[0])!r} in all {len(cohort)} rows, "
            "so there would be one patient and no interval; name the column that tells patients apart, or "
            f"leave {option('--group-column')} out where every image is of another patient."
        )
    check_chosen(settings.attributes, [*cohort.attributes, UNLIKE])
    if settings.evaluation.readers is not None:
        check_readers(settings.evaluation.readers, cohort.attributes)
    if settings.site_column is not None:
        check_sites(cohort, settings.site_column)


def _sites(
    table: pd.DataFrame, cohort: Cohort, settings: ValidationSettings, internal: Evaluation, scale: Scale
) -> by_site.SiteStudy:
    """How much the sites of the cohort differ, from the table as read back."""
    column = str(settings.site_column)
    return by_site.over_sites(
        table,
        dict(zip(cohort.case.tolist(), site_of(cohort, column).tolist(), strict=True)),
        column=column,
        condition=cohort.condition,
        points=internal.points,
        primary=internal.primary,
        scale=scale,
    )


def _notes(run: StoredRun, settings: ValidationSettings, *, second_view: bool) -> Iterator[str]:
    models = (
        f"Models, recalibrations and thresholds are those of a run on {run.data_title}, frozen"
        if run.alone is None
        else f"The model is that of {run.alone.file}, as it is"
    )
    yield f"{models}; the outcomes of this cohort served to score and for nothing else."
    if settings.matching:
        yield (
            "Some models also scored each image with mean and spread of its grey levels brought to those of "
            f"the training images; their risk is the mean of both views ({views_in_words(run)}): a step that "
            "uses this cohort's grey levels, never its outcomes (--no-matching leaves it out)."
        )
    if second_view:
        yield "Of upright images the upper square was scored too, and the risk is the mean of both."


def write_table(
    cohort: Cohort, scored: ExternalScores, folder: Path, *, name: str = PREDICTIONS
) -> pd.DataFrame:
    """Write ``predictions.csv`` and hand back what lies there, for that is what must be scored."""
    about = {
        "split": cohort.split,
        "case": cohort.case,
        "group": cohort.group,
        "outcome": cohort.outcome.astype(int),
    }
    far = scored.distance
    further = {**cohort.attributes, **({} if far is None else {UNLIKE: far.unlike.astype(int)})}
    frames = [
        pd.DataFrame({"model": model, **about, "risk": risk, **further})
        for model, risk in scored.risks.items()
    ]
    write_predictions(pd.concat(frames, ignore_index=True), folder / name)
    return read_predictions(folder / name)


def write_unreadable(external: OwnCohort, folder: Path) -> None:
    """Write ``unreadable.csv``: the images that could not be used, and why."""
    with (folder / "unreadable.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(CsvRows(file))
        writer.writerow(("image", "reason"))
        writer.writerows((as_cell(each.case), each.reason) for each in external.unreadable)


def _internal(run: StoredRun, results: Path, settings: ValidationSettings) -> Evaluation:
    """The run's own evaluation; of a model without a run, what its record says."""
    if run.alone is not None:
        return _named(run, settings)
    internal = read_evaluation(results / EVALUATION)
    if internal.primary is not None and internal.primary.model not in run.names:
        raise InputError(
            f"The primary model of {results}, {internal.primary.model}, was not stored. {left_out(run)} "
            f"Make the run again with another {option('--primary')}."
        )
    return internal


def _chosen(run: StoredRun, internal: Evaluation, settings: ValidationSettings) -> dict[str, Any]:
    """What was chosen before the cohort was seen, as the provenance keeps it."""
    return {
        "points": _points(run, internal),
        "attributes": list(settings.attributes),
        **({"origins": dict(internal.origins)} if internal.origins else {}),
        "primary": None if internal.primary is None else to_plain(internal.primary),
    }


def _points(run: StoredRun, internal: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """The frozen thresholds of each model, as the provenance keeps them to score the table again."""
    return {name: to_plain(internal.points[name]) for name in run.names}


def _evaluate(
    run: StoredRun,
    scoring: Mapping[str, Any],
    settings: ValidationSettings,
    results: Path,
    folder: Path,
    table: pd.DataFrame,
    announce: Announce,
) -> Evaluation:
    """Open the external cohort: the ledger's line first, then its scores at the run's thresholds."""
    frozen = {
        "settings": asdict(settings),
        "settings_sha256": provenance.hash_settings({**asdict(settings), "evaluation": scoring}),
        "models_sha256": provenance.hash_settings(hashes_of(run, results)),
    }
    if run.alone is None:
        frozen["evaluation_sha256"] = provenance.hash_file(results / EVALUATION)
    return open_and_score(
        folder,
        scoring,
        condition=run.condition,
        frozen=frozen,
        table=table,
        models=results / "models",
        progress=announce("Scoring the table"),
    )


def _facts(
    command: Iterable[str],
    settings: Mapping[str, Any],
    cohort: Cohort,
    run: StoredRun,
    results: Path,
    recorder: provenance.Recorder,
) -> dict[str, Any]:
    """The provenance of the folder, less the hashes of what lies in it."""
    made: dict[str, Any] = {"run": results.resolve().name}
    if run.alone is not None:
        made = {"model": run.alone.file, "reading": dict(run.alone.reading)}
    source = {"condition": cohort.condition, **asdict(cohort.source), "notice": cohort.source.notice}
    return provenance.describe(
        kind="validate",
        command=command,
        settings=settings,
        source={**source, **made, "models_sha256": hashes_of(run, results)},
        recorder=recorder,
    )


SITE = "site"  # the column that says where a case is from
OWN_SITE = f"own_{SITE}"  # a column of that name in a table
BETWEEN = " + "  # names of the sites in the name of all


def join_cohorts(cohorts: Mapping[str, OwnCohort], *, name: str, grouped: bool) -> OwnCohort:
    """The cases of several sites in one cohort, under ``name``, with a column ``site``.

    A case is called SITE/CASE, and so is a group where each case is its own. Columns that not every table
    has are left out, and the notes say so.

    Parameters
    ----------
    cohorts : by site, at least two, all prepared in the same way.
    grouped : whether the tables name patients.

    Raises
    ------
    InputError : two tables share a file, a picture or a patient: sites count as independent.
    """
    _refuse_shared(cohorts, grouped=grouped)
    parts = list(cohorts.values())
    first = parts[0].cohort
    case = _joined(cohorts, lambda site, own: [f"{site}/{each}" for each in own.cohort.case])
    named = [set(_columns(own)) for own in parts]
    attributes = {
        column: np.concatenate([_columns(own)[column] for own in parts])
        for column in _columns(parts[0])
        if all(column in there for there in named)
    }
    left_out = sorted(set().union(*named) - set(attributes))
    site = _joined(cohorts, lambda site, own: [site] * len(own.cohort))
    cohort = replace(
        first,
        images=np.concatenate([own.cohort.images for own in parts]),
        colour=None if first.colour is None else np.concatenate([own.cohort.colour for own in parts]),
        outcome=np.concatenate([own.cohort.outcome for own in parts]),
        split=np.full(len(case), name),
        case=case,
        group=np.concatenate([own.cohort.group for own in parts]) if grouped else case.copy(),
        source=_source(cohorts, name, left_out),
        attributes={SITE: site, **attributes},
    )
    return replace(
        parts[0],
        cohort=cohort,
        paths=tuple(path for own in parts for path in own.paths),
        read=tuple(read for own in parts for read in own.read),
        further=tuple(np.concatenate(views) for views in zip(*(own.further for own in parts), strict=True)),
        unreadable=tuple(
            replace(each, case=f"{site}/{each.case}")
            for site, own in cohorts.items()
            for each in own.unreadable
        ),
    )


def _joined(cohorts: Mapping[str, OwnCohort], of: Callable[[str, OwnCohort], list[str]]) -> NDArray[np.str_]:
    return np.concatenate([np.asarray(of(site, own), dtype=np.str_) for site, own in cohorts.items()])


def _columns(own: OwnCohort) -> dict[str, NDArray[np.generic]]:
    """The further columns, one named as the program's own under another name."""
    return {OWN_SITE if name == SITE else name: values for name, values in own.cohort.attributes.items()}


def _source(cohorts: Mapping[str, OwnCohort], name: str, left_out: list[str]) -> Source:
    sources = {site: own.cohort.source for site, own in cohorts.items()}
    digest = hashlib.sha256("".join(each.sha256 for each in sources.values()).encode("ascii"))
    return replace(
        next(iter(sources.values())),
        title=name,
        file=", ".join(each.file for each in sources.values()),
        sha256=digest.hexdigest(),
        notes=tuple(_joined_notes(sources, left_out)),
    )


def _joined_notes(sources: Mapping[str, Source], left_out: list[str]) -> Iterator[str]:
    """Each note once, with the site where it is not of all."""
    for note in dict.fromkeys(note for each in sources.values() for note in each.notes):
        of = [site for site, each in sources.items() if note in each.notes]
        yield note if len(of) == len(sources) else f"{in_short(of)}: {note}"
    if left_out:
        yield f"Columns that not every table has were left out: {in_short(left_out)}."


def _refuse_shared(cohorts: Mapping[str, OwnCohort], *, grouped: bool) -> None:
    looked_at: dict[str, Callable[[OwnCohort], Iterable[object]]] = {
        "file": lambda own: [path.resolve() for path in own.paths],
        "picture": lambda own: [image.tobytes() for image in own.cohort.images],
        **({"patient": lambda own: own.cohort.group.tolist()} if grouped else {}),
    }
    for what, of in looked_at.items():
        seen: dict[object, tuple[str, int]] = {}
        for site, own in cohorts.items():
            for place, key in enumerate(of(own)):
                there, other = seen.setdefault(key, (site, place))
                if there != site:
                    _refuse(what, cohorts, (there, other), (site, place))


def _refuse(what: str, cohorts: Mapping[str, OwnCohort], *found: tuple[str, int]) -> None:
    cases = " and ".join(f"{cohorts[site].cohort.case[place]} of {site}" for site, place in found)
    shared = str(cohorts[found[0][0]].cohort.group[found[0][1]])
    same = f"the same patient, {shared!r}" if what == "patient" else f"the same {what}"
    remedy = (
        "Give patients of different hospitals different names, or keep one who was at both at one of them."
        if what == "patient"
        else "Keep it in one table."
    )
    raise InputError(f"Sites count as independent; got {same} in two tables: {cases}. {remedy}")
