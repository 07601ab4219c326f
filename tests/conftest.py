"""What the tests share: the real data where it is present."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data_folder() -> Path:
    """Folder of the official files, through CLINEVAL_DATA; skips, saying why, where it is absent."""
    folder = Path(os.environ.get("CLINEVAL_DATA") or "data")
    if not (folder / "breastmnist.npz").is_file():
        pytest.skip(f"real BreastMNIST is not there: no breastmnist.npz in CLINEVAL_DATA or {folder}")
    return folder


@pytest.fixture(scope="session")
def real_breastmnist(real_data_folder: Path):
    """The official 28 x 28 BreastMNIST as a Cohort."""
    from clineval.data import medmnist

    return medmnist.load("breastmnist", size=28, folders=[real_data_folder])
