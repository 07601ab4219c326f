"""The steps of a run: what is said first, and what is refused before anything is trained."""

import pytest

from clineval.cli import main
from clineval.data.cohort import PHANTOM_NOTICE
from clineval.data.phantom import phantom
from clineval.errors import InputError


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run on phantom data that stops where its audit would begin."""

    def small_phantom(*_words, **_named):
        return phantom(seed=0, cases=(8, 8, 8), reason="a test asked for it")

    def stop(*_words, announce, **_named):
        announce("Auditing the images")
        raise InputError("stopped here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("clineval.pipeline.run.load_cohort", small_phantom)
    monkeypatch.setattr("clineval.pipeline.run.audit_and_group", stop)


def test_synthetic_data_are_named_before_the_run_begins(stopped, capsys):
    assert main.run_command(["run", "--dataset", "phantom"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "clineval: Loading the images"
    assert lines[1].startswith(f"clineval: {PHANTOM_NOTICE}")
    assert lines[2:] == ["clineval: Auditing the images", "clineval: stopped here"]


def test_a_quiet_run_says_nothing_first(stopped, capsys):
    assert main.run_command(["run", "--dataset", "phantom", "--quiet"]) == 3
    assert capsys.readouterr().err == "clineval: stopped here\n"


def test_a_published_record_is_refused_before_anything_is_trained(stopped, tmp_path, capsys):
    (tmp_path / "results-phantom").mkdir()
    (tmp_path / "results-phantom" / "provenance.json").write_text('{"kind": "run", "published": true}')
    assert main.run_command(["run", "--dataset", "phantom", "--quiet"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "is a published record and stays as it is" in line
