"""What a run keeps of its training images: read back the same, refused when damaged, without a pixel."""

import numpy as np
import pytest

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models.stored import read_arrays, write_arrays
from clineval.pipeline.stored_run import FILE, learn_reference, read_reference, write_reference


@pytest.fixture(scope="module")
def reference():
    return learn_reference(phantom(seed=4, cases=(60, 20, 20)))


def test_it_reads_back_as_it_was_written(reference, tmp_path):
    write_reference(reference, tmp_path)
    back = read_reference(tmp_path)
    for part in ("novelty", "trace"):
        for name, value in vars(getattr(reference, part)).items():
            np.testing.assert_array_equal(getattr(getattr(back, part), name), value, err_msg=name)


def test_the_same_images_give_the_same_bytes(reference, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_reference(learn_reference(phantom(seed=4, cases=(60, 20, 20))), tmp_path / name)
    assert (tmp_path / "one" / FILE).read_bytes() == (tmp_path / "other" / FILE).read_bytes()


def test_without_validation_images_the_limits_are_undefined_and_stay_so(tmp_path):
    cohort = phantom(seed=4, cases=(60, 20, 20))
    write_reference(learn_reference(cohort.select(~cohort.within("val"))), tmp_path)
    back = read_reference(tmp_path).novelty
    assert np.isnan(back.texture_limit)
    assert np.isnan(back.grey_limit)


def test_a_missing_file_says_to_run_again(tmp_path):
    with pytest.raises(InputError, match="Run again: clineval run"):
        read_reference(tmp_path)


@pytest.mark.parametrize("lost", ["grey", "axes", "layout", "case", "noise"])
def test_a_file_that_lacks_something_is_refused(reference, tmp_path, lost):
    write_reference(reference, tmp_path)
    arrays, record = read_arrays(tmp_path / FILE)
    arrays.pop(lost, None)
    record.pop(lost, None)
    write_arrays(tmp_path / FILE, arrays, record)
    with pytest.raises(InputError):
        read_reference(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise": float("nan")}, "expected a finite number"),
        ({"noise": 0.0}, "expected a number above 0"),
        ({"texture_limit": float("nan")}, "expected a finite number"),
        ({"near_duplicate_limit": None}, "expected a finite number"),
        ({"format": 1}, "format 1, this version reads"),
        ({"case": []}, "layout should have shape"),
        ({"digest": ["a"]}, "1 digests of 60 cases"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_and_not_taken_for_like(reference, tmp_path, change, words):
    write_reference(reference, tmp_path)
    arrays, record = read_arrays(tmp_path / FILE)
    write_arrays(tmp_path / FILE, arrays, {**record, **change})
    with pytest.raises(InputError, match=words):
        read_reference(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("variance", 0.0), ("scale", -1.0), ("centre", np.nan)])
def test_variances_and_scales_must_be_above_0(reference, tmp_path, name, value):
    write_reference(reference, tmp_path)
    arrays, record = read_arrays(tmp_path / FILE)
    arrays[name] = arrays[name].copy()
    arrays[name][0] = value
    write_arrays(tmp_path / FILE, arrays, record)
    with pytest.raises(InputError, match=r"not above 0|not finite numbers"):
        read_reference(tmp_path)
