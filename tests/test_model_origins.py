"""What must be said of a model's origin stands wherever its figures stand."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from clineval.evaluation import evaluate, read_evaluation, write_evaluation
from clineval.evaluation.curves import curves
from clineval.pipeline.scoring import origins_of
from clineval.reporting.figures import write_figures
from clineval.reporting.model_card import write_model_card
from clineval.reporting.notebook import in_short
from clineval.reporting.report import write_report
from clineval.reporting.sections import TEXTURE
from clineval.reporting.sentences import subject_of

ORIGIN = "pretrained on ImageNet"


@pytest.fixture(scope="module")
def evaluation():
    generator = np.random.default_rng(0)
    outcome = np.arange(120) % 3 == 0
    rows = [
        {"model": model, "split": split, "case": f"{split}/{case}", "outcome": int(yes), "risk": risk}
        for model, gain in (("logreg", 0.5), ("transfer", 2.0))
        for split in ("val", "test")
        for case, (yes, risk) in enumerate(
            zip(outcome, 1 / (1 + np.exp(-generator.normal(gain * outcome - 1, 1))), strict=True)
        )
    ]
    found = evaluate(pd.DataFrame(rows), condition="malignant", draws=50)
    return dataclasses.replace(found, origins={"transfer": ORIGIN})


def test_an_evaluation_without_origins_has_no_such_key(evaluation):
    assert "origins" not in dataclasses.replace(evaluation, origins={}).to_json()
    assert evaluation.to_json()["origins"] == {"transfer": ORIGIN}


def test_origins_are_read_back_and_named(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path / "evaluation.json")
    again = read_evaluation(tmp_path / "evaluation.json")
    assert again.named("transfer") == f"transfer ({ORIGIN})"
    assert again.named("logreg") == "logreg"


def test_the_models_of_a_run_say_their_origins(tmp_path):
    records = {"cnn": {"training": {}}, "transfer": {"origin": ORIGIN}}
    (tmp_path / "models.json").write_text(json.dumps(records))
    assert origins_of(tmp_path) == {"transfer": ORIGIN}
    assert origins_of(tmp_path / "absent") == {}


def test_report_card_and_summary_name_the_origin_and_warn_of_fine_texture(evaluation, tmp_path):
    evaluation.table.to_csv(tmp_path / "predictions.csv", index=False)
    write_evaluation(evaluation, tmp_path / "evaluation.json")
    report, card = write_report(tmp_path).read_text(), write_model_card(tmp_path).read_text()
    assert subject_of(evaluation).main == "transfer"
    for text in (report, card):
        assert f"transfer ({ORIGIN})" in text
        assert TEXTURE.split(":")[0] in text
    assert '<option value="transfer" selected>transfer (pretrained on ImageNet)</option>' in report
    assert f"<td>transfer ({ORIGIN})" in report or f"transfer ({ORIGIN})</th>" in report
    assert f"Primary model: transfer ({ORIGIN}), threshold" in in_short(evaluation)


@pytest.mark.slow
def test_figures_say_the_origin_below_their_title(evaluation, monkeypatch, tmp_path):
    said = []
    from clineval.reporting import figures

    original = figures.lay_out
    monkeypatch.setattr(
        figures,
        "lay_out",
        lambda figure, heading, **more: said.append(heading) or original(figure, heading, **more),
    )
    write_figures(
        tmp_path, table=evaluation.table, evaluation=evaluation, curves=curves(evaluation.table, evaluation)
    )
    own = [heading for heading in said if heading.title.endswith(": transfer")]
    assert own
    assert all(ORIGIN in heading.subtitle for heading in own)
    assert not any(ORIGIN in heading.subtitle for heading in said if heading.title.endswith(": logreg"))
