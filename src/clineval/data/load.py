"""A data set by its name, or the phantom where it cannot be had."""

from clineval.data import medmnist, phantom
from clineval.data.cohort import Cohort
from clineval.data.download import Unavailable
from clineval.errors import InputError
from clineval.progress import Announce, silent

STANDARD = "breastmnist"  # what ``auto`` means where it can be had


def load_cohort(
    dataset: str = "auto",
    *,
    size: int = 28,
    seed: int = 0,
    condition: str | None = None,
    address: str | None = None,
    announce: Announce = silent,
) -> Cohort:
    """The cohort of a data set by its name.

    ``breastmnist``, like any other MedMNIST set, is strict: from ``$CLINEVAL_DATA``, ``./data``,
    ``~/.medmnist``, the cache, or a verified download, or refused. ``phantom`` is the synthetic set,
    drawn from ``seed``. ``auto`` is BreastMNIST where it can be had and else the phantom, whose
    ``source.reason`` then says why. A file that is present but wrong is refused, never replaced.

    ``condition`` names the label, or labels joined by `` or ``, that the outcome is True for: needed
    for sets of more than two classes, never guessed. ``announce`` hears of every wait for the network.

    Raises
    ------
    InputError : unknown name, size or condition, a wrong file, or data that are not there (with remedies).
    """
    if dataset == "phantom":
        return _phantom(size, condition, seed=seed, reason="it was asked for with --dataset phantom")
    name = STANDARD if dataset == "auto" else dataset
    try:
        return _official(name, size, condition, address=address, announce=announce)
    except Unavailable as error:
        if dataset != "auto" or size != phantom.SIZE:
            raise
        return _phantom(size, condition, seed=seed, reason=_why(name, error))


def _official(
    name: str,
    size: int,
    condition: str | None,
    *,
    address: str | None,
    announce: Announce,
) -> Cohort:
    medmnist.condition_of(name, condition)  # refused before anything is downloaded
    path = medmnist.find(name, size=size)
    if path is None:
        path = medmnist.fetch(name, size=size, address=address, announce=announce)
    return medmnist.read(path, name, size=size, condition=condition)


def _phantom(size: int, condition: str | None, *, seed: int, reason: str) -> Cohort:
    if condition not in (None, phantom.CONDITION):
        raise InputError(f"The phantom set has one condition, {phantom.CONDITION}; got {condition!r}.")
    if size != phantom.SIZE:
        raise InputError(
            f"The phantom set needs --size {phantom.SIZE}; got {size}. Real data exists at more sizes."
        )
    return phantom.phantom(seed=seed, reason=reason)


def _why(name: str, error: Unavailable) -> str:
    return (
        f"{medmnist.SETS[name].title} is not in $CLINEVAL_DATA, ./data, ~/.medmnist or the cache, "
        f"and could not be downloaded: {error.cause}"
    )
