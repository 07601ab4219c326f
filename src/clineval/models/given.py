"""What a user names as a model, as a model: an ONNX file, or a factory in Python."""

from pathlib import Path

from clineval.data.cohort import Cohort
from clineval.models.classifier import Given
from clineval.models.onnx_model import frozen_model
from clineval.models.user_model import python_model
from clineval.settings import GivenModel


def given_model(name: str, source: str, cohort: Cohort, *, timeout: float) -> Given:
    """The model that the user calls ``name``; checked against the cohort, nothing of it imported.

    Parameters
    ----------
    source : ``FILE.onnx``, ``FILE.py:FACTORY`` or ``package.module:FACTORY``.
    timeout : seconds that one training of a Python model may take.

    Raises
    ------
    InputError : there is no such file, or an ONNX file does not fit the record beside it or the cohort.
    """
    if source.lower().endswith(".onnx"):
        side, path = cohort.images.shape[1], Path(source)
        frozen = frozen_model(name, path, side=side, condition=cohort.condition)
        return Given(GivenModel(name, path.name, frozen.sha256), "onnx", frozen)
    made = python_model(name, source, timeout=timeout)
    return Given(GivenModel(name, Path(made.path).name, made.sha256, made.factory), "python", made)
