"""Options of the commands, and what their words mean."""

import sys
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from clineval.errors import InputError, checked_seed

OUT_HELP = "Folder for the results; parent folders are created."
Out = Annotated[
    Path | None,
    typer.Option("--out", help=OUT_HELP, show_default="results; results-phantom for phantom data"),
]
RunOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help=OUT_HELP,
        show_default="results; results-phantom for phantom data, results-own for --cohort",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace a folder that another command, or another program, wrote.")
]
Dataset = Annotated[
    str,
    typer.Option(
        help="auto (BreastMNIST where it can be had, else the phantom set), phantom, or strictly breastmnist "
        "or another 2-D MedMNIST set by name."
    ),
]
Size = Annotated[int, typer.Option(help="Pixels per side: 28, 64, 128 or 224.")]


Seed = Annotated[
    int,
    typer.Option(
        help="Seed of training, folds and bootstrap; the same seed gives the same bytes.",
        callback=checked_seed,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Trainings at once; the numbers do not depend on it.", show_default="all cores"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
Split = Annotated[
    str,
    typer.Option(
        help="official; deduplicated (no near-duplicate of a test image in train); grouped (split again, "
        "near-duplicates joined)."
    ),
]
Condition = Annotated[
    str | None,
    typer.Option(
        help="Label that is the condition, e.g. melanoma; several joined by ' or '.",
        show_default="the set's own, where it has two classes",
    ),
]
ImageFolder = Annotated[
    Path | None, typer.Option(help="Folder of the images.", show_default="the table's folder")
]
ImageColumn = Annotated[
    str, typer.Option(help="Column with the name of the image file; its ending may be left out.")
]
OutcomeColumn = Annotated[str, typer.Option(help="Column with the outcome.")]
Positive = Annotated[str, typer.Option(help="Value of the outcome column where the condition is present.")]
GroupColumn = Annotated[
    str | None, typer.Option(help="Column that says which images belong together, e.g. patient.")
]
Fit = Annotated[
    str,
    typer.Option(
        help="How a square is cut: as-trained (as in the run), crop (middle), top, or pad (whole image)."
    ),
]
Bits = Annotated[int, typer.Option(help="Bit depth of images with more than 8 bits: 2**bits - 1 is white.")]
Figures = Annotated[str, typer.Option(help="Figure formats, comma-separated: png, svg, pdf.")]
Matching = Annotated[
    bool,
    typer.Option(
        "--matching/--no-matching",
        help="Also score each image with its grey-level mean and SD matched to the training images.",
    ),
]
SecondView = Annotated[
    bool,
    typer.Option(
        "--second-view/--no-second-view",
        help="Score the upper square of portrait images too, and take the mean of both.",
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable",
        help="Leave out images that cannot be used, and list them with the reason.",
    ),
]
TableToo = Annotated[bool, typer.Option("--table", help="Show the table of every model, too.")]
Models = Annotated[
    str,
    typer.Option(
        help="Models to train, comma-separated: logreg, cnn, scattering, transfer (pretrained on ImageNet; "
        "needs --size 224 and the extra transfer)."
    ),
]
OwnModels = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="A model of your own, NAME=FILE.py:FACTORY, NAME=package.module:FACTORY or NAME=FILE.onnx; "
        "may be repeated. A Python file is run: name only what you trust.",
        metavar="NAME=SOURCE",
    ),
]
Only = Annotated[bool, typer.Option("--only", help="Train the models of --model alone.")]
ModelTimeout = Annotated[
    float,
    typer.Option(
        help="Seconds that one training of a model of your own may take, or its scoring of all images."
    ),
]
Primary = Annotated[
    str | None,
    typer.Option(
        help="Model to report first.", metavar="MODEL", show_default="the highest AUC out of fold on train"
    ),
]
Threshold = Annotated[
    list[float] | None,
    typer.Option(help="A threshold to report, 0 to 1; the first is the primary one. May be repeated."),
]
Attribute = Annotated[
    list[str] | None,
    typer.Option(
        help="Column to form subgroups by, such as the scanner; may be repeated.",
        show_default="all that can group cases",
    ),
]


