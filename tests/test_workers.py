"""Finished trainings on file: what comes back is what was filed, and what is damaged is trained again."""

import json

import numpy as np
import pytest

from clineval.learning import workers
from clineval.learning.jobs import Fitted
from clineval.learning.storage import write_arrays

FITTED = Fitted(
    arrays={"weight": np.arange(3.0)},
    record={"scaling": {"mean": 0.3, "sd": 0.1, "learnt_on": "train"}, "curve": [0.5, 0.25]},
    risk=np.array([0.1, 0.9]),
    out_of_fold=np.array([np.nan, 0.5]),
    seconds=1.5,
)


def test_a_training_comes_back_from_its_file_as_it_was_filed(tmp_path):
    workers._write(tmp_path / "a.safetensors", FITTED)
    again = workers._read(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.arrays["weight"], FITTED.arrays["weight"])
    np.testing.assert_array_equal(again.risk, FITTED.risk)
    np.testing.assert_array_equal(again.out_of_fold, FITTED.out_of_fold)
    assert json.dumps(again.record) == json.dumps(FITTED.record)  # the order of its keys too


@pytest.mark.parametrize("record", [{}, {"record": {"a": 1}, "seconds": 1}, {"record": "{", "seconds": 1}])
def test_a_file_of_another_form_counts_as_no_training(tmp_path, record):
    write_arrays(tmp_path / "a.safetensors", {"result/risk": FITTED.risk}, record)
    assert workers._read(tmp_path / "a.safetensors") is None
