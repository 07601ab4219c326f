"""The seal of the test cases: nothing learnt on a population may be judged on that population."""

from collections.abc import Iterable
from dataclasses import dataclass

from clineval.evaluation.populations import TEST_CLEAN
from clineval.predictions import TEST
from clineval.refusal import Refusal


@dataclass(frozen=True)
class Learnt:
    """Something that a model took from data: ``what`` ("its recalibration"), from ``population``."""

    model: str
    what: str
    population: str


def refuse_learnt_there(learnt: Iterable[Learnt], sealed: Iterable[str]) -> None:
    """Refuse to score a population that a model learnt something on.

    Parameters
    ----------
    learnt : what the models learnt, and where.
    sealed : names of the populations that are to be scored as kept for testing.

    Raises
    ------
    Refusal : naming the model, what it learnt, and the population.
    """
    scored = set(sealed)
    for one in learnt:
        if one.population in scored or (one.population == TEST_CLEAN and TEST in scored):
            raise Refusal(
                f"Of model {one.model!r}, {one.what} was learnt on {one.population!r} and cannot be scored "
                "there: it would be flattered. Learn it on other cases, or score it on other cases."
            )
