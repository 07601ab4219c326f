"""Claim: a logistic regression of the user's takes at most 1.2 times as long as the built-in one.

Against: `logreg` in the same run, on the same images and folds (train, and five grouped folds of it). The
user's file does the same work with scikit-learn: per fold the penalty of smallest log loss among five, by
five grouped folds of its own. What it pays on top is a forked process, the passing of arrays, six graphs, and
scoring by ONNX Runtime one image at a time. Packages are loaded once per run, beside the audit, in the
process that is forked: ``start``, part of neither model, as the start of the program's own processes is not.

    python benchmarks/bench_user_model.py                       # phantom images, 28 pixels
    CLINEVAL_DATA=FOLDER python benchmarks/bench_user_model.py  # BreastMNIST

Trials: five runs of both models, each in a fresh process with --jobs 2, as `clineval run` trains them.
Processor seconds by model (child processes included), as a run's provenance has them; the ratio of the
medians is claimed. The last line is one JSON object.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from clineval.data import load_cohort
from clineval.data.audit import audit
from clineval.models.classifier import given_model
from clineval.models.ensemble import train_models
from clineval.settings import TrainingSettings

TRIALS = 5
FILE = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

def flat(images):
    return images.reshape(len(images), -1).astype(np.float64)

def regression(strength):
    return LogisticRegression(C=strength, max_iter=5000, tol=1e-6)

class Model:
    def __init__(self, seed):
        self.seed = seed

    def fit(self, images, outcome, groups):
        pixels, losses = flat(images), np.zeros(len(STRENGTHS))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=self.seed)
        for inside, outside in folds.split(pixels, outcome, groups):
            scaler = StandardScaler().fit(pixels[inside])
            known, left_out = scaler.transform(pixels[inside]), scaler.transform(pixels[outside])
            for row, strength in enumerate(STRENGTHS):
                log_odds = regression(strength).fit(known, outcome[inside]).decision_function(left_out)
                losses[row] += np.logaddexp(0, np.where(outcome[outside], -log_odds, log_odds)).sum()
        self.scaler = StandardScaler().fit(pixels)
        self.regression = regression(STRENGTHS[losses.argmin()]).fit(self.scaler.transform(pixels), outcome)

    def predict_proba(self, images):
        return self.regression.predict_proba(self.scaler.transform(flat(images)))

    def to_onnx(self, path):
        import onnx
        from onnx import TensorProto, helper, numpy_helper
        weights = self.regression.coef_[0] / self.scaler.scale_
        intercept = self.regression.intercept_ - self.scaler.mean_ @ weights
        side = int(len(weights) ** 0.5)
        of = lambda name, values: numpy_helper.from_array(np.asarray(values, np.float32), name)
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["images"], ["pixels"]),
                helper.make_node("Gemm", ["pixels", "weights", "intercept"], ["log_odds"]),
                helper.make_node("Sigmoid", ["log_odds"], ["risk"]),
            ],
            "logistic",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["cases", side, side])],
            [helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["cases", 1])],
            [of("weights", weights[:, None]), of("intercept", intercept)],
        )
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)

def make(seed):
    return Model(seed)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "mine.py").write_text(FILE)
        words = [sys.executable, __file__, f"{place}/mine.py:make"]
        trials = [json.loads(subprocess.check_output(words)) for _ in range(TRIALS)]
    medians = {name: statistics.median(trial[name] for trial in trials) for name in trials[0]}
    print(json.dumps({**medians, "ratio": round(medians["mine"] / medians["logreg"], 3), "trials": trials}))


def trial(source: str) -> None:
    cohort = load_cohort("auto")
    cohort = cohort.with_groups(audit(cohort).group_of)
    mine = given_model("mine", source, cohort, timeout=3600)
    models = train_models(
        cohort, settings=TrainingSettings(), names=("logreg", "mine"), given=(mine,), jobs=2
    )
    start = sum(os.times()[2:4])  # of processes that have ended: the one that was forked
    print(json.dumps({**{model.name: round(model.seconds, 2) for model in models}, "start": round(start, 2)}))


if __name__ == "__main__":
    trial(sys.argv[1]) if len(sys.argv) > 1 else main()
