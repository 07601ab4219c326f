"""What the tests of calibration, operating points, decision curves and adequacy share."""

import json

import numpy as np
from discrimination_reference import NAMES, REFERENCE, sample
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

LETTERS = ("a", "b")


def golden(name):
    """R's verdicts of tests/reference/NAME.json."""
    return json.loads((REFERENCE / f"{name}.json").read_text())


def cases_of(name, letter):
    """Outcome, risk of model a or b, and group of one sample."""
    outcome, risk_a, risk_b, group = sample(name)
    return outcome, risk_a if letter == "a" else risk_b, group


def freedom(group):
    """Student's degrees of freedom of a variance between groups, one less than as many of one size."""
    sizes = [list(group).count(name) for name in set(group)]
    return sum(n**2 for n in sizes) ** 2 / sum(n**4 for n in sizes) - 1


def as_student(bounds, group, *, around=None):
    """R's normal bounds by group as far as Student's t with one degree of freedom less than groups.

    Around a value, or on the log scale, where the value is the geometric middle.
    """
    wider = student.ppf(0.975, freedom(group)) / norm.ppf(0.975)
    if around is not None:
        return [around + wider * (bound - around) for bound in bounds]
    middle = np.mean(np.log(bounds))
    return list(np.exp(middle + wider * (np.log(bounds) - middle)))


def triple(estimate):
    """Value, low and high."""
    return [estimate.value, estimate.low, estimate.high]


@st.composite
def cases(draw, *, least=4, most=40, tied=None):
    """Outcome with both classes, and risks inside (0, 1), tied to tenths in half of the samples."""
    size = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    outcome = rng.permutation(np.arange(size) < draw(st.integers(1, size - 1)))
    risk = rng.uniform(0.01, 0.99, size)
    if tied if tied is not None else draw(st.booleans()):
        risk = np.clip(risk.round(1), 0.1, 0.9)
    return outcome, risk


__all__ = ["LETTERS", "NAMES", "as_student", "cases", "cases_of", "freedom", "golden", "sample", "triple"]
