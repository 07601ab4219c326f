"""Options that several commands share, with the words that --help shows of them."""

from pathlib import Path
from typing import Annotated

import typer

OUT_HELP = "Folder for the results; parents are made."
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
    int, typer.Option(help="Seed of training, folds and bootstrap; the same seed gives the same bytes.")
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Trainings at once; the numbers do not depend on it.", show_default="all cores"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
Split = Annotated[
    str,
    typer.Option(
        help="official; deduplicated (no twin of a test image in train); grouped (split anew, twins joined)."
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
    Path | None, typer.Option(help="Where the images lie.", show_default="the table's folder")
]
ImageColumn = Annotated[str, typer.Option(help="Column that names the file, ending optional.")]
OutcomeColumn = Annotated[str, typer.Option(help="Column that holds the outcome.")]
Positive = Annotated[str, typer.Option(help="Its value where the condition is present.")]
GroupColumn = Annotated[str | None, typer.Option(help="Column shared by dependent images, e.g. patient.")]
Fit = Annotated[
    str, typer.Option(help="as-trained (as the run's images were cut), crop (middle square), top, or pad.")
]
Bits = Annotated[int, typer.Option(help="Bits of deep images: 2**bits - 1 is white.")]
Figures = Annotated[str, typer.Option(help="Figure formats, comma-separated: png, svg, pdf.")]
Matching = Annotated[
    bool,
    typer.Option(
        "--matching/--no-matching",
        help="Look at each image also with its grey levels brought to those of training.",
    ),
]
SecondView = Annotated[
    bool,
    typer.Option(
        "--second-view/--no-second-view",
        help="Of upright images score the upper square too, and take the mean of both.",
    ),
]
Attribute = Annotated[
    list[str] | None,
    typer.Option(
        help="Column to make subgroups of, such as the scanner's; may be repeated.",
        show_default="all that can group cases",
    ),
]
