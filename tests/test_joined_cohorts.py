"""Several tables as one cohort: cases and groups by site, columns in common, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clineval.data.cohort import Cohort, Source
from clineval.data.image_files import ReadImage
from clineval.data.own_images import OwnCohort
from clineval.errors import InputError
from clineval.pipeline.validate import join_cohorts


def site(name: str, *, cases: int = 4, patients=None, images=None, folder="", **attributes) -> OwnCohort:
    rng = np.random.default_rng(sum(map(ord, name)))
    pictures = rng.integers(0, 255, (cases, 28, 28), dtype=np.uint8) if images is None else images
    case = np.array([f"im{place}" for place in range(cases)])
    cohort = Cohort(
        "malignant", pictures, np.arange(cases) % 2 == 0, np.full(cases, name), case,
        case.copy() if patients is None else np.array(patients),
        Source("own", name, f"{name}.csv", "ab" * 32, notes=("of all", f"of {name}")),
        {key: np.array(values) for key, values in attributes.items()},
    )  # fmt: skip
    paths = tuple(Path(folder or name) / f"{each}.png" for each in case)
    return OwnCohort(cohort, paths, (ReadImage(Image.new("L", (1, 1)), ""),) * cases, "crop", 16, (pictures,))


def test_cases_and_groups_are_named_by_their_site_and_columns_in_common_stay():
    b, c = site("b", age=[1, 2, 3, 4], site=list("wxyz")), site("c", age=[5, 6, 7, 8], side=["l"] * 4)
    found = join_cohorts({"b": b, "c": c}, name="b + c", grouped=False)
    cohort = found.cohort
    assert cohort.case.tolist() == [f"{name}/im{place}" for name in "bc" for place in range(4)]
    assert cohort.group.tolist() == cohort.case.tolist()
    assert set(cohort.split) == {"b + c"}
    assert list(cohort.attributes) == ["site", "age"]
    assert cohort.attributes["site"].tolist() == ["b"] * 4 + ["c"] * 4
    assert cohort.attributes["age"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert cohort.images[4:].tolist() == c.cohort.images.tolist()
    assert found.further[0].tolist() == cohort.images.tolist()
    assert cohort.source.notes == (
        "of all", "b: of b", "c: of c", "Columns that not every table has were left out: own_site; side.",
    )  # fmt: skip
    assert cohort.source.sha256 not in (b.cohort.source.sha256, c.cohort.source.sha256)


def test_patients_keep_their_names():
    b, c = site("b", patients=["p1", "p1", "p2", "p3"]), site("c", patients=["q1", "q1", "q2", "q3"])
    assert join_cohorts({"b": b, "c": c}, name="x", grouped=True).cohort.group.tolist() == [
        "p1", "p1", "p2", "p3", "q1", "q1", "q2", "q3",
    ]  # fmt: skip


def test_a_shared_patient_is_refused():
    b, c = site("b", patients=["p1", "p1", "p2", "p3"]), site("c", patients=["q1", "q1", "p2", "q3"])
    with pytest.raises(InputError, match=r"the same patient, 'p2' in two tables: im2 of b and im2 of c"):
        join_cohorts({"b": b, "c": c}, name="x", grouped=True)


@pytest.mark.parametrize("what", ["file", "picture"])
def test_a_shared_case_is_refused(what):
    b = site("b")
    c = site("c", folder="b") if what == "file" else site("c", images=b.cohort.images[::-1].copy())
    with pytest.raises(InputError, match=f"the same {what} in two tables"):
        join_cohorts({"b": b, "c": c}, name="x", grouped=False)
