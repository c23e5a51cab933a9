"""Epochs under which methods cost the same."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from auxo.errors import ConfigError
from auxo.optimizers import OptimizerConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, method_name
from auxo.runs.tree import replaced, walk
from auxo.training.cost import StageCost


class Plan(NamedTuple):
    """A run as long as its budget allows.

    Args:
        config: the run.
        flops: floating-point operations of its training.
    """

    config: ExperimentConfig
    flops: float


def total_flops(config: ExperimentConfig, costs: Sequence[StageCost]) -> float:
    """Return the floating-point operations of all stages, their starts included.

    Args:
        config: the run.
        costs: of each stage.
    """
    return sum(
        cost.flops_at_start + stage.epochs * cost.flops_per_epoch
        for stage, cost in zip(config.stages, costs, strict=True)
    )


def with_epochs(config: ExperimentConfig, epochs: int) -> ExperimentConfig:
    """Return the run with a number of epochs in its last stage, and those before it in proportion, at least one each.

    Raises:
        ConfigError: fewer than one epoch.
    """
    if epochs < 1:
        raise ConfigError("epochs >= 1", str(epochs), "train for at least one epoch")
    return _stretch_run(config, epochs / config.stages[-1].epochs)


def fit_to_budget(config: ExperimentConfig, costs: Sequence[StageCost], budget: float) -> Plan:
    """Return the run with the epochs of all stages in proportion, so that it costs as nearly as possible the budget.

    What the starts of stages cost is the same for any number of epochs, and is taken off the budget first.

    Every stage has at least one epoch. Learning rates stretch with the epochs: milestones and cosines are parts of the
    stage, and epochs of warm-up are multiplied like the others.

    Args:
        config: the run at its recipe's length.
        costs: of each stage; an epoch of at least one costs something.
        budget: floating-point operations, > 0.

    Raises:
        ConfigError: the operations of the run cannot be counted.
    """
    at_start = sum(cost.flops_at_start for cost in costs)
    own = total_flops(config, costs) - at_start
    if own <= 0:
        name = method_name(config.stages[-1])
        raise ConfigError(f"operations of {name} that can be counted", "none", "pass --budget recipe")
    factor = max(0.0, budget - at_start) / own
    factors = {factor}
    for stage in config.stages:
        below = int(factor * stage.epochs)
        factors |= {number / stage.epochs for number in (below, below + 1) if number}
    plans = [Plan(made, total_flops(made, costs)) for made in (_stretch_run(config, f) for f in sorted(factors))]
    return min(plans, key=lambda plan: abs(plan.flops - budget))


def _stretch_run(config: ExperimentConfig, factor: float) -> ExperimentConfig:
    """Return the run with epochs multiplied and rounded, at least one in every stage."""
    return (
        config
        if factor == 1
        else replace(config, stages=tuple(_stretch_stage(stage, factor) for stage in config.stages))
    )


def _stretch_stage(stage: StageConfig, factor: float) -> StageConfig:
    """Return a stage of more or fewer epochs."""
    epochs = max(1, round(factor * stage.epochs))
    warmups = {
        option.steps: min(epochs - 1, max(1, round(factor * option.owner.warmup_epochs)))
        for option in walk(stage.method)
        if isinstance(option.owner, OptimizerConfig) and option.field.name == "warmup_epochs" and option.value
    }
    frozen = round(factor * stage.tuning.freeze_epochs)
    tuning = replace(stage.tuning, freeze_epochs=frozen)
    return replace(stage, epochs=epochs, method=replaced(stage.method, dict(warmups)), tuning=tuning)
