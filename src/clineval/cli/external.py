"""Commands that apply models to other images: validate, adopt, predict, explain and serve."""

import os
import sys
import threading
import webbrowser
from collections import Counter
from collections.abc import Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clineval.cli.console import complain, display, notify, say, show_answer
from clineval.cli.options import (
    ActingThreshold,
    Attribute,
    Bits,
    ByGroup,
    Figures,
    Fit,
    Force,
    GroupColumn,
    ImageColumn,
    ImageFolder,
    Margin,
    Matching,
    OutcomeColumn,
    OutFolder,
    Positive,
    Prevalence,
    Probes,
    Reader,
    ReaderCategory,
    ReaderOrder,
    Run,
    SecondView,
    SkipUnreadable,
    TableToo,
    Threads,
    beside_readers,
    comma_list,
    command,
)
from clineval.errors import InputError, checked_seed, require_extra
from clineval.files import REPORT

if TYPE_CHECKING:
    from clineval.pipeline.predict import Predictions
    from clineval.pipeline.run import OwnImages


SEVERAL = 5  # images, of which one risk for all is no chance

Source = Annotated[
    Path, typer.Argument(help="Folder written by clineval run; or FILE.onnx, with FILE.json beside it.")
]
ItsThreshold = Annotated[
    list[float] | None,
    typer.Option(help="Threshold of FILE.onnx, 0 to 1; may be repeated, the first is the primary one."),
]


def validate(
    results: Source,
    table: Annotated[
        list[Path],
        typer.Argument(help="CSV or Parquet, one row per image of other patients; several are sites."),
    ],
    name: Annotated[
        list[str],
        typer.Option(help="What the external cohort is called in every result; one for each table."),
    ],
    image_folder: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of the images; one for all tables, or one for each.",
            show_default="the table's folder",
        ),
    ] = None,
    image_column: ImageColumn = "image",
    outcome_column: OutcomeColumn = "outcome",
    positive: Positive = "1",
    group_column: GroupColumn = None,
    fit: Fit = "as-trained",
    bits: Bits = 16,
    matching: Matching = True,
    second_view: SecondView = True,
    skip_unreadable: SkipUnreadable = False,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions",
            help="Also score 30 corrupted copies of each image, as worse scanners would show it; takes about "
            "30 times as long.",
        ),
    ] = False,
    threshold: ItsThreshold = None,
    attribute: Attribute = None,
    reader: Reader = None,
    reader_order: ReaderOrder = None,
    reader_category: ReaderCategory = None,
    margin: Margin = None,
    prevalence: Prevalence = None,
    acting_threshold: ActingThreshold = None,
    site_column: Annotated[
        str | None,
        typer.Option(
            help="Column with the hospital or scanner of each image: how much sites differ, and what to "
            "expect at the next one."
        ),
    ] = None,
    probes: Probes = False,
    by_group: ByGroup = False,
    seed: Annotated[int, typer.Option(help="Seed of bootstrap and corruptions.", callback=checked_seed)] = 0,
    jobs: Threads = None,
    figures: Figures = "png",
    table_too: TableToo = False,
    out: OutFolder = Path("validation"),
    force: Force = False,
) -> None:
    """Does it hold at another hospital? A finished run, frozen, on the images of other patients.

    Models, recalibrations and thresholds stay as the run left them; the report sets the test cases of the
    run and these patients side by side. A model without a run, FILE.onnx, is shown on these patients alone.

    Examples:
      clineval validate results cohort.csv --name hospital-b \\
        --image-folder images --image-column id --outcome-column pathology \\
        --positive malignant --group-column patient --out results-b
      clineval validate results b.csv c.csv d.csv --name b --name c --name d
      clineval validate model.onnx cohort.csv --name hospital-b --threshold 0.3
    """
    from clineval.pipeline.validate import name_of_all
    from clineval.pipeline.validate import validate as validate_run
    from clineval.reporting.external import verdict_in
    from clineval.reporting.sentences import subject_of
    from clineval.reporting.sites import sentences
    from clineval.settings import EvaluationSettings, OwnSettings, ValidationSettings

    own = OwnSettings(image_column, outcome_column, positive, group_column, fit=fit, bits=bits)
    beside = beside_readers(
        reader,
        order=reader_order,
        category=reader_category,
        margin=margin,
        prevalence=prevalence,
        acting_threshold=acting_threshold,
    )
    settings = ValidationSettings(
        name_of_all(name),
        own,
        matching,
        second_view,
        corruptions,
        EvaluationSettings(seed=seed, readers=beside, thresholds=tuple(threshold or ()), by_group=by_group),
        attributes=tuple(attribute or ()),
        skip_unreadable=skip_unreadable,
        site_column=site_column,
        sites=tuple(name) if len(name) > 1 or len(table) > 1 else (),
        probes=probes,
    )
    with display() as announce:
        found = validate_run(
            results,
            _tables(table, image_folder or []),
            settings,
            out=out,
            force=force,
            jobs=jobs,
            formats=comma_list(figures),
            command=command(),
            announce=announce,
            warn=notify,
        )
    _complain_unreadable(len(found.unreadable), of=len(found.cohort) + len(found.unreadable))
    warned = {code: len(cases) for code, cases in found.transport["warnings"].items()}
    for line in _warned(warned, of=len(found.cohort)):
        complain(line)
    say(found.cohort.source.notice, style="bold red")
    for warning in found.evaluation.warnings:
        complain(f"Warning: {warning}")
    say(verdict_in(found.transport, subject_of(found.evaluation)).opening)
    show_answer(found.evaluation, found.folder / REPORT, external=True, table=table_too)
    for sentence in sentences(found.sites) if found.sites is not None else ():
        say(sentence)


