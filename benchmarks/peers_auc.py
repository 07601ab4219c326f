"""What the peers answer and how long they take; run by bench_auc.py with the peers' own Python.

Reads from a .npz file of samples NAME_outcome, NAME_a, NAME_b; prints one JSON object.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np

PACKAGES = ("confidenceinterval", "MLstatkit", "scikit-learn", "numpy")


def timed(call, *, trials=3):
    """The answer, and the least CPU seconds of some trials; an exception is an answer too."""
    seconds, answer = [], None
    for _ in range(trials):
        start = time.process_time()
        try:
            answer = call()
        except Exception as error:  # what a user would see
            return f"{type(error).__name__}: {error}", None
        seconds.append(time.process_time() - start)
        if seconds[-1] > 5:
            break
    return answer, min(seconds)


def plain(answer):
    """The answer in JSON's words."""
    if isinstance(answer, dict):
        return {str(key): plain(value) for key, value in answer.items()}
    if isinstance(answer, (tuple, list)):
        return [plain(value) for value in answer]
    return float(answer) if isinstance(answer, (int, float, np.number)) else str(answer)


def answers(samples, name):
    from confidenceinterval import roc_auc_score
    from MLstatkit import Delong_test
    from sklearn.metrics import roc_auc_score as sklearn_auc

    outcome = samples[f"{name}_outcome"].astype(int)
    a, b = samples[f"{name}_a"], samples[f"{name}_b"]
    calls = {
        "confidenceinterval": lambda: roc_auc_score(outcome, a),
        "MLstatkit": lambda: Delong_test(outcome, a, b),
        "scikit-learn": lambda: sklearn_auc(outcome, a),
    }
    return {peer: dict(zip(("answer", "seconds"), timed(call), strict=True)) for peer, call in calls.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    samples = np.load(sys.argv[1])
    names = sorted({key.rpartition("_")[0] for key in samples})
    result = {name: {peer: {"answer": plain(got["answer"]), "seconds": got["seconds"]}
              for peer, got in answers(samples, name).items()} for name in names}  # fmt: skip
    print(json.dumps({"versions": {name: version(name) for name in PACKAGES}, "samples": result}))
