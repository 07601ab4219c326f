"""What a user names as a model, as a model: an ONNX file, or a factory in Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clineval.data.cohort import Cohort
from clineval.models.classifier import Given
from clineval.models.onnx_model import frozen_model
from clineval.models.user_model import callable_model, python_model
from clineval.settings import GivenModel

ModelSource = str | Callable[[int], Any]


def given_model(
    name: str, source: ModelSource, cohort: Cohort, *, timeout: float, check_seed: bool = False
) -> Given:
    """The model that the user calls ``name``; checked against the cohort, nothing of it imported.

    Parameters
    ----------
    source : ``FILE.onnx``, ``FILE.py:FACTORY``, ``package.module:FACTORY``, or the factory itself.
    timeout : seconds that one training of a Python model may take.
    check_seed : train the first fold of a Python model twice, to see that its seed gives the same risks.

    Raises
    ------
    InputError : there is no such file, or an ONNX file does not fit the record beside it or the cohort.
    """
    if isinstance(source, str) and source.lower().endswith(".onnx"):
        side, path = cohort.images.shape[1], Path(source)
        frozen = frozen_model(name, path, side=side, condition=cohort.condition)
        return Given(GivenModel(name, path.name, frozen.sha256), "onnx", frozen)
    if isinstance(source, str):
        made, call = python_model(name, source, timeout=timeout, check_seed=check_seed), None
    else:
        made, leads_to_it = callable_model(name, source, timeout=timeout, check_seed=check_seed)
        call = None if leads_to_it else source
    about = GivenModel(name, Path(made.path).name or None, made.sha256 or None, made.factory)
    return Given(about, "python", made, call)
