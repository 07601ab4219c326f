"""No broken file makes a reader do anything but read or refuse; `make fuzz` tries many more."""

import os
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clineval.data import medmnist_files

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import fuzz_readers
from mutations import mutated

pytestmark = pytest.mark.slow

SHORT = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
TEXT = st.text(alphabet='01.,;\n\r"\t-=abcoutmeriskplds \u202e٠', max_size=120).map(str.encode)


@pytest.fixture(scope="module", params=list(fuzz_readers.READERS))
def reader(request):
    """One reader; two of them need a small data set in the place of the official one."""
    official, folder = medmnist_files.SETS["breastmnist"], os.environ.get("CLINEVAL_DATA")
    yield fuzz_readers.READERS[request.param]()
    medmnist_files.SETS["breastmnist"] = official
    os.environ.pop("CLINEVAL_DATA", None)
    if folder is not None:
        os.environ["CLINEVAL_DATA"] = folder


def outcome(reader, folder, content):
    (folder / reader.file).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow and pydicom warn of what they forgive
        return fuzz_readers.outcome_of(reader, folder / reader.file)


def test_whole_files_are_read(reader, tmp_path):
    for seed in reader.seeds:
        assert outcome(reader, tmp_path, seed) == "read"


def test_damaged_files_are_read_or_refused(reader, tmp_path):
    @SHORT
    @given(st.randoms(use_true_random=True))
    def damage(chance):
        broken = mutated(chance, reader.seeds, reader.kind)
        assert outcome(reader, tmp_path, broken) in ("read", "refused"), broken[:2000]

    damage()


def test_any_bytes_and_any_text_are_read_or_refused(reader, tmp_path):
    @SHORT
    @given(st.one_of(st.binary(max_size=300), TEXT))
    def give(content):
        assert outcome(reader, tmp_path, content) in ("read", "refused")

    give()
