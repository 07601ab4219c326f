"""A table's statistics side by side: Evaluation, to and from JSON."""

from clineval.evaluation.record import Point
from clineval.evaluation.result import Evaluation, read_evaluation, write_evaluation

__all__ = ["Evaluation", "Point", "evaluate", "read_evaluation", "write_evaluation"]


def __getattr__(name: str) -> object:
    if name == "evaluate":
        from clineval.evaluation.evaluate import evaluate

        return evaluate
    raise AttributeError(name)
