"""Cohort, the one record that leaves this package: what it looks like, and how it is drawn into parts."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

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
    colour : the images in colour, uint8, shape (cases, height, width, 3), where a model asks for them.
    """

    condition: str
    images: NDArray[np.uint8]
    outcome: NDArray[np.bool_]
    split: NDArray[np.str_]
    case: NDArray[np.str_]
    group: NDArray[np.str_]
    source: Source
    attributes: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    colour: NDArray[np.uint8] | None = None

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
            colour=None if self.colour is None else self.colour[chosen],
        )

    def with_groups(self, group: NDArray[np.str_]) -> "Cohort":
        """The same cases under other groups, shape (cases,)."""
        return replace(self, group=np.asarray(group))


QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
EXAMPLES = 8  # cases per class; enough for a row of pictures
LEVELS = 256  # grey levels of an 8-bit image
BLOCK = 64  # images at once: 25 MB of work space at 224 pixels
_OFFICIAL_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class SplitCount:
    """How many cases a split has, how many with the condition, and their proportion (0 to 1)."""

    split: str
    cases: int
    events: int
    prevalence: float


@dataclass(frozen=True)
class GreyLevels:
    """Pixels of one class (``outcome`` 1 or 0) in one split, or in all: grey levels from 0 to 255.

    ``quantiles`` maps a proportion to a grey level; ``histogram`` counts pixels at each of the 256 levels.
    Mean, standard deviation and quantiles are NaN where the split has no case of the class.
    """

    split: str
    outcome: int
    cases: int
    mean: float
    sd: float
    quantiles: Mapping[float, float]
    histogram: NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """One property of the images compared between two splits, or between the two classes.

    ``standardised`` is the difference of means, first minus second, over the root mean square of the
    two standard deviations (Austin 2009, doi:10.1002/sim.3697); beyond 0.1 either way it is usually
    called noteworthy. NaN where it is undefined, with the reason in ``method``.
    """

    measure: str
    first: str
    second: str
    first_mean: float
    second_mean: float
    standardised: float
    method: str


@dataclass(frozen=True)
class Example:
    """The name of one class and some of its cases, evenly spaced so that nobody chose them."""

    outcome: int
    name: str
    label: int | None
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Exploration:
    """Everything ``explore`` counted; ``differences`` between splits, ``class_differences`` in all cases."""

    condition: str
    dataset: str
    notice: str
    image_size: tuple[int, int]
    splits: tuple[SplitCount, ...]
    grey_levels: tuple[GreyLevels, ...]
    differences: tuple[Difference, ...]
    class_differences: tuple[Difference, ...]
    examples: tuple[Example, ...]

    def of(self, split: str, outcome: int) -> GreyLevels:
        """The grey levels of one class in ``split``, or over all splits with ``split="all"``."""
        found = [level for level in self.grey_levels if (level.split, level.outcome) == (split, outcome)]
        if not found:
            raise InputError(f"No split {split!r} with outcome {outcome} was explored.")
        return found[0]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; what is undefined is None."""
        return {"schema": 1, **_plain(asdict(self))}


def explore(cohort: Cohort) -> Exploration:
    """Counts, prevalence, grey levels and split differences of a cohort, of all its images.

    Raises
    ------
    InputError : the cohort is empty.
    """
    if not len(cohort):
        raise InputError("An exploration needs at least one case; the cohort is empty.")
    splits = _splits(cohort)
    properties = _properties(cohort.images)
    return Exploration(
        condition=cohort.condition,
        dataset=cohort.source.title,
        notice=cohort.source.notice,
        image_size=(cohort.images.shape[1], cohort.images.shape[2]),
        splits=tuple(_count(cohort, split) for split in splits),
        grey_levels=_grey_levels(cohort, splits),
        differences=_split_differences(cohort, splits, properties),
        class_differences=_class_differences(cohort, properties),
        examples=tuple(_examples(cohort, outcome) for outcome in (1, 0)),
    )


def class_name(cohort: Cohort, outcome: int) -> str:
    """What a class is called: the source's words, else the condition and its absence."""
    meaning = _meaning(cohort, outcome)
    if meaning is not None:
        return meaning.name
    return cohort.condition if outcome else f"not {cohort.condition}"


def _meaning(cohort: Cohort, outcome: int) -> LabelMeaning | None:
    """The one label of a class; None where there is none, or where several labels make up the class."""
    of_class = [word for word in cohort.source.labels if word.is_condition == bool(outcome)]
    return of_class[0] if len(of_class) == 1 else None