ByGroup = Annotated[
    bool,
    typer.Option(
        "--by-group", help="Also rank patients, by the mean log odds of their images: AUC by patient."
    ),
]
Probes = Annotated[
    bool,
    typer.Option(
        "--probes",
        help="Rank the cases by border, burnt-in marks, size, aspect, focus and brightness of the picture, "
        "which should not matter; reads every image once more.",
    ),
]

Run = Annotated[Path, typer.Argument(help="Folder written by clineval run.")]
OutFolder = Annotated[Path, typer.Option("--out", help=OUT_HELP)]
Threads = Annotated[
    int | None, typer.Option(help="Threads; the numbers do not depend on it.", show_default="all cores")
]
CaseGroupColumn = Annotated[
    str | None, typer.Option(help="Column that says which cases belong together, e.g. patient.")
]
Level = Annotated[float, typer.Option(help="Coverage aimed at by the intervals.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Reuse the trainings that an interrupted run finished.")
]
Margin = Annotated[
    list[str] | None,
    typer.Option(
        help="Loss still accepted, fixed before the numbers are seen, such as 0.05 or sensitivity=0.05; may "
        "be repeated. A bare number is for AUC, and for sensitivity and specificity where there are cuts."
    ),
]
Reader = Annotated[
    list[str] | None,
    typer.Option(
        help="Column with what a reader said; 'BIRADS>=4' names where the reader acts. May be repeated.",
        metavar="COLUMN",
    ),
]
ReaderCategory = Annotated[
    str | None,
    typer.Option(
        help="Categories in which the model may decide alone, such as 4a,4b,4c.",
        show_default="the one at the cut",
    ),
]
Prevalence = Annotated[
    float | None,
    typer.Option(
        help="Share of people with the condition where you work, for counts per 1,000 beside a reader.",
        show_default="as in the cases scored",
    ),
]
ActingThreshold = Annotated[
    float | None,
    typer.Option(
        help="Risk at which one acts, such as 0.02 for a biopsy; adds net benefit to reading together."
    ),
]
ThresholdRule = Annotated[
    list[str] | None,
    typer.Option(
        help="A threshold that development data guarantee, such as 'sensitivity>=0.90@0.95' (95% "
        "confidence); with one of specificity too, cases between the two are deferred. May be repeated.",
        metavar="RULE",
    ),
]
ReaderOrder = Annotated[
    str | None,
    typer.Option(
        help="Categories from least to most suspicious, such as 1,2,3,4a,4b,4c,5.",
        show_default="ratings are numbers",
    ),
]


PANELS = {
    "Data": "dataset size split condition cohort image_folder image_column outcome_column positive "
    "group_column split_column case_column model_column risk_column scores reader_column "
    "rating_column modality_column reader reader_order reader_category cut predictions fit bits "
    "skip_unreadable medmnist attribute site_column address to name",
    "Models": "model models only model_timeout check_seed primary threshold threshold_rule early_stopping "
    "seeds folds repeats variants fractions matching second_view device margin prevalence "
    "acting_threshold target assurance update",
    "Output": "out form figures table_too table json force",
    "Expert": "jobs seed resume level draws coverage shared_cases_only corruptions probes by_group cluster "
    "retrain design covariance power difference",
    "Limits": "max_bytes max_pixels max_files max_seconds max_requests",
}
"""Under which heading of ``--help`` an option is listed, by its parameter's name."""

COMMON = {
    "run": ("dataset", "cohort", "out"),
    "evaluate": ("condition", "threshold", "out"),
    "validate": ("name", "image_folder", "out"),
    "predict": ("out", "form", "skip_unreadable"),
    "explain": ("out", "model", "fit"),
    "adopt": ("name", "image_folder", "out"),
    "serve": ("port", "host", "token", "no_open"),
    "readers": ("modality_column", "predictions", "out"),
    "fetch": ("dataset", "size", "to"),
    "explore": ("dataset", "condition", "out"),
    "audit": ("dataset", "fail_on", "out"),
    "train": ("dataset", "condition", "out"),
    "study": ("models", "repeats", "out"),
}
"""The options of each command that most users need: they come first, under no heading of their own."""

