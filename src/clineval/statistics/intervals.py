"""A number with its doubt: Estimate, intervals of proportions, the bootstrap."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; NaN where undefined, the reason in ``method``."""

    value: float
    low: float
    high: float
    level: float = 0.95
    method: str = ""