def _splits(cohort: Cohort) -> list[str]:
    present = set(cohort.split.tolist())
    official = [split for split in _OFFICIAL_ORDER if split in present]
    return official + sorted(present - set(official))


def _count(cohort: Cohort, split: str) -> SplitCount:
    outcome = cohort.outcome[cohort.within(split)]
    return SplitCount(split, len(outcome), int(outcome.sum()), float(outcome.mean()))


def _grey_levels(cohort: Cohort, splits: list[str]) -> tuple[GreyLevels, ...]:
    """Each split and class, then ``all``: one histogram per class, from which the rest follows exactly."""
    levels: list[GreyLevels] = []
    for outcome in (1, 0):
        parts = [_of_histogram(cohort, split, outcome) for split in splits]
        whole = np.sum([part.histogram for part in parts], axis=0)
        levels += [*parts, _summary("all", outcome, sum(part.cases for part in parts), whole)]
    return tuple(levels)


def _of_histogram(cohort: Cohort, split: str, outcome: int) -> GreyLevels:
    images = cohort.images[cohort.within(split) & (cohort.outcome == bool(outcome))]
    histogram = np.zeros(LEVELS, np.int64)
    for block in _blocks(images):
        histogram += np.bincount(block.ravel(), minlength=LEVELS)
    return _summary(split, outcome, len(images), histogram)


def _blocks(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + BLOCK] for start in range(0, len(images), BLOCK)]


def _summary(split: str, outcome: int, cases: int, histogram: NDArray[np.int64]) -> GreyLevels:
    level = np.arange(LEVELS)
    pixels = int(histogram.sum())
    if not pixels:
        nothing = dict.fromkeys(QUANTILES, math.nan)
        return GreyLevels(split, outcome, cases, math.nan, math.nan, nothing, histogram)
    mean = float(histogram @ level / pixels)
    sd = math.sqrt(float(histogram @ (level - mean) ** 2 / pixels))
    # The lowest level that at least this proportion of the pixels does not exceed.
    reached = np.searchsorted(histogram.cumsum(), np.array(QUANTILES) * pixels)
    quantiles = dict(zip(QUANTILES, reached.astype(float).tolist(), strict=True))
    return GreyLevels(split, outcome, cases, mean, sd, quantiles, histogram)


def _properties(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """What each image looks like in a few numbers, each of shape (cases,); grey levels but for shares."""
    blocks = [_of_block(block) for block in _blocks(images)]
    return {measure: np.concatenate([block[measure] for block in blocks]) for measure in blocks[0]}


def _of_block(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    upper, lower = np.array_split(images, 2, axis=1)
    steps = np.abs(np.diff(images.astype(np.int16), axis=2))
    return {
        "brightness (mean grey level)": images.mean(axis=(1, 2)),
        "contrast (SD of grey levels)": images.std(axis=(1, 2)),
        "upper minus lower half": upper.mean(axis=(1, 2)) - lower.mean(axis=(1, 2)),
        "detail (mean step between neighbours)": steps.mean(axis=(1, 2)),
        "share of black pixels": (images == 0).mean(axis=(1, 2)),
    }


def _split_differences(
    cohort: Cohort, splits: list[str], properties: Mapping[str, NDArray[np.float64]]
) -> tuple[Difference, ...]:
    measures = {"prevalence": cohort.outcome.astype(np.float64), **properties}
    return tuple(
        _difference(measure, first, second, values[cohort.within(first)], values[cohort.within(second)])
        for first, second in combinations(splits, 2)
        for measure, values in measures.items()
    )


def _class_differences(
    cohort: Cohort, properties: Mapping[str, NDArray[np.float64]]
) -> tuple[Difference, ...]:
    names = class_name(cohort, 1), class_name(cohort, 0)
    return tuple(
        _difference(measure, *names, values[cohort.outcome], values[~cohort.outcome])
        for measure, values in properties.items()
    )


def _difference(
    measure: str, first: str, second: str, one: NDArray[np.float64], other: NDArray[np.float64]
) -> Difference:
    means = (float(one.mean()) if len(one) else math.nan, float(other.mean()) if len(other) else math.nan)
    if len(one) < 2 or len(other) < 2:
        return Difference(measure, first, second, *means, math.nan, "undefined: fewer than 2 cases on a side")
    spread = math.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    if spread == 0:
        return Difference(measure, first, second, *means, math.nan, "undefined: no spread on either side")
    return Difference(
        measure, first, second, *means, (means[0] - means[1]) / spread, "standardised mean difference"
    )


def _examples(cohort: Cohort, outcome: int) -> Example:
    """Cases at even steps through the class, of train where there is one."""
    of_class = cohort.outcome == bool(outcome)
    in_train = of_class & cohort.within("train")
    rows = np.flatnonzero(in_train if in_train.any() else of_class)
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, EXAMPLES).round().astype(int))] if len(rows) else []
    meaning = _meaning(cohort, outcome)
    label = None if meaning is None else meaning.code
    return Example(
        outcome, class_name(cohort, outcome), label, tuple(str(cohort.case[row]) for row in chosen)
    )


