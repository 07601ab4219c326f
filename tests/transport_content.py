"""What ``transport.json`` holds, made from simulated cases, for the tests of what is said and drawn of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from clineval.evaluation import evaluate, write_evaluation
from clineval.evaluation.external import transport
from clineval.evaluation.records import Point, Primary
from clineval.files import to_plain
from clineval.predictions import check_predictions, write_predictions

POINTS = (Point("half", 0.5, "fixed"), Point("sensitivity_90", 0.2, "train_out_of_fold"))
PRIMARY = Primary("combined", 0.2, "train_out_of_fold", "Model: named. Threshold: chosen.")


def table(split: str, count: int, *, seed: int, shift: float = 0.0, signal: float = 2.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    log_odds = random.normal(-0.5, signal, count)
    about = {"split": split, "case": [f"{split}/{row}" for row in range(count)]}
    about["outcome"] = (random.random(count) < expit(log_odds)).astype(int)
    frames = [
        pd.DataFrame({"model": model, **about, "risk": expit(log_odds * scale + shift)})
        for model, scale in (("logreg", 0.4), ("cnn", 1.0), ("combined", 1.1))
    ]
    return pd.concat(frames, ignore_index=True)


def content(*, tested: bool = True, shift: float = -1.0, seen: int = 0) -> dict:
    """Internal test cases (160) and an external cohort (200) whose log odds are shifted."""
    internal = table("test", 160, seed=1)
    if not tested:
        internal = internal[internal["model"] == "logreg"].assign(model="another")
    external = check_predictions(table("hospital-b", 200, seed=2, shift=shift, signal=1.0))
    points = dict.fromkeys(("logreg", "cnn", "combined"), POINTS)
    models = to_plain(transport(check_predictions(internal), external, points=points, draws=20))
    flat = (np.ones(256) / 256).tolist()
    distance = {"lower_quartile": 0.9, "median": 1.0, "upper_quartile": 1.1, "limit": 1.2}
    auc = {model: record["external_auc"] for model, record in models.items()}
    return {
        "schema": 1,
        "external": "hospital-b",
        "group_column": "patient",
        "internal": "BreastMNIST",
        "run": {
            "folder": "results", "program": "clineval 0.1.0", "commit": {"hash": "ab" * 20, "clean": True},
            "side": 28, "split": "official", "models_sha256": "cd" * 32,
        },
        "condition": "malignant",
        "level": 0.95,
        "steps": [
            {"step": "middle square", "uses_grey_levels": False, "auc": auc},
            {"step": "a further look: grey levels matched", "uses_grey_levels": True, "auc": auc},
        ],
        "models": models,
        "images": {
            "grey_levels": {"training": flat, "external": flat},
            "mean_grey": {"training": 84.2, "external": 60.7},
            "sd_grey": {"training": 52.0, "external": 47.0},
            "unlike": 30, "unlike_texture": 20, "unlike_grey": 12,
            "texture_distance": distance, "grey_distance": distance,
        },
        "seen_in_training": [
            {"case": f"im{row}", "training_case": f"train/{row}", "similarity": 1.0, "identical": True}
            for row in range(seen)
        ],
    }  # fmt: skip


def write_validation(folder: Path, **named) -> Path:
    """What of a validation's folder the words are written from: table, evaluation and transport.json."""
    folder.mkdir(parents=True)
    frame = table("hospital-b", 200, seed=2, shift=-1.0, signal=1.0)
    frame["Width"] = frame["case"].str.len() % 2
    frame["device"] = np.where(frame["case"].str[-1].isin(list("01234")), "scanner 1", "scanner 2")
    frame["histology"] = np.where(frame["outcome"] == 1, "carcinoma", "cyst")
    write_predictions(check_predictions(frame), folder / "predictions.csv")
    points = dict.fromkeys(("logreg", "cnn", "combined"), POINTS)
    asked = {"condition": "malignant", "points": points, "primary": PRIMARY, "draws": 20}
    found = evaluate(check_predictions(frame), **asked)
    write_evaluation(found, folder / "evaluation.json")
    (folder / "transport.json").write_text(json.dumps(content(**named)), encoding="utf-8")
    return folder
