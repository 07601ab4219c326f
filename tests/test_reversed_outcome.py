"""Risks that rank the wrong way round are said to."""

from clineval.evaluation.scores import _reversal
from clineval.statistics.intervals import Estimate


def test_a_reversed_outcome_is_asked_about():
    (told,) = _reversal(Estimate(0.1, 0.05, 0.2))
    assert "ranks the wrong way round; does a high risk mean the condition?" in told
    assert not list(_reversal(Estimate(0.5, 0.4, 0.6)))
