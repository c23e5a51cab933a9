"""Evaluation: accuracy, calibration, corruptions, attacks, probes, the choice of a checkpoint, and tables of them."""

from auxo.evaluation.corruption import build_corruption_table, evaluate_under_corruptions
from auxo.evaluation.evaluate import EvaluationRow, evaluate, has_class_head, require_class_head
from auxo.evaluation.features import FeatureReader, LabelledFeatures
from auxo.evaluation.intervals import Interval, clustered_interval, wilson_interval
from auxo.evaluation.metrics import HeadMetrics, HeadScores, ReliabilityBin
from auxo.evaluation.observe import Observation, features_of, observe
from auxo.evaluation.probes import (
    PROBES,
    FittedProbe,
    ProbeName,
    evaluate_by_probes,
    evaluate_probes,
    fit_knn,
    fit_linear,
    fit_probes,
)
from auxo.evaluation.robustness import ATTACKS, AttackConfig, AttackName, adversarial_images, evaluate_under_attack
from auxo.evaluation.selection import Selection, select
from auxo.evaluation.tables import Compute, Table, accuracy_cell, build_table, to_csv, to_markdown, to_rich

__all__ = [
    "ATTACKS",
    "PROBES",
    "AttackConfig",
    "AttackName",
    "Compute",
    "EvaluationRow",
    "FeatureReader",
    "FittedProbe",
    "HeadMetrics",
    "HeadScores",
    "Interval",
    "LabelledFeatures",
    "Observation",
    "ProbeName",
    "ReliabilityBin",
    "Selection",
    "Table",
    "accuracy_cell",
    "adversarial_images",
    "build_corruption_table",
    "build_table",
    "clustered_interval",
    "evaluate",
    "evaluate_by_probes",
    "evaluate_probes",
    "evaluate_under_attack",
    "evaluate_under_corruptions",
    "features_of",
    "fit_knn",
    "fit_linear",
    "fit_probes",
    "has_class_head",
    "observe",
    "require_class_head",
    "select",
    "to_csv",
    "to_markdown",
    "to_rich",
    "wilson_interval",
]