_OF_READER = "reader_order reader_category margin prevalence acting_threshold"
NEEDS = {
    "run": {
        "cohort": "image_folder image_column outcome_column positive group_column split_column site_column "
        "fit bits",
        "model": "only model_timeout",
    },
    "study": {"model": "only model_timeout"},
    "evaluate": {"reader": _OF_READER},
    "validate": {"reader": _OF_READER},
    "readers": {"predictions": "model"},
    "verify": {
        "retrain": "cohort image_folder model model_timeout jobs",
        "cohort": "image_folder",
        "model": "model_timeout",
    },
}
"""Of each command, by option, those that have no effect without it."""

REPLACES = {
    "run": {"only": "models"},
    "study": {"only": "models", "cluster": "jobs"},
    "evaluate": {
        "medmnist": "model_column split_column case_column group_column outcome_column risk_column positive "
        "scores",
        "json": "table",
    },
}
"""Of each command, by option, those that have no effect beside it."""

NETWORKS = ("cnn", "cnn_single")
OF_NETWORKS = ("device", "early_stopping")
"""The models that are networks, and the options that have no effect where none of them is trained."""

MEASURES = ("auc", "sensitivity", "specificity")
"""Those that a margin of non-inferiority may be given for."""

MOST_SEEDS = 10_000  # in one range


class Command(TyperCommand):
    """A command that refuses, before anything is done, options that would have no effect."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises InputError where an option would be ignored."""
        name, word = str(self.name), {str(each.name): each.opts[0] for each in self.params}
        given = {each for each in word if ctx.get_parameter_source(each).name != "DEFAULT"}
        for needed, others in NEEDS.get(name, {}).items():
            if needed not in given:
                idle = [word[each] for each in others.split() if each in given]
                _refuse(idle, f"without {word[needed]}", f", or give {word[needed]} too")
        for other, replaced in REPLACES.get(name, {}).items():
            if other in given:
                _refuse([word[each] for each in replaced.split() if each in given], f"beside {word[other]}")
        idle = [word[each] for each in OF_NETWORKS if each in given]
        if idle and (ctx.params.get("only") or not set(comma_list(ctx.params["models"])) & {*NETWORKS}):
            instead = "" if ctx.params.get("only") else f", or name {NETWORKS[0]} in {word['models']}"
            _refuse(idle, "where no network is trained", instead)
        return super().invoke(ctx)


def _refuse(idle: list[str], where: str, instead: str = "") -> None:
    if len(idle) > 1:
        named = f"{', '.join(idle[:-1])} and {idle[-1]}"
        raise InputError(f"{named} have no effect {where}; leave them out{instead}.")
    if idle:
        raise InputError(f"{idle[0]} has no effect {where}; leave it out{instead}.")


def arrange(parser: Any) -> Any:
    """The parser with every command's options in the order and under the headings of its help."""
    panels = {option: panel for panel, options in PANELS.items() for option in options.split()}
    for name in COMMON:
        _arrange(parser.commands[name].params, COMMON[name], panels)
    return parser


def _arrange(parameters: list[Any], common: tuple[str, ...], panels: dict[str, str]) -> None:
    order = {option: place for place, option in enumerate((*common, *panels))}
    for parameter in parameters:
        if _is_option(parameter) and parameter.name not in common:
            parameter.rich_help_panel = panels.get(parameter.name)
    parameters.sort(key=lambda one: order.get(one.name, len(order)) if _is_option(one) else -1)


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def command() -> list[str]:
    """The command line as it was given, for the provenance."""
    return ["clineval", *sys.argv[1:]]


def comma_list(text: str) -> tuple[str, ...]:
    """The parts between commas, less blanks."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str, kind: type, option: str) -> tuple[Any, ...]:
    """Numbers between commas; an InputError that names the option where one is none."""
    try:
        return tuple(kind(part) for part in comma_list(text))
    except ValueError:
        raise InputError(f"{option} expects numbers between commas; got {text!r}.") from None


def seed_list(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers between commas, and ranges of them such as 0-9, which has ten.

    Raises
    ------
    InputError : something else, which is quoted, or a range of more than 10,000.
    """
    found: list[int] = []
    for part in comma_list(text):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise InputError(f"{option} expects whole numbers or ranges as 0-9 between commas; got {text!r}.")
        seeds = range(int(first), int(last or first) + 1)
        if not 0 < len(seeds) <= MOST_SEEDS:
            raise InputError(f"{option} expects ranges upwards of at most {MOST_SEEDS:,} seeds; got {part}.")
        checked_seed(seeds[-1])
        found.extend(seeds)
    return tuple(found)


