"""What a run records of the data set that it was asked for."""

from dataclasses import replace

import pytest

from clineval.data.phantom import phantom
from clineval.pipeline.run import _named
from clineval.settings import DataSettings, RunSettings


@pytest.mark.parametrize(
    ("asked", "came", "recorded"),
    [
        ("auto", "breastmnist", "breastmnist"),
        ("breastmnist", "breastmnist", "breastmnist"),
        ("auto", "phantom", "auto"),
        ("phantom", "phantom", "phantom"),
    ],
)
def test_a_set_asked_for_by_name_or_found_by_auto_is_one_setting(asked, came, recorded):
    cohort = phantom(0, cases=(20, 10, 10))
    cohort = replace(cohort, source=replace(cohort.source, dataset=came))
    assert _named(RunSettings(data=DataSettings(dataset=asked)), cohort, []).data.dataset == recorded
