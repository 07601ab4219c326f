"""clineval: from medical images to an evaluation that a clinician can check.

Importing this package touches neither disk nor network and loads nothing heavy; what is
named below is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clineval.evaluation import Evaluation, evaluate
    from clineval.pipeline.predict import predict
    from clineval.pipeline.run import OwnImages, run
    from clineval.pipeline.serve import load_run
    from clineval.pipeline.validate import validate
    from clineval.predictions import read_predictions
    from clineval.settings import DataSettings, OwnSettings, RunSettings, TrainingSettings, ValidationSettings

_MODULE_OF = {
    "evaluate": "clineval.evaluation",
    "Evaluation": "clineval.evaluation",
    "read_predictions": "clineval.predictions",
    "load_run": "clineval.pipeline.serve",
    "predict": "clineval.pipeline.predict",
    "validate": "clineval.pipeline.validate",
    "run": "clineval.pipeline.run",
    "OwnImages": "clineval.pipeline.run",
    "DataSettings": "clineval.settings",
    "OwnSettings": "clineval.settings",
    "RunSettings": "clineval.settings",
    "TrainingSettings": "clineval.settings",
    "ValidationSettings": "clineval.settings",
}

__all__ = [
    "DataSettings",
    "Evaluation",
    "OwnImages",
    "OwnSettings",
    "RunSettings",
    "TrainingSettings",
    "ValidationSettings",
    "__version__",
    "evaluate",
    "load_run",
    "predict",
    "read_predictions",
    "run",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("clineval.files").program_version()
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'clineval' has no attribute {name!r}")
