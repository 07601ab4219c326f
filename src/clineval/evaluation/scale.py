"""Scale: how sure and how thorough every statistic of one evaluation is."""

from dataclasses import dataclass

from clineval.refusal import Refusal

MOST_DRAWS = 1_000_000  # a percentile is then known to .0002; more only fills memory


@dataclass(frozen=True)
class Scale:
    """What all statistics of one evaluation share.

    Attributes
    ----------
    level : coverage aimed at by every interval, between 0 and 1.
    draws : bootstrap resamples, at least 1.
    seed : of the bootstrap; the same table and seed give the same numbers.
    """

    level: float = 0.95
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise Refusal(
                f"The level of the intervals lies between 0 and 1, such as 0.95; came {self.level}."
            )
        if not 1 <= self.draws <= MOST_DRAWS:
            raise Refusal(f"A bootstrap needs from 1 to {MOST_DRAWS:,} draws; came {self.draws:,}.")
        if self.seed < 0:
            raise Refusal(f"A seed of at least 0 is needed; came {self.seed}.")
