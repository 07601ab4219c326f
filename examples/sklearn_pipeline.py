"""A scikit-learn pipeline as a model: clineval run --model pipeline=examples/sklearn_pipeline.py:make"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


def flat(images):
    """One row of pixels per image."""
    return images.reshape(len(images), -1).astype(np.float32)


def make(seed):
    """The model, not yet fitted. Its first step flattens the images; the rest is stored by skl2onnx."""
    return Pipeline(
        [
            ("flat", FunctionTransformer(flat)),
            ("scale", StandardScaler()),
            ("components", PCA(20, random_state=seed)),
            ("regression", LogisticRegression(C=0.1)),
        ]
    )