def help_text(command: Callable[..., None]) -> str:
    """A command's docstring as ``--help`` shows it: sentences flow, lists and examples keep their indents."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(_as_listed(each) if "\n  " in each else " ".join(each.split()) for each in paragraphs)


def _as_listed(paragraph: str) -> str:
    """Lines as they stand; a tag without effect holds an indent, which typer would take away."""
    return "\n".join(f"[none]{escape(line)}[/none]" for line in paragraph.split("\n"))


def named_sources(values: list[str]) -> dict[str, str]:
    """The models of ``--model NAME=SOURCE``, by name.

    Raises
    ------
    InputError : a value is of another form, or a name is given twice.
    """
    found: dict[str, str] = {}
    for value in values:
        name, sign, source = value.partition("=")
        if not (name and sign and source) or name in found:
            raise InputError(
                "--model needs NAME=FILE.py:FACTORY, NAME=package.module:FACTORY or NAME=FILE.onnx, each "
                f"name once; got {value!r}."
            )
        found[name] = source
    return found


def run_settings(
    *,
    dataset: str,
    size: int,
    seed: int,
    split: str = "official",
    condition: str | None = None,
    own: Any = None,
    site_column: str | None = None,
    device: str = "cpu",
    early_stopping: str = "guard",
    thresholds: tuple[float, ...] = (),
    primary: str | None = None,
    threshold_rules: tuple[str, ...] = (),
    models: tuple[str, ...] | None = None,
    probes: bool = False,
) -> Any:
    """The settings of a run; loaded late, for --help must answer at once."""
    from clineval.settings import DataSettings, EvaluationSettings, RunSettings, TrainingSettings

    return RunSettings(
        data=DataSettings(dataset, size, split, condition, own, site_column),
        evaluation=EvaluationSettings(
            seed=seed, thresholds=thresholds, primary=primary, threshold_rules=threshold_rules
        ),
        training=TrainingSettings(
            models=TrainingSettings.models if models is None else models,
            seed=seed,
            device=device,
            early_stopping=early_stopping,
        ),
        probes=probes,
    )


def beside_readers(
    given: "list[str] | None",
    *,
    order: str | None,
    category: str | None,
    margin: "list[str] | None",
    prevalence: float | None,
    acting_threshold: float | None,
) -> Any:
    """The settings of --reader and what belongs to it; None without a reader."""
    from clineval.settings import BesideReaders

    if not given:
        return None
    cuts = any(">=" in reader for reader in given)
    return BesideReaders(
        tuple(given),
        comma_list(order or ""),
        comma_list(category or ""),
        margins(margin or (), MEASURES if cuts else MEASURES[:1]),
        prevalence,
        acting_threshold,
    )


def one_of(word: str, words: "tuple[str, ...] | dict[str, str]", option: str) -> str:
    """The word itself; InputError that names the option where it is none of these."""
    if word not in words:
        raise InputError(f"{option} needs one of {', '.join(words)}; got {word!r}.")
    return word


def margins(given: "list[str] | tuple[str, ...]", bare: tuple[str, ...]) -> dict[str, float]:
    """Margins by measure: ``0.05`` for each of ``bare``, ``sensitivity=0.05`` for that one."""
    found: dict[str, float] = {}
    for text in given:
        measure, equals, value = text.rpartition("=")
        try:
            margin = float(value)
        except ValueError:
            margin = 0.0
        if not 0 < margin < 1 or (equals and measure not in MEASURES):
            raise InputError(
                f"--margin needs a number between 0 and 1, such as 0.05 or sensitivity=0.05; got {text!r}."
            )
        found |= dict.fromkeys((measure,) if equals else bare, margin)
    return found
