"""Results folders made from simulated cases, for the tests of what is drawn and written from them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from clineval.data.audit import audit
from clineval.data.cohort import explore
from clineval.data.phantom import phantom
from clineval.evaluation import evaluate, read_evaluation, write_evaluation
from clineval.evaluation.curves import curves
from clineval.predictions import read_predictions, write_predictions

DRAWS = 60  # bootstrap resamples: enough for bands, quick enough for tests


@dataclass(frozen=True)
class Curve:
    """A learning curve as training records it."""

    seed: int
    train_loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    kept_epoch: int
    fired: bool


CURVES = (
    Curve(0, (0.6, 0.4, 0.3, 0.2), (0.7, 0.5, 0.45, 0.6), kept_epoch=3, fired=True),
    Curve(1, (0.6, 0.5, 0.3), (0.7, 0.6, 0.5), kept_epoch=3, fired=False),
)


def table(
    models: Sequence[str] = ("logreg", "cnn"),
    *,
    cases: int = 156,
    events: int = 42,
    splits: Sequence[str] = ("train_out_of_fold", "val", "test"),
    seed: int = 0,
) -> pd.DataFrame:
    """Predictions of models that get better from first to last; a fifth of test has copies in train."""
    rng = np.random.default_rng(seed)
    frames = []
    for split in splits:
        outcome = np.arange(cases) < events
        shared = rng.normal(size=cases)
        names = [f"{split}/{index}" for index in range(cases)]
        groups = [
            f"train_out_of_fold/{i}" if split == "test" and i % 5 == 0 else n for i, n in enumerate(names)
        ]
        for strength, model in enumerate(models, start=1):
            logit = -1.6 + (1 + 0.3 * strength) * (2 * outcome + 0.5 * shared + rng.normal(size=cases))
            columns = {"model": model, "split": split, "case": names, "group": groups}
            frames.append(pd.DataFrame({**columns, "outcome": outcome.astype(int), "risk": expit(logit)}))
    return pd.concat(frames, ignore_index=True)


def write_results(
    folder: Path, frame: pd.DataFrame, *, condition: str = "malignant", **settings: object
) -> Path:
    """A folder with ``predictions.csv`` and ``evaluation.json``, as after ``clineval evaluate``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(frame, folder / "predictions.csv")
    read = read_predictions(folder / "predictions.csv")
    evaluation = evaluate(read, condition=condition, **{"draws": DRAWS, **settings})
    write_evaluation(evaluation, folder / "evaluation.json")
    return folder


def phantom_run(folder: Path) -> dict[str, object]:
    """A small phantom run's folder and the records that its figures are drawn from."""
    folder.mkdir(parents=True, exist_ok=True)
    cohort = phantom(cases=(60, 20, 30), seed=3)
    findings = audit(cohort)
    cohort = cohort.with_groups(findings.group_of)
    rng = np.random.default_rng(1)
    frames = []
    for strength, model in enumerate(("logreg", "cnn"), start=1):
        risk = expit(-1.5 + 2 * strength * cohort.outcome + rng.normal(size=len(cohort)))
        columns = {"split": cohort.split, "case": cohort.case, "group": cohort.group}
        frame = pd.DataFrame({"model": model, **columns, "outcome": cohort.outcome.astype(int), "risk": risk})
        train = frame[frame["split"] == "train"]
        frames += [frame, train.assign(split="train_out_of_fold")]
    write_results(folder, pd.concat(frames, ignore_index=True), condition=cohort.condition)
    read = read_predictions(folder / "predictions.csv")
    evaluation = read_evaluation(folder / "evaluation.json")
    exploration = explore(cohort)
    (folder / "audit.json").write_text(json.dumps(findings.to_json()), encoding="utf-8")
    (folder / "exploration.json").write_text(json.dumps(exploration.to_json()), encoding="utf-8")
    record = {
        "schema": 1,
        "program": "clineval",
        "settings": {"data": {"size": 28}},
        "data": asdict(cohort.source),
    }
    (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    return {
        "table": read,
        "evaluation": evaluation,
        "curves": curves(read, evaluation),
        "exploration": exploration,
        "audit": findings,
        "cohort": cohort,
        "learning_curves": CURVES,
    }