def adopt(
    results: Run,
    table: Annotated[Path, typer.Argument(help="CSV or Parquet, one row per labelled image of the site.")],
    name: Annotated[str, typer.Option(help="What the site is called in every result.")],
    image_folder: ImageFolder = None,
    image_column: ImageColumn = "image",
    outcome_column: OutcomeColumn = "outcome",
    positive: Positive = "1",
    group_column: GroupColumn = None,
    fit: Fit = "as-trained",
    bits: Bits = 16,
    matching: Matching = True,
    second_view: SecondView = True,
    skip_unreadable: SkipUnreadable = False,
    target: Annotated[float, typer.Option(help="Sensitivity that the local threshold is to reach.")] = 0.9,
    assurance: Annotated[
        float | None,
        typer.Option(
            help="Lower the threshold so that the target is reached with this probability, such as 0.9.",
            show_default="set at the target on the local cases",
        ),
    ] = None,
    update: Annotated[
        str,
        typer.Option(
            help="How the risks are updated: nothing, intercept, intercept_slope, shrunken, closed_testing; "
            "or head, head_shrunken, which refit the last layer of logreg and transfer."
        ),
    ] = "closed_testing",
    seed: Annotated[int, typer.Option(help="Seed of folds and bootstrap.", callback=checked_seed)] = 0,
    jobs: Threads = None,
    figures: Figures = "png",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the site's model; parent folders are created.")
    ] = Path("adoption"),
    force: Force = False,
) -> None:
    """What must be done before a run is used at one more site, and how many labelled local cases it takes.

    Sets the threshold and recalibrates the risks on local cases, says what each step buys on local cases
    not used for fitting, and writes the updated models as a folder for predict and validate.

    Example:
      clineval adopt results cohort.csv --name hospital-b \\
        --image-folder images --image-column id --outcome-column pathology \\
        --positive malignant --group-column patient --out results-b
    """
    from clineval.pipeline.adopt import adopt_run
    from clineval.pipeline.run import OwnImages
    from clineval.reporting.adoption import PAGE, headline, warning
    from clineval.settings import AdoptionSettings, EvaluationSettings, OwnSettings, ValidationSettings

    own = OwnSettings(image_column, outcome_column, positive, group_column, fit=fit, bits=bits)
    local = ValidationSettings(
        name,
        own,
        matching,
        second_view,
        evaluation=EvaluationSettings(seed=seed),
        skip_unreadable=skip_unreadable,
    )
    with display() as announce:
        found = adopt_run(
            results,
            OwnImages(table, image_folder),
            AdoptionSettings(local, target, assurance, update),
            out=out,
            force=force,
            jobs=jobs,
            formats=comma_list(figures),
            command=command(),
            announce=announce,
            warn=notify,
        )
    _complain_unreadable(found.unreadable, of=found.adoption.cases + found.unreadable)
    others = {code: count for code, count in found.warnings.items() if code != "seen_in_training"}
    for line in _warned(others, of=found.adoption.cases):
        complain(line)
    say(found.notice, style="bold red")
    if known := warning(found.adoption):
        complain(f"Warning: {known}")
    for sentence in headline(found.adoption):
        say(sentence)
    say(f"Page: {found.folder / PAGE}; the site's models: {found.folder}")


