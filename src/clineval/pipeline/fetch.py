"""The fetch step: bring an official file to this machine."""

from collections.abc import Callable
from pathlib import Path

from clineval.data import medmnist
from clineval.data.download import UNWRITABLE, Unavailable
from clineval.refusal import Refusal


def fetch_file(
    dataset: str = "breastmnist",
    *,
    size: int = 28,
    folder: Path | None = None,
    address: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The official file of a data set in ``folder`` (default: the cache), downloaded if it is not there.

    ``address`` replaces the official folder of the files (a mirror); ``progress`` is called
    with bytes done and bytes in all.

    Raises
    ------
    Refusal : unknown name or size, a wrong file already there, or the file cannot be had (with remedies).
    """
    if dataset == "phantom":
        raise Refusal("fetch needs a data set to download; the phantom set is drawn where it is used.")
    name = "breastmnist" if dataset == "auto" else dataset
    try:
        return medmnist.fetch(name, size=size, folder=folder, address=address, progress=progress)
    except Unavailable as failure:
        if folder is not None and failure.cause.startswith(UNWRITABLE):
            raise Refusal(f"--to {folder}: {failure.cause}; choose another folder.") from failure
        raise
