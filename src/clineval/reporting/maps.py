"""Maps of what a risk depends on: their record, and their checks in words."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError, reason_of
from clineval.files import write_json
from clineval.reporting.sentences import number, signed, whole

FILE = "maps.json"
SCHEMA = 1
MOST_AGREEMENT, LEAST_STABILITY = 0.3, 0.8  # from here on, and below, a map is not to be read
Floats = NDArray[np.float64]
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class MapCheck:
    """Whether a map depends on the model and holds still.

    Attributes
    ----------
    agreement : with the maps of randomised models: mean absolute rank correlation, 0 to 1. Absolute, for
        a map that is the randomised one turned round depends on the model no more.
    stability : rank correlation with the map of the image moved by one pixel down and right, -1 to 1.
    seeds : mean rank correlation between the maps of an ensemble's members; NaN for a model without.
    marks : share of the absolute map that lies on text or measuring marks burnt in, 0 to 1, and
        ``marks_area`` the share of the cells that do; NaN where the audit (AUD012) finds none.
    """

    agreement: float
    stability: float
    seeds: float
    marks: float = nan
    marks_area: float = nan

    @property
    def reason(self) -> str:
        """Why the map should not be read; empty where it passed."""
        if isnan(self.agreement):
            return "it cannot be compared with the map of a randomised model"
        if self.agreement >= MOST_AGREEMENT:
            return (
                "its pattern resembles too closely that of models with random weights, regardless of sign "
                f"({self.agreement:.2f}; limit {MOST_AGREEMENT:g})"
            )
        if not self.stability >= LEAST_STABILITY:
            return (
                f"it changes when the image moves by one pixel (rank correlation {self.stability:.2f}, must "
                f"be at least {LEAST_STABILITY:g})"
            )
        return ""

    @property
    def passed(self) -> bool:
        """Whether the map may be read."""
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is undefined."""
        numbers = {name: None if isnan(value) else round(value, 4) for name, value in vars(self).items()}
        return {**numbers, "passed": self.passed, "reason": self.reason}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "MapCheck":
        """The check, read back from its JSON form."""
        names = [each.name for each in fields(cls)]
        return cls(**{name: nan if record[name] is None else float(record[name]) for name in names})


@dataclass(frozen=True)
class Explanation:
    """The map of one image by one model, and what its checks found.

    Attributes
    ----------
    risk : of the square, 0 to 1, as the run's model gives it.
    map : change in risk by cell, shape (rows, columns): positive where the patch raises the risk.
    randomised : the same by a model of shuffled weights, shape (rows, columns); None where there is none.
    patch, stride : pixels a side of a patch, and from one cell to the next.
    notice : says that the run learnt from synthetic images; else empty.
    """

    image: str
    model: str
    condition: str
    square: Images
    risk: float
    threshold: float | None
    map: Floats
    randomised: Floats | None
    check: MapCheck
    patch: int
    stride: int
    notice: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is undefined."""
        return {
            "image": self.image,
            "model": self.model,
            "condition": self.condition,
            "risk": self.risk,
            "threshold": self.threshold,
            "flagged": None if self.threshold is None else self.risk >= self.threshold,
            "patch": self.patch,
            "stride": self.stride,
            "map": np.round(self.map, 6).tolist(),
            "randomised": None if self.randomised is None else np.round(self.randomised, 6).tolist(),
            "check": self.check.to_json(),
        }


@dataclass(frozen=True)
class CheckedMaps:
    """How the maps of one model fared on test cases, and the maps of those that it missed.

    Attributes
    ----------
    checks : of test cases at even intervals; ``cases`` is how many test cases there are.
    missed : by case the map of a missed case, shape (rows, columns), and its check.
    """

    model: str
    cases: int
    checks: tuple[MapCheck, ...]
    missed: Mapping[str, tuple[Floats, MapCheck]]

    def mean(self, name: str) -> float:
        """The mean of one measure over the cases where it is defined; NaN where it is so nowhere."""
        values = [value for each in self.checks if not isnan(value := getattr(each, name))]
        return float(np.mean(values)) if values else nan

    @property
    def passed(self) -> bool:
        """Whether maps depend on the model and hold still, on average, in the two decimals that are told."""
        agreement, stability = (round(self.mean(name), 2) for name in ("agreement", "stability"))
        return agreement < MOST_AGREEMENT and stability >= LEAST_STABILITY

    @property
    def sentence(self) -> str:
        """What the check showed, for the report."""
        shown, failed = len(self.checks), sum(not each.passed for each in self.checks)
        agreement, stability, seeds = (self.mean(name) for name in ("agreement", "stability", "seeds"))
        verdict = (
            "On average the maps depend on the model and hold still"
            if self.passed
            else "On average the maps fail this check and should not be read"
        )
        members = "" if isnan(seeds) else f", between members of the ensemble {number(seeds, 2)}"
        return (
            f"{verdict}: on {whole(shown)} of {whole(self.cases)} test images their rank correlation with "
            f"maps of the same model with random weights, regardless of sign, is {number(agreement, 2)} "
            f"(wanted: below {number(MOST_AGREEMENT, 1)}), with maps of the images moved by one pixel "
            f"{number(stability, 2)} (wanted: {number(LEAST_STABILITY, 1)} or more){members}. "
            f"{whole(failed)} of these {whole(shown)} maps fail by themselves; a map that fails is greyed."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = [each.name for each in fields(MapCheck)]
        means = {name: self.mean(name) for name in names}
        return {
            "schema": SCHEMA,
            "model": self.model,
            "cases": self.cases,
            "mean": {name: None if isnan(value) else round(value, 4) for name, value in means.items()},
            "passed": self.passed,
            "checks": [each.to_json() for each in self.checks],
            "missed": {
                case: {"map": np.round(found, 6).tolist(), "check": check.to_json()}
                for case, (found, check) in self.missed.items()
            },
        }


def write_maps(folder: Path, maps: CheckedMaps) -> None:
    """Write ``maps.json``."""
    write_json(maps.to_json(), folder / FILE)


def read_maps(record: Mapping[str, Any]) -> CheckedMaps | None:
    """The maps back from ``maps.json``; None where the folder has none.

    Raises
    ------
    InputError : the file is incomplete.
    """
    if not record:
        return None
    try:
        return CheckedMaps(
            str(record["model"]),
            int(record["cases"]),
            tuple(map(MapCheck.from_json, record["checks"])),
            {
                case: (np.array(each["map"], np.float64), MapCheck.from_json(each["check"]))
                for case, each in record["missed"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{FILE} is incomplete ({reason_of(error)}); write the results again.") from error


def extremes(found: Floats) -> str:
    """The largest rise and fall of risk on a map, in words."""
    rise, fall = max(float(found.max()), 0.0), min(float(found.min()), 0.0)
    return f"{signed(rise, as_points=True)} to {signed(fall, as_points=True)} percentage points"
