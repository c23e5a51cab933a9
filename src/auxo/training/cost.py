"""What training costs, told before it begins."""

from collections import Counter
from typing import NamedTuple

from auxo.data import Splits
from auxo.errors import ConfigError
from auxo.evaluation.operations import OperationCounter
from auxo.random import derive_seed, global_seed
from auxo.runs.experiment import ExperimentConfig
from auxo.runtime import Runtime
from auxo.training.run import untrained_stages
from auxo.training.start import begin_stage, has_start
from auxo.training.trainer import StageTrainer


class StageCost(NamedTuple):
    """What a stage costs.

    Args:
        flops_per_epoch: floating-point operations of an epoch, every update counted like the first of its kind, as in
            the records of a run.
        flops_at_start: floating-point operations before the first step.
        num_parameters: numbers in the method that are learned, its heads and whatever else it trains included.
    """

    flops_per_epoch: int
    flops_at_start: float
    num_parameters: int


def measure_costs(config: ExperimentConfig, *, splits: Splits, runtime: Runtime) -> tuple[StageCost, ...]:
    """Return what an epoch of each stage of a run costs, by one update of each kind on batches of the data.

    The methods are built for it and thrown away. Nothing is written.

    Args:
        config: the run.
        splits: the data of ``config.data`` and ``config.seed``.
        runtime: the device to measure on; one process.

    Raises:
        ConfigError: the network is compiled, so that its operations are not counted, or the last stage cannot tell
            classes.
        AuxoError: a stage cannot take the data.

    Cost: the start of each stage, and one update of each kind of step.
    """
    if config.runtime.compile:
        raise ConfigError("operations that can be counted", "a compiled network", "pass --runtime.no-compile")
    costs = []
    with global_seed(derive_seed(config.seed, "cost")):
        for trainer in untrained_stages(config, splits=splits, runtime=runtime):
            if trainer.stage.name == config.stages[-1].name:
                trainer.reader.require_head()
            at_start = _begin_stage(trainer)
            parameters = sum(parameter.numel() for parameter in trainer.method.parameters() if parameter.requires_grad)
            costs.append(StageCost(_flops_per_epoch(trainer), at_start, parameters))
    return tuple(costs)


def _begin_stage(trainer: StageTrainer) -> float:
    """Let a method begin a stage, and return how many operations it took."""
    if not has_start(trainer.method):
        return 0.0
    start = begin_stage(trainer.reader, trainer.splits, seed=trainer.seed, cache=None)
    trainer.take_prepared(start.prepared)
    return start.flops or 0.0


def _flops_per_epoch(trainer: StageTrainer) -> int:
    """Return the operations of an epoch: of the first update of each kind, times the updates of that kind."""
    plans = [trainer.feeds.plan(step) for step in range(trainer.steps_per_epoch)]
    counts = Counter(plan.kind for plan in plans)
    first = {kind: next(step for step, plan in enumerate(plans) if plan.kind == kind) for kind in counts}
    return sum(counts[kind] * _flops_of_step(trainer, step) for kind, step in first.items())


def _flops_of_step(trainer: StageTrainer, step: int) -> int:
    """Take one step, and return how many operations it took."""
    trainer.feeds.open(step, step + 1)
    trainer.method.train()
    plan = trainer.feeds.plan(step)
    trainer.state.step, trainer.state.kind = step, plan.kind
    batches, _ = trainer.feeds.read(plan)
    with OperationCounter() as counter:
        trainer.method.update(trainer.state, batches, trainer.runtime)
    return int(counter.get_total_flops()) * trainer.runtime.num_processes