def predict(
    results: Source,
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, TIFF, DICOM files, or folders.")],
    fit: Fit = "as-trained",
    bits: Bits = 16,
    matching: Matching = True,
    second_view: SecondView = True,
    skip_unreadable: SkipUnreadable = False,
    threshold: ItsThreshold = None,
    all_models: Annotated[
        bool, typer.Option("--all-models", help="Every model and threshold, to the last digit.")
    ] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="csv or json, every model.", show_default="as --out ends, else the primary model"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write.", show_default="standard output")
    ] = None,
) -> None:
    """Risk of each image by the primary model, whether it is flagged at its frozen threshold, and a warning.

    The warning says where an image is unlike the training images (its texture_distance or grey_distance is
    beyond the run's limit), was seen in training, bears burnt-in text or measuring marks, is nearly black, or
    is in colour. With --all-models, --format or --out every model and both distances are given.

    Examples:
      clineval predict results lesion.png
      clineval predict results lesion.png --all-models
      clineval predict results images/ --out risks.csv
      clineval predict results lesion.dcm --format json
      clineval predict model.onnx lesion.png --threshold 0.3
    """
    from clineval.pipeline.predict import FORMS, check_answer, write_answer
    from clineval.pipeline.predict import predict as predict_files

    if out is not None:
        check_answer(out, results=results, sources=images)
    short = form is None and out is None and not all_models
    form = form or (out.suffix.removeprefix(".").lower() if out is not None else FORMS[0])
    if form not in FORMS:
        raise InputError(
            f"--format needs one of {', '.join(FORMS)}, or --out a file that ends in one; got {form!r}."
        )
    with display() as announce:
        found = predict_files(
            results,
            images,
            fit=fit,
            bits=bits,
            matching=matching,
            second_view=second_view,
            skip_unreadable=skip_unreadable,
            thresholds=tuple(threshold or ()),
            progress=announce("Scoring the images"),
        )
    if short:
        _introduce(found)
    if found.notice:
        complain(found.notice)
    if found.note:
        complain(f"{found.note}.")
    bad = len(found.unreadable or ())
    _complain_unreadable(bad, of=len(found) + bad)
    warned = Counter(each.code for image in found for each in image.warnings)
    for line in (*_warned(warned, of=len(found)), *_constant(found)):
        complain(line)
    text = found.to_csv() if form == "csv" else found.to_json()
    if out is None:
        typer.echo(found.to_short_csv() if short and found.primary is not None else text, nl=False)
    else:
        write_answer(text, out)


def _tables(tables: list[Path], folders: list[Path]) -> "list[OwnImages]":
    """Each table with the folder of its images: its own, that of all, or the table's."""
    from clineval.pipeline.run import OwnImages

    if len(folders) not in (0, 1, len(tables)):
        raise InputError(
            f"--image-folder expects one folder, or one for each of {len(tables)} tables; got {len(folders)}."
        )
    own: list[Path | None] = [*folders] if len(folders) == len(tables) else [*folders, None][:1] * len(tables)
    return [OwnImages(table, folder) for table, folder in zip(tables, own, strict=True)]


def explain(
    results: Run,
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, TIFF, DICOM files, or folders.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the maps; parent folders are created.")
    ] = Path("maps"),
    model: Annotated[
        str | None, typer.Option("--model", help="Model of the run.", show_default="the primary model")
    ] = None,
    fit: Fit = "as-trained",
    bits: Bits = 16,
    matching: Matching = True,
) -> None:
    """Which parts of an image its risk depends on: an occlusion map, checked before it is shown.

    A patch of the image at a time is replaced by the image's mean grey; the map is by how much the risk
    falls (the patch raises it) or rises (it lowers it), in percentage points.

    A map is shown in grey, with the reason, where it resembles that of the same model with random weights,
    which stands beside it, or changes when the image moves by one pixel. It shows what this model
    reacts to; it does not show where the lesion is, or a cause.

    Written are NAME_map.png and NAME_map.json for each image.

    Examples:
      clineval explain results lesion.png --out maps
      clineval explain results images/ --model logreg --out maps
    """
    from clineval.pipeline.explain import explain as explain_files
    from clineval.reporting.artefacts import extremes

    with display() as announce:
        found = explain_files(
            results,
            images,
            out=out,
            model=model,
            fit=fit,
            bits=bits,
            matching=matching,
            progress=announce("Mapping the images"),
        )
    for each in found:
        for text in each.warnings.values():
            complain(f"{each.image}: {text}")
        told = f"check passed; {extremes(each.map)}"
        verdict = told if each.check.passed else f"map greyed, not to be read: {each.check.reason}"
        say(f"{each.image}: risk {each.risk_in_words} by {each.model}; {verdict}")
    say(f"Maps: {out}")


