"""A table's statistics side by side: Evaluation, to and from JSON."""

from clineval.evaluation.evaluate import evaluate
from clineval.evaluation.record import Point
from clineval.evaluation.result import Evaluation, read_evaluation, write_evaluation
from clineval.evaluation.sealed import Learnt

__all__ = ["Evaluation", "Learnt", "Point", "evaluate", "read_evaluation", "write_evaluation"]
