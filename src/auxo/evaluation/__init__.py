"""Evaluation: the reader of a trained model, corruptions, attacks, probes, shifts, and tables of what they measure."""

from auxo.evaluation.attacks import AttackConfig
from auxo.evaluation.corruption import build_corruption_table, evaluate_under_corruptions
from auxo.evaluation.groups import BINS, Grouping, group_images
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
from auxo.evaluation.shift import (
    STRENGTHS,
    evaluate_under_shift,
    find_usual,
    pair_values,
    shift_set,
    shift_weights,
)
from auxo.evaluation.shift_curve import ShiftCurve, ShiftPoint, build_shift_table
from auxo.evaluation.tables import (
    Table,
    begin_sentence,
    build_table,
    escape_markup,
    measure_cell,
    title_measure,
    to_csv,
    to_markdown,
    to_rich,
    write_measure,
)
from auxo.layers.modes import evaluation_mode

__all__ = [
    "BINS",
    "PROBES",
    "STRENGTHS",
    "AttackConfig",
    "FittedProbe",
    "Grouping",
    "Observation",
    "ProbeName",
    "Reader",
    "ShiftCurve",
    "ShiftPoint",
    "Table",
    "TargetedFeatures",
    "adversarial_images",
    "begin_sentence",
    "build_corruption_table",
    "build_shift_table",
    "build_table",
    "escape_markup",
    "evaluate_by_probes",
    "evaluate_probes",
    "evaluate_under_attack",
    "evaluate_under_corruptions",
    "evaluate_under_shift",
    "evaluation_mode",
    "features_of",
    "find_usual",
    "fit_knn",
    "fit_linear",
    "fit_probes",
    "group_images",
    "measure_cell",
    "observe",
    "pair_values",
    "shift_set",
    "shift_weights",
    "title_measure",
    "to_csv",
    "to_markdown",
    "to_rich",
    "write_measure",
]
