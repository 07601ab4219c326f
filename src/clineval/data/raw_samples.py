"""A few of a user's images as they came, beside what the models see of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.image_files import read_image
from clineval.data.own_cohort import OwnCohort
from clineval.data.preparation import box_of
from clineval.refusal import Refusal

SCANNER = ("device", "scanner", "manufacturer", "vendor", "machine", "site", "hospital", "centre", "center")
LONGEST = 64  # pixels of the raw picture's longer side: the cut is seen, ordinary print is not legible
MOST_VALUES = 6  # rows of a check strip


@dataclass(frozen=True)
class RawSample:
    """One case before and after preparation.

    Attributes
    ----------
    value : of the attribute by which the samples were drawn.
    raw : uint8, shape (height, width), the picture as it came, made smaller.
    box : left, upper, right and lower edge in pixels of ``raw`` of the square that was cut; it may lie
        outside where the image was padded.
    prepared : uint8, shape (side, side).
    """

    case: str
    value: str
    outcome: bool
    raw: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    prepared: NDArray[np.uint8]


@dataclass(frozen=True)
class RawSamples:
    """Samples by the values of one attribute (``by`` is empty where there is none), most cases first."""

    by: str
    cases: Mapping[str, int]
    samples: tuple[RawSample, ...]


def draw_samples(own: OwnCohort, *, by: str | None = None, each: int = 4) -> RawSamples:
    """Cases at even steps through each value of an attribute, so that nobody chooses them.

    An image whose file says that names are burnt into it is never shown raw.

    Parameters
    ----------
    by : the attribute; by default the first that is called like a scanner or a site, else none.
    each : at most so many cases a value, of the six most frequent values.

    Raises
    ------
    Refusal : the cohort has no attribute of that name.
    """
    attributes = own.cohort.attributes
    by = _scanner(attributes) if by is None else by
    if by and by not in attributes:
        raise Refusal(f"A check strip needs one of the columns {', '.join(attributes)}; came {by!r}.")
    value = attributes[by].astype(str) if by else np.full(len(own.cohort), "all images")
    seen, count = np.unique(value, return_counts=True)
    order = np.argsort(-count, kind="stable")[:MOST_VALUES]
    samples: list[RawSample] = []
    for name in seen[order]:
        rows = np.flatnonzero((value == name) & ~own.burnt_in)
        steps = np.unique(np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int))
        samples.extend(_sample(own, int(rows[step]), str(name)) for step in steps)
    return RawSamples(by, {str(seen[place]): int(count[place]) for place in order}, tuple(samples))


def _scanner(attributes: Iterable[str]) -> str:
    return next((name for name in attributes if any(word in name.casefold() for word in SCANNER)), "")


def _sample(own: OwnCohort, row: int, value: str) -> RawSample:
    grey = read_image(own.paths[row], bits=own.bits).grey
    box = box_of(*grey.size, fit=own.fit)
    small = grey.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    shrunk = small.width / grey.width
    left, upper, right, lower = (edge * shrunk for edge in box)
    return RawSample(
        str(own.cohort.case[row]),
        value,
        bool(own.cohort.outcome[row]),
        np.asarray(small),
        (left, upper, right, lower),
        own.cohort.images[row],
    )
