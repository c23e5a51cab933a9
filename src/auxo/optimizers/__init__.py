"""Optimisers and learning-rate schedules by configuration."""

from auxo.optimizers.config import LearningRate, OptimizerConfig
from auxo.optimizers.lars import Lars

__all__ = ["Lars", "LearningRate", "OptimizerConfig"]
