"""Evaluation: the reader of a trained model, corruptions, attacks, probes, and tables of what they measure."""

from auxo.evaluation.attacks import AttackConfig
from auxo.evaluation.corruption import build_corruption_table, evaluate_under_corruptions
from auxo.evaluation.images import evaluation_mode
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
from auxo.evaluation.reader import Reader, TargetedFeatures
from auxo.evaluation.robustness import adversarial_images, evaluate_under_attack
from auxo.evaluation.tables import Table, build_table, measure_cell, title_measure, to_csv, to_markdown, to_rich

__all__ = [
    "PROBES",
    "AttackConfig",
    "FittedProbe",
    "Observation",
    "ProbeName",
    "Reader",
    "Table",
    "TargetedFeatures",
    "adversarial_images",
    "build_corruption_table",
    "build_table",
    "evaluate_by_probes",
    "evaluate_probes",
    "evaluate_under_attack",
    "evaluate_under_corruptions",
    "evaluation_mode",
    "features_of",
    "fit_knn",
    "fit_linear",
    "fit_probes",
    "measure_cell",
    "observe",
    "title_measure",
    "to_csv",
    "to_markdown",
    "to_rich",
]
