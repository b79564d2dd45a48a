"""Evaluation: what a checkpoint has lost against another, measured through the engine that will serve it."""

from quantize.evaluation.evaluate import evaluate
from quantize.evaluation.items import DEFAULT, EvaluationSet, read_set
from quantize.evaluation.loss import Loss

__all__ = ["DEFAULT", "EvaluationSet", "Loss", "evaluate", "read_set"]
