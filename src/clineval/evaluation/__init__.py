"""A table's statistics side by side: Evaluation, to and from JSON."""

from clineval.evaluation.codec import Evaluation, read_evaluation, write_evaluation
from clineval.evaluation.evaluate import evaluate
from clineval.evaluation.operating_points import Learnt
from clineval.evaluation.records import Point, Primary

__all__ = ["Evaluation", "Learnt", "Point", "Primary", "evaluate", "read_evaluation", "write_evaluation"]
