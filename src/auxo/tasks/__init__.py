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
from auxo.tasks._interface import (
    AbstractTask,
    Answer,
    Measure,
    Measured,
    Part,
    Reliability,
    Scores,
    Source,
    Target,
    TargetNumbers,
)
from auxo.tasks._intervals import Interval, auroc_interval, bootstrap_interval, clustered_interval, wilson_interval
from auxo.tasks.classification import Classification

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
    "Source",
    "Target",
    "TargetNumbers",
    "TaskConfig",
    "auroc_interval",
    "bootstrap_interval",
    "calibration_error",
    "clustered_interval",
    "count_confusion",
    "measure_answers",
    "part_answers",
    "score_answers",
    "sum_answers",
    "wilson_interval",
]
