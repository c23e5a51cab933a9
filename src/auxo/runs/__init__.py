"""Runs: what one is, and what its folder holds."""

from auxo.runs.document import config_digest, from_json, load_recipe, to_json
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig, Transfer, method_name
from auxo.runs.history import Evaluated, LoggedMetrics, RunHistory
from auxo.runs.model import TrainedModel, load_model
from auxo.runs.networks import Networks
from auxo.runs.results import Compute, EvaluationRow, Selection, first_head

__all__ = [
    "Compute",
    "Evaluated",
    "EvaluationRow",
    "ExperimentConfig",
    "LoggedMetrics",
    "Networks",
    "RunHistory",
    "Selection",
    "StageConfig",
    "TrainedModel",
    "TrainingConfig",
    "Transfer",
    "config_digest",
    "first_head",
    "from_json",
    "load_model",
    "load_recipe",
    "method_name",
    "to_json",
]
