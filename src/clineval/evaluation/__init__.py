"""A table's statistics side by side: Evaluation, to and from JSON."""

from clineval.evaluation.evaluate import evaluate
from clineval.evaluation.operating_points import Learnt
from clineval.evaluation.records import Evaluation, Point, Primary, read_evaluation, write_evaluation

__all__ = ["Evaluation", "Learnt", "Point", "Primary", "evaluate", "read_evaluation", "write_evaluation"]
