"""Evaluation: accuracy with intervals, calibration, the choice of a checkpoint, and the table that shows them."""

from auxo.evaluation.evaluate import EvaluationRow, evaluate
from auxo.evaluation.intervals import Interval, wilson_interval
from auxo.evaluation.metrics import HeadMetrics, HeadScores
from auxo.evaluation.selection import Selection, select
from auxo.evaluation.tables import Compute, Table, build_table, to_markdown, to_rich

__all__ = [
    "Compute",
    "EvaluationRow",
    "HeadMetrics",
    "HeadScores",
    "Interval",
    "Selection",
    "Table",
    "build_table",
    "evaluate",
    "select",
    "to_markdown",
    "to_rich",
    "wilson_interval",
]