def _introduce(found: "Predictions") -> None:
    """Which model's risks follow, of what, and at which threshold they are flagged."""
    if found.primary is not None:
        model, threshold = found.primary
        flags = "no threshold" if isnan(threshold) else f"flagged at {threshold:.3f} or above"
        notify(f"Risk of {found.condition} by {model}, {flags}. Research only, not a medical device.")


def _warned(counts: Mapping[str, int], *, of: int) -> Iterator[str]:
    """How many images have each warning, by its code."""
    from clineval.pipeline.predict import SERIOUS, WARNINGS

    for code, words in WARNINGS.items():
        if code in counts:
            whose = "its" if counts[code] == 1 else "their"
            after = f" (do not rely on {whose} risk, flagged or not)" if code in SERIOUS else ""
            images = f"{counts[code]:,} of {of:,} {'image' if of == 1 else 'images'}"
            yield f"Warning for {images}: {words}{after}."


def _constant(found: "Predictions") -> Iterator[str]:
    """Of several images the models that give them all one risk."""
    for model in found.images[0].risk if len(found) >= SEVERAL else ():
        risks = {image.risk[model] for image in found}
        if len(risks) == 1:
            yield (
                f"The risk by {model} is {min(risks):g} for all {len(found)} images. Check that they "
                "are prepared as the training images were."
            )


def _complain_unreadable(count: int, *, of: int) -> None:
    if count:
        complain(f"{count:,} of {of:,} images cannot be used and were left out; the output lists them.")


def serve(
    results: Annotated[Path, typer.Argument(help="Folder written by clineval run.")] = Path("results"),
    host: Annotated[
        str, typer.Option(help="Address to listen at; another than this computer's own needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8642,
    token: Annotated[
        str | None,
        typer.Option(help="What others must send; 16 characters or more.", envvar="CLINEVAL_TOKEN"),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
    max_bytes: Annotated[int, typer.Option(help="Bytes of one file.")] = 50_000_000,
    max_pixels: Annotated[int, typer.Option(help="Pixels of one image.")] = 50_000_000,
    max_files: Annotated[int, typer.Option(help="Files of one request.")] = 200,
    max_seconds: Annotated[
        float, typer.Option(help="Seconds to send a request, and again to answer it.")
    ] = 60.0,
    max_requests: Annotated[int, typer.Option(help="Requests at once; more are told to wait.")] = 32,
) -> None:
    """A page to drop images on: warnings, risk by the primary model, nearest training images; and an API.

    For research, on this computer only: nothing is stored and nothing is sent elsewhere. Ends with Ctrl-C.

    Examples:
      clineval serve results
      clineval serve results --port 0 --no-open
    """
    require_extra("serve", for_what="clineval serve")
    from clineval.pipeline.serve import open_run
    from clineval.pipeline.web import Limits, application, bound_socket, check_limits, check_place, run_server

    limits = Limits(max_bytes, max_pixels, max_files, max_seconds, max_requests)
    check_limits(limits)
    check_place(host, port, token)
    served = open_run(results)
    app = application(served, limits=limits, host=host, token=token, complain=complain)
    if served.run.notice:
        notify(served.run.notice)
    if token is not None:
        notify("The connection is not encrypted; on a network you do not trust, use an SSH tunnel instead.")
    with bound_socket(host, port) as at:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{at.getsockname()[1]}/"

        def ready() -> None:
            say(f"Page: {address} (research only; ends with Ctrl-C)")
            sys.stdout.flush()
            threading.Thread(target=served.prepare, daemon=True).start()
            if not no_open and _has_screen():
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        try:
            run_server(app, at, limits=limits, ready=ready)
        except KeyboardInterrupt:
            say("Stopped.")


def _has_screen() -> bool:
    """Whether a browser has a screen to open on; on a terminal alone it would take the terminal over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