def _plain(value: Any) -> Any:
    """The same as JSON types: lists for arrays and tuples, text for keys, None for what is not a number."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def by_group(
    outcome: NDArray[np.bool_], group: NDArray[np.str_], *, shares: tuple[float, float], seed: int = 0
) -> NDArray[np.str_]:
    """Train, val or test for every case, shape (cases,): no group is parted, prevalence is about equal.

    Parameters
    ----------
    outcome, group : shape (cases,).
    shares : about how much of all cases goes to val and to test (0 makes none); the rest is train.
    seed : chooses the split; the same seed gives the same split.

    Raises
    ------
    InputError : too few groups of either outcome.
    """
    split = np.full(len(outcome), "train", dtype="U5")
    for name, share in (("test", shares[1]), ("val", shares[0])):
        rest = np.flatnonzero(split == "train")
        if share:
            of_rest = share * len(outcome) / len(rest)
            split[rest[_drawn(outcome[rest], group[rest], share=of_rest, seed=seed)]] = name
    return split


def _drawn(
    outcome: NDArray[np.bool_], group: NDArray[np.str_], *, share: float, seed: int
) -> NDArray[np.int64]:
    """Positions of about a ``share`` of the cases: whole groups, at about the prevalence of all."""
    folds = max(2, round(1 / share))
    scarcer = min(_groups(outcome, group))
    if scarcer < folds:
        raise InputError(
            f"A split by group needs at least {folds} groups with and without the condition; got {scarcer}."
        )
    return next(_held_out(outcome, group, folds=folds, seed=seed))


def grouped_folds(
    outcome: NDArray[np.bool_], group: NDArray[Any], *, folds: int, seed: int = 0
) -> NDArray[np.int64]:
    """Number of the fold, 0 to ``folds`` - 1, that each case is held out in, shape (cases,).

    Cases of one group share a fold, and every fold has about the same prevalence.

    Raises
    ------
    InputError : too few groups with or without the condition for each fold to hold both.
    """
    with_condition, without = _groups(outcome, group)
    if min(with_condition, without) < folds:
        raise InputError(
            f"Training in {folds} grouped folds needs at least {folds} independent groups of cases with the "
            f"condition and {folds} without; the training split has {with_condition} and {without}. "
            "Use more cases or fewer folds."
        )
    fold = np.empty(len(outcome), dtype=np.int64)
    for number, held_out in enumerate(_held_out(outcome, group, folds=folds, seed=seed)):
        fold[held_out] = number
    return fold


def _groups(outcome: NDArray[np.bool_], group: NDArray[Any]) -> tuple[int, int]:
    """How many groups have cases with the condition, and how many have cases without."""
    return len(np.unique(group[outcome])), len(np.unique(group[~outcome]))


def _held_out(
    outcome: NDArray[np.bool_], group: NDArray[Any], *, folds: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Positions of the cases that each fold holds out."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return (np.asarray(held_out) for _, held_out in splitter.split(outcome, outcome, group))


def some_cases(
    outcome: NDArray[np.bool_], group: NDArray[np.str_], *, most: int, seed: int = 0
) -> NDArray[np.int64]:
    """Places of about ``most`` of the cases, in order, whole groups at the same prevalence; all if no more.

    Groups are drawn from ``seed``, those with the condition and those without apart.
    """
    if len(outcome) <= most:
        return np.arange(len(outcome))
    _, member = np.unique(group, return_inverse=True)
    sizes = np.bincount(member)
    with_condition = np.bincount(member, weights=outcome) > 0
    order = np.random.default_rng(derived_seed(seed, "some cases")).permutation(len(sizes))
    taken = np.zeros(len(sizes), dtype=bool)
    for stratum in (order[with_condition[order]], order[~with_condition[order]]):
        share = most * sizes[stratum].sum() / len(outcome)
        taken[stratum[np.cumsum(sizes[stratum]) <= share]] = True
    return np.flatnonzero(taken[member])


def derived_seed(seed: int, *purpose: object) -> int:
    """A seed for one purpose, drawn from a run's seed so that two purposes never share their chance."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
