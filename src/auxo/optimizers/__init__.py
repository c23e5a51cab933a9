"""Optimisers and learning-rate schedules by configuration."""

from auxo.optimizers.config import LearningRate, OptimizerConfig
from auxo.optimizers.lars import Lars
from auxo.optimizers.rates import decay_by_layer, scale_rates
from auxo.optimizers.tuning import LOOKED_THROUGH, TuningConfig

__all__ = ["LOOKED_THROUGH", "Lars", "LearningRate", "OptimizerConfig", "TuningConfig", "decay_by_layer", "scale_rates"]
