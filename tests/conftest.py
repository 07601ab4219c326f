"""What the tests share: the real data where it is present, and what must not be skipped where it is."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clineval.cli.console import Screen

# Markers that may not be skipped here, e.g. "real_data browser": set where what they need is there.
REQUIRED = os.environ.get("CLINEVAL_REQUIRE", "").split()


# The longest files, longest first: begun first, none is left for one process alone at the end.
LONGEST = (
    "test_nothing_leaves", "test_end_to_end", "test_interruption", "test_reproducibility", "test_similarity",
    "test_examples", "test_user_model", "test_serve_in_browser", "test_report_in_browser", "test_serve",
    "test_study", "test_sites", "test_wheel", "test_validate", "test_real_files", "test_real_tables",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    place = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    required = [name for name in REQUIRED if item.get_closest_marker(name)]
    if report.skipped and required:
        report.outcome = "failed"
        report.longrepr = f"skipped although {required[0]} is required here: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _talkative(monkeypatch):
    """Every test begins as a program does, not quiet because the test before it was."""
    monkeypatch.setattr(Screen, "quiet", False)


@pytest.fixture
def undrawn(monkeypatch):
    """Without the figures of the evaluation, which take most of a command's time."""
    monkeypatch.setattr("clineval.reporting.figures.write_figures", lambda *given, **named: None)


@pytest.fixture(scope="module")
def unpainted():
    """Figures are composed and saved under their names, but not painted, which takes longest."""
    from short_program import leave_unpainted

    with pytest.MonkeyPatch.context() as patch:
        leave_unpainted(patch.setattr)
        yield


@pytest.fixture(scope="session")
def real_data_folder() -> Path:
    """Folder of the official files, through CLINEVAL_DATA; skips, saying why, where it is absent."""
    folder = Path(os.environ.get("CLINEVAL_DATA") or "data")
    if not (folder / "breastmnist.npz").is_file():
        pytest.skip("real BreastMNIST is not there: no breastmnist.npz in CLINEVAL_DATA or ./data")
    return folder


@pytest.fixture(scope="session")
def real_breastmnist(real_data_folder: Path):
    """The official 28 x 28 BreastMNIST as a Cohort."""
    from clineval.data import medmnist

    return medmnist.load("breastmnist", size=28, folders=[real_data_folder])


def made_once(tmp_path_factory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder in which ``make`` wrote ``run``: once for all processes that share the tests out."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        make((folder := tmp_path_factory.mktemp(name)) / "run")
        return folder
    folder = tmp_path_factory.getbasetemp().parent / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder / "run", ignore_errors=True)
            make(folder / "run")
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """A small phantom run as ``clineval run`` leaves it, less figures; read it, never write into it."""
    from finished_run import write_run

    return made_once(tmp_path_factory, "finished", write_run) / "run"


@pytest.fixture(scope="session")
def busbra_folder() -> Path:
    """Folder of the external cohort BUS-BRA, through CLINEVAL_BUSBRA; skips, saying why, where absent."""
    named = os.environ.get("CLINEVAL_BUSBRA", "")
    if not named or not (Path(named) / "bus_data.csv").is_file():
        pytest.skip("BUS-BRA is not there: CLINEVAL_BUSBRA names no folder with bus_data.csv")
    return Path(named)
