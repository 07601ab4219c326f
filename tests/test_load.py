"""The look-up order, strict and automatic."""

import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from clineval.data import Unavailable, load_cohort, medmnist, medmnist_files, phantom
from clineval.data.cohort import PHANTOM_NOTICE
from clineval.errors import InputError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has no BreastMNIST in any place and no network."""
    for folder in ("here", "home", "variable"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("CLINEVAL_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for module in (medmnist, medmnist_files):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("clineval.data.download.download", no_network)
    monkeypatch.setattr(phantom, "phantom", partial(phantom.phantom, cases=(8, 8, 8)))  # quick to draw
    return tmp_path


def no_network(*_: object, **__: object) -> Path:
    raise Unavailable("nothing came.", cause="no network connection to zenodo.org")


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Bytes that count as the official file."""
    facts = medmnist.SETS["breastmnist"]
    arrays = {}
    for split, cases in facts.cases.items():
        arrays[f"{split}_images"] = np.zeros((cases, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(cases) >= facts.events[split]).astype(np.uint8)[:, None]
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    known = {**facts.sha256, 28: hashlib.sha256(stream.getvalue()).hexdigest()}
    monkeypatch.setitem(medmnist.SETS, "breastmnist", replace(facts, sha256=known))
    return stream.getvalue()


PLACES = ("variable", "here/data", "home/.medmnist", "cache")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dataset", ["auto", "breastmnist"])
def test_each_place_is_looked_into(nowhere: Path, official: bytes, place: str, dataset: str) -> None:
    (nowhere / place).mkdir(parents=True, exist_ok=True)
    (nowhere / place / "breastmnist.npz").write_bytes(official)
    cohort = load_cohort(dataset)
    assert not cohort.source.synthetic
    assert cohort.source.notice == ""
    assert len(cohort) == 780


@pytest.mark.parametrize(("earlier", "later"), list(pairwise(PLACES)))
def test_an_earlier_place_wins_even_where_its_file_is_wrong(
    nowhere: Path, official: bytes, earlier: str, later: str
) -> None:
    for place, content in ((earlier, b"wrong"), (later, official)):
        (nowhere / place).mkdir(parents=True, exist_ok=True)
        (nowhere / place / "breastmnist.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"breastmnist\.npz is not the official"):
        load_cohort("auto")


def test_what_is_nowhere_is_downloaded_and_then_read(
    nowhere: Path, official: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def brings(url: str, target: Path, **_: object) -> Path:
        target.parent.mkdir(parents=True)
        target.write_bytes(official)
        return target

    monkeypatch.setattr("clineval.data.download.download", brings)
    assert load_cohort("auto").source.title == "BreastMNIST"
    assert (nowhere / "cache" / "breastmnist.npz").is_file()


def test_auto_without_data_is_the_phantom_and_says_why_without_a_path_of_this_machine(nowhere: Path) -> None:
    source = load_cohort("auto").source
    assert source.synthetic
    assert source.notice == (
        f"{PHANTOM_NOTICE}: BreastMNIST is not in $CLINEVAL_DATA, ./data, ~/.medmnist or the cache, "
        "and could not be downloaded: no network connection to zenodo.org"
    )
    assert str(nowhere) not in repr(source)


def test_strict_without_data_is_refused_with_the_remedies(nowhere: Path) -> None:
    with pytest.raises(Unavailable, match=r"Put the file at .*CLINEVAL_DATA.*dataset=.phantom"):
        load_cohort("breastmnist")


def test_auto_at_another_size_is_refused_and_not_the_phantom() -> None:
    with pytest.raises(Unavailable, match=r"breastmnist_64\.npz.*dataset=.phantom.*size=28"):
        load_cohort("auto", size=64)


@pytest.mark.parametrize("dataset", ["auto", "breastmnist"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"<html>"])
def test_a_wrong_file_is_never_replaced_by_the_phantom(nowhere: Path, dataset: str, content: bytes) -> None:
    (nowhere / "variable" / "breastmnist.npz").write_bytes(content)
    with pytest.raises(InputError, match="truncated or corrupt"):
        load_cohort(dataset)


def test_a_download_with_a_wrong_checksum_is_never_replaced_by_the_phantom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def altered(*_: object, **__: object) -> Path:
        raise InputError("altered on the way.")

    monkeypatch.setattr("clineval.data.download.download", altered)
    with pytest.raises(InputError, match="altered on the way"):
        load_cohort("auto")


def test_a_variable_that_names_no_folder_is_passed_over(
    nowhere: Path, official: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINEVAL_DATA", str(nowhere / "misspelt"))
    (nowhere / "here" / "data").mkdir()
    (nowhere / "here" / "data" / "breastmnist.npz").write_bytes(official)
    assert load_cohort("auto").source.file == "breastmnist.npz"


def test_the_phantom_by_its_name_says_so_and_follows_the_seed() -> None:
    first, other = load_cohort("phantom"), load_cohort("phantom", seed=1)
    assert (first.images != other.images).any()
    assert first.source.reason == "it was asked for with --dataset phantom"


def test_the_phantom_at_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="phantom set needs size 28; got 64"):
        load_cohort("phantom", size=64)


def test_an_unknown_name_or_size_is_refused_before_anything_is_looked_for() -> None:
    with pytest.raises(InputError, match=r"dataset needs auto, phantom or one of .*; got 'mnist'"):
        load_cohort("mnist")
    with pytest.raises(InputError, match="size needs one of 28"):
        load_cohort("auto", size=27)


def test_importing_the_room_touches_neither_network_nor_cache(tmp_path: Path) -> None:
    code = "import clineval.data, pathlib, sys; sys.exit(any(pathlib.Path.home().iterdir()))"
    home = tmp_path / "empty"
    home.mkdir()
    assert subprocess.run([sys.executable, "-c", code], env={"HOME": str(home)}, check=False).returncode == 0
