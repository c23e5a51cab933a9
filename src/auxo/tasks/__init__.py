"""Tasks: what is predicted, with its targets, losses, measures and answers. A module's name is the task's name."""

from auxo.tasks._answers import (
    ANSWERS_MEASURE,
    calibration_error,
    count_confusion,
    measure_answers,
    part_answers,
    score_answers,
    sum_answers,
)
from auxo.tasks._config import TaskConfig
from auxo.tasks._found import Answer, Measure, Measured, Part, Reliability, blend_images, paint_numbers
from auxo.tasks._interface import AbstractTask, Scores, Source, Target, TargetNumbers
from auxo.tasks._intervals import (
    Interval,
    auroc_interval,
    bootstrap_interval,
    bootstrap_sums,
    bootstrap_weighted,
    clustered_interval,
    combine_intervals,
    wilson_interval,
)
from auxo.tasks._p_values import holm, holm_along, permutation_p_value
from auxo.tasks._palette import choose_colours
from auxo.tasks._weighted import measure_weighted_mean, weighted_auroc
from auxo.tasks.classification import Classification
from auxo.tasks.segmentation import Segmentation

__all__ = [
    "ANSWERS_MEASURE",
    "AbstractTask",
    "Answer",
    "Classification",
    "Interval",
    "Measure",
    "Measured",
    "Part",
    "Reliability",
    "Scores",
    "Segmentation",
    "Source",
    "Target",
    "TargetNumbers",
    "TaskConfig",
    "auroc_interval",
    "blend_images",
    "bootstrap_interval",
    "bootstrap_sums",
    "bootstrap_weighted",
    "calibration_error",
    "choose_colours",
    "clustered_interval",
    "combine_intervals",
    "count_confusion",
    "holm",
    "holm_along",
    "measure_answers",
    "measure_weighted_mean",
    "paint_numbers",
    "part_answers",
    "permutation_p_value",
    "score_answers",
    "sum_answers",
    "weighted_auroc",
    "wilson_interval",
]
