"""What a report says of clinical utility: where a model helps, and where having none is better."""

import numpy as np

from clineval.evaluation.curves import Band, DecisionLines
from clineval.reporting.content import harmful_spans, useful_span
from clineval.reporting.sections import utility_sentences

THRESHOLD = np.arange(1, 100) / 100
NONE = np.zeros(99)


def lines(low: np.ndarray, high: np.ndarray) -> DecisionLines:
    """A band of net benefits where flagging everyone gives .1 below a threshold of .2, and else does harm."""
    everyone = np.where(THRESHOLD < 0.2, 0.1, -0.1)
    return DecisionLines(THRESHOLD, Band((low + high) / 2, low, high), everyone, NONE, NONE, NONE, "drawn")


def test_thresholds_at_which_a_model_is_worse_than_none_are_named():
    inside = (THRESHOLD > 0.095) & (THRESHOLD < 0.155)
    found = harmful_spans(lines(NONE - 0.2, np.where(inside, 0.05, 0.2)))
    assert found == [(0.1, 0.15)]
    (said,) = utility_sentences({"cnn": None}, {"cnn": found})
    assert said == (
        "cnn: at no threshold does its whole interval lie above flagging everyone and no one. At thresholds "
        "from 0.10 to 0.15 it lies wholly below the better of these two: there flagging everyone, or no one, "
        "does more good than following the model."
    )


def test_a_single_threshold_and_one_without_harm_are_said_plainly():
    (one,) = utility_sentences({"cnn": (0.2, 0.3)}, {"cnn": [(0.11, 0.11), (0.5, 0.6)]})
    assert "At thresholds of 0.11 and from 0.50 to 0.60 it lies wholly below" in one
    assert utility_sentences({"cnn": (0.2, 0.3)}, {"cnn": []}) == [
        "cnn: its whole interval lies above flagging everyone and no one at thresholds from 0.20 to 0.30."
    ]


def test_the_longest_run_of_useful_thresholds_is_given():
    helps = ((THRESHOLD > 0.295) & (THRESHOLD < 0.405)) | (THRESHOLD > 0.945)
    assert useful_span(lines(np.where(helps, 0.01, -0.2), NONE + 0.2)) == (0.3, 0.4)
    assert useful_span(lines(NONE - 0.2, NONE + 0.2)) is None
