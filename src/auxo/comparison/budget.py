"""Epochs under which methods cost the same."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from auxo.errors import ConfigError
from auxo.optimizers import OptimizerConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, method_name
from auxo.runs.tree import Steps, replaced, walk
from auxo.training.cost import StageCost

_WARMUPS = ("warmup_epochs", "warmup_steps")
_LARGEST = 2.0**100
_HALVINGS = 60


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
    return _count_at(config, costs, 1.0)


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
    stage, and warm-up and epochs of a frozen backbone are multiplied like the others.

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
    ends = _find_factors(config, costs, budget)
    factors = {
        number / stage.epochs
        for stage in config.stages
        for factor in ends
        for number in (int(factor * stage.epochs), int(factor * stage.epochs) + 1)
        if number
    }
    # Whole epochs of a stage first: of equal runs, that one has the warm-up in proportion.
    plans = [
        Plan(made, total_flops(made, costs)) for made in (_stretch_run(config, f) for f in (*sorted(factors), *ends))
    ]
    return min(plans, key=lambda plan: abs(plan.flops - budget))


def _find_factors(config: ExperimentConfig, costs: Sequence[StageCost], budget: float) -> tuple[float, float]:
    """Return two factors on all epochs, close to each other, between which operations come up to a budget.

    Operations are not in proportion to epochs: some of a stage's are cheaper than others, and each has at least one.
    """
    low, high = 0.0, 1.0
    while _count_at(config, costs, high) < budget and high < _LARGEST:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _count_at(config, costs, middle) < budget else (low, middle)
    return low, high


def _count_at(config: ExperimentConfig, costs: Sequence[StageCost], factor: float) -> float:
    """Return the operations of a run whose epochs are multiplied."""
    lengths = [(_stretch_epochs(stage, factor), cost) for stage, cost in zip(config.stages, costs, strict=True)]
    return sum(cost.flops_at_start + cost.count_flops(epochs, frozen=frozen) for (epochs, frozen), cost in lengths)


def _stretch_epochs(stage: StageConfig, factor: float) -> tuple[int, int]:
    """Return a stage's epochs, at least one, and those of a frozen backbone, both multiplied and rounded."""
    return max(1, round(factor * stage.epochs)), round(factor * stage.tuning.freeze_epochs)


def _stretch_run(config: ExperimentConfig, factor: float) -> ExperimentConfig:
    """Return the run with epochs multiplied and rounded, at least one in every stage."""
    return (
        config
        if factor == 1
        else replace(config, stages=tuple(_stretch_stage(stage, factor) for stage in config.stages))
    )


def _stretch_stage(stage: StageConfig, factor: float) -> StageConfig:
    """Return a stage of more or fewer epochs."""
    epochs, frozen = _stretch_epochs(stage, factor)
    warmups: dict[Steps, object] = {}
    for option in walk(stage.method):
        if isinstance(option.owner, OptimizerConfig) and option.field.name in _WARMUPS and option.value:
            length = max(1, round(factor * cast("int", option.value)))
            warmups[option.steps] = min(epochs - 1, length) if option.field.name == "warmup_epochs" else length
    tuning = replace(stage.tuning, freeze_epochs=frozen)
    return replace(stage, epochs=epochs, method=replaced(stage.method, warmups), tuning=tuning)
