"""Cohort: the one record that leaves the data room."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError

PHANTOM_NOTICE = "SYNTHETIC PHANTOM DATA"


@dataclass(frozen=True)
class LabelMeaning:
    """What one label of the source file stands for: its code, its words, and whether it is the condition."""

    code: int
    name: str
    is_condition: bool


@dataclass(frozen=True)
class Source:
    """Where the images came from. ``file`` is a file name only, or starts with ``$CLINEVAL_DATA``.

    ``preparation`` says how a user's images were made square, ``notes`` what is to be known of them.
    """

    dataset: str
    title: str
    file: str = ""
    sha256: str = ""
    url: str = ""
    licence: str = ""
    citation: str = ""
    labels: tuple[LabelMeaning, ...] = ()
    synthetic: bool = False
    reason: str = ""
    preparation: str = ""
    notes: tuple[str, ...] = ()

    @property
    def notice(self) -> str:
        """The words that every artefact of a synthetic run must carry; empty for real data."""
        return f"{PHANTOM_NOTICE}: {self.reason}" if self.synthetic else ""


@dataclass(frozen=True)
class Cohort:
    """Images with their outcomes.

    Attributes
    ----------
    condition : what ``outcome`` is True for, in the field's words (``"malignant"``).
    images : uint8, shape (cases, height, width), grey levels 0 to 255.
    outcome : bool, shape (cases,), True where the condition is present.
    split : str, shape (cases,), ``train``, ``val``, ``test`` or the name of an external cohort.
    case : str, shape (cases,), unique within a split; ``test/76`` for MedMNIST.
    group : str, shape (cases,); cases that are not independent share it. Each case its own by default.
    attributes : further columns for subgroup analysis, each of shape (cases,).
    """

    condition: str
    images: NDArray[np.uint8]
    outcome: NDArray[np.bool_]
    split: NDArray[np.str_]
    case: NDArray[np.str_]
    group: NDArray[np.str_]
    source: Source
    attributes: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("images", "outcome", "split", "case", "group")}
        if len(set(lengths.values())) != 1:
            raise InputError(f"A cohort needs one entry per case in every column; got {lengths}.")
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise InputError(
                f"A cohort needs grey images as uint8 of shape (cases, height, width); "
                f"got {self.images.dtype} of shape {self.images.shape}."
            )

    def __len__(self) -> int:
        return len(self.outcome)

    def within(self, *splits: str) -> NDArray[np.bool_]:
        """Mask of the cases that belong to any of ``splits``, shape (cases,)."""
        return np.isin(self.split, splits)

    def select(self, chosen: NDArray[np.generic]) -> "Cohort":
        """The cases of a mask or of indices, in their order."""
        return replace(
            self,
            **{name: getattr(self, name)[chosen] for name in ("images", "outcome", "split", "case", "group")},
            attributes={name: values[chosen] for name, values in self.attributes.items()},
        )

    def with_groups(self, group: NDArray[np.str_]) -> "Cohort":
        """The same cases under other groups, shape (cases,)."""
        return replace(self, group=np.asarray(group))
