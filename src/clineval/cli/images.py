"""Commands that look at images: fetch, explore and audit them."""

from pathlib import Path
from typing import Annotated

import typer

from clineval.cli.console import FOUND, complain, display, say, show_findings
from clineval.cli.options import Condition, Dataset, Force, Out, Seed, Size, comma_list, command, run_settings
from clineval.errors import InputError


def fetch(
    dataset: Annotated[str, typer.Option(help="Data set to download.")] = "breastmnist",
    size: Size = 28,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the file.", show_default="the cache")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Folder of the files on a mirror.", metavar="URL", show_default="the record"),
    ] = None,
) -> None:
    """Download BreastMNIST, or another 2-D MedMNIST set, and check it against its published checksum.

    Examples:
      clineval fetch --size 64
      clineval fetch --dataset pneumoniamnist
    """
    from clineval.pipeline.run import fetch_file

    with display() as announce:
        path = fetch_file(dataset, size=size, folder=to, address=address, announce=announce)
    say(f"{path} is there, its checksum as published.")


def explore(
    dataset: Dataset = "auto",
    size: Size = 28,
    condition: Condition = None,
    seed: Seed = 0,
    out: Out = None,
    force: Force = False,
) -> None:
    """Counts, prevalence, intensities and differences between the splits; no model.

    Examples:
      clineval explore --out exploration
      clineval explore --dataset dermamnist --condition melanoma --out skin
    """
    from clineval.pipeline.run import explore as explore_pipeline

    with display() as announce:
        explored = explore_pipeline(
            run_settings(dataset=dataset, size=size, condition=condition, seed=seed),
            out=out,
            force=force,
            command=command(),
            announce=announce,
        )
    say(explored.cohort.source.notice, style="bold red")
    say(f"Exploration: {explored.folder / 'exploration.json'} and the figures beside it")


def audit(
    images: Annotated[
        Path | None,
        typer.Argument(help="A folder of images, or a CSV that names them.", show_default="a data set"),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="auto, phantom, breastmnist or another MedMNIST set, instead of images of your own."
        ),
    ] = None,
    condition: Condition = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels per side of a data set: 28, 64, 128 or 224.", show_default="28")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Least similarity of a near-duplicate.", show_default="read off the data"),
    ] = None,
    fail_on: Annotated[
        str, typer.Option(help="Codes such as AUD001,AUD003: exit 4 where one of them is found.")
    ] = "",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the split by group of a data set.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the findings.", show_default="results-audit")
    ] = None,
    force: Force = False,
) -> None:
    """Near-duplicate images, near-duplicates across splits, contradictory labels, single images worth a look.

    A CSV needs a column image (or file, filename, path). Columns split,
    outcome (or label) and group (or patient) are used where they are there.
    In a folder, subfolders named train, val and test are the splits.

    Codes:
      AUD001 contradictory labels           AUD002 near-duplicate across train and test
      AUD003 near-duplicate across val and test       AUD004 near-duplicate across other splits
      AUD005 one patient in several splits  AUD006 byte-identical images
      AUD007 near-duplicate images          AUD008 chained group
      AUD009 near-duplicate that detail does not confirm
      AUD010 blank image                    AUD011 saturated image
      AUD012 text or measuring marks burnt in
      AUD013 unlike the rest                AUD014 unreadable file
      AUD015 images of different sizes      AUD016 files passed over

    Examples:
      clineval audit --dataset breastmnist --out audit
      clineval audit my-images/ --fail-on AUD001,AUD003
    """
    from clineval.pipeline.audit import audit_source

    if images is not None and not (condition is None and size is None and seed is None):
        raise InputError(
            "--condition, --size and --seed are for data sets; images of your own need none of them."
        )
    with display() as announce:
        audited = audit_source(
            images,
            dataset=dataset,
            condition=condition,
            size=28 if size is None else size,
            seed=seed or 0,
            threshold=threshold,
            fail_on=comma_list(fail_on),
            out=out,
            force=force,
            command=command(),
            announce=announce,
        )
    say(audited.source.notice, style="bold red")
    say(f"{audited.cases} images. Threshold: {audited.audit.threshold.reason}")
    show_findings(audited.findings)
    say(f"Findings: {audited.folder / 'audit.json'} and the galleries beside it")
    if audited.failing:
        complain(f"found {', '.join(audited.failing)}, as named by --fail-on")
        raise typer.Exit(FOUND)
