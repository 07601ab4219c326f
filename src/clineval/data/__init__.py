"""Images, outcomes and splits: this package knows files, and no model or metric.

What is named below is loaded when it is first used: one image's risk needs no downloads and no phantom.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clineval.data.cohort import Cohort
    from clineval.data.medmnist import load_cohort
    from clineval.data.medmnist_files import Unavailable

_MODULE_OF = {"Cohort": "cohort", "Unavailable": "medmnist_files", "load_cohort": "medmnist"}

__all__ = ["Cohort", "Unavailable", "load_cohort"]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"clineval.data.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'clineval.data' has no attribute {name!r}")
