"""Evaluation: accuracy, calibration, corruptions, attacks, the choice of a checkpoint, and tables that show them."""

from auxo.evaluation.corruption import build_corruption_table, evaluate_under_corruptions
from auxo.evaluation.evaluate import EvaluationRow, evaluate
from auxo.evaluation.intervals import Interval, clustered_interval, wilson_interval
from auxo.evaluation.metrics import HeadMetrics, HeadScores
from auxo.evaluation.robustness import ATTACKS, AttackConfig, AttackName, adversarial_images, evaluate_under_attack
from auxo.evaluation.selection import Selection, select
from auxo.evaluation.tables import Compute, Table, build_table, to_markdown, to_rich

__all__ = [
    "ATTACKS",
    "AttackConfig",
    "AttackName",
    "Compute",
    "EvaluationRow",
    "HeadMetrics",
    "HeadScores",
    "Interval",
    "Selection",
    "Table",
    "adversarial_images",
    "build_corruption_table",
    "build_table",
    "clustered_interval",
    "evaluate",
    "evaluate_under_attack",
    "evaluate_under_corruptions",
    "select",
    "to_markdown",
    "to_rich",
    "wilson_interval",
]
