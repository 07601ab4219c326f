"""A table's statistics side by side: Evaluation, to and from JSON."""

from clineval.evaluation.evaluate import evaluate
from clineval.evaluation.record import Point
from clineval.evaluation.result import Evaluation, read_evaluation, write_evaluation

__all__ = ["Evaluation", "Point", "evaluate", "read_evaluation", "write_evaluation"]
