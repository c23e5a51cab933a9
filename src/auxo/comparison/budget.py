"""Epochs under which methods cost the same."""

from dataclasses import replace
from typing import NamedTuple

from auxo.errors import ConfigError
from auxo.optimizers import OptimizerConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, method_name
from auxo.runs.tree import replaced, walk


class Plan(NamedTuple):
    """A run as long as its budget allows.

    Args:
        config: the run.
        flops: floating-point operations of its training.
    """

    config: ExperimentConfig
    flops: float


def total_flops(config: ExperimentConfig, flops_per_epoch: tuple[int, ...]) -> float:
    """Return the floating-point operations of all stages.

    Args:
        config: the run.
        flops_per_epoch: of each stage.
    """
    return float(sum(stage.epochs * flops for stage, flops in zip(config.stages, flops_per_epoch, strict=True)))


def with_epochs(config: ExperimentConfig, epochs: int) -> ExperimentConfig:
    """Return the run with a number of epochs in its last stage, and those before it in proportion, at least one each.

    Raises:
        ConfigError: fewer than one epoch.
    """
    if epochs < 1:
        raise ConfigError("epochs >= 1", str(epochs), "train for at least one epoch")
    return _stretched(config, epochs / config.stages[-1].epochs)


def fit_to_budget(config: ExperimentConfig, flops_per_epoch: tuple[int, ...], budget: float) -> Plan:
    """Return the run with the epochs of all stages in proportion, so that it costs as nearly as possible the budget.

    Every stage has at least one epoch. Learning rates stretch with the epochs: milestones and cosines are parts of the
    stage, and epochs of warm-up are multiplied like the others.

    Args:
        config: the run at its recipe's length.
        flops_per_epoch: of each stage; at least one is above 0.
        budget: floating-point operations, > 0.

    Raises:
        ConfigError: the operations of the run cannot be counted.
    """
    own = total_flops(config, flops_per_epoch)
    if own <= 0:
        name = method_name(config.stages[-1])
        raise ConfigError(f"operations of {name} that can be counted", "none", "pass --budget recipe")
    factor = budget / own
    factors = {factor}
    for stage in config.stages:
        below = int(factor * stage.epochs)
        factors |= {number / stage.epochs for number in (below, below + 1) if number}
    plans = [
        Plan(made, total_flops(made, flops_per_epoch)) for made in (_stretched(config, f) for f in sorted(factors))
    ]
    return min(plans, key=lambda plan: abs(plan.flops - budget))


def _stretched(config: ExperimentConfig, factor: float) -> ExperimentConfig:
    """Return the run with epochs multiplied and rounded, at least one in every stage."""
    return config if factor == 1 else replace(config, stages=tuple(_longer(stage, factor) for stage in config.stages))


def _longer(stage: StageConfig, factor: float) -> StageConfig:
    """Return a stage of more or fewer epochs."""
    epochs = max(1, round(factor * stage.epochs))
    warmups = {
        option.steps: min(epochs - 1, max(1, round(factor * option.owner.warmup_epochs)))
        for option in walk(stage.method)
        if isinstance(option.owner, OptimizerConfig) and option.field.name == "warmup_epochs" and option.value
    }
    return replace(stage, epochs=epochs, method=replaced(stage.method, dict(warmups)))
