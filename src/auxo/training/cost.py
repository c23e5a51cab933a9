"""What training costs, told before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from auxo.data import Splits
from auxo.errors import ConfigError
from auxo.evaluation.operations import OperationCounter
from auxo.interfaces import MethodConfig
from auxo.random import derive_seed, global_seed
from auxo.runs.experiment import ExperimentConfig
from auxo.runtime import Runtime
from auxo.training.run import untrained_stages
from auxo.training.start import begin_stage, has_start
from auxo.training.trainer import StageTrainer
from auxo.training.tuning import name_kind

_MOST_STEPS = 100_000  # that are planned to count them, in less than a second


@dataclass(frozen=True)
class StageCost:
    """What a stage costs.

    Args:
        method: of the stage, whose plan says of what kinds its steps are.
        passes: batches of one pass over the images of each view.
        flops_per_step: floating-point operations of a step, by kind as in the records of a run; every update counts
            like the first of its kind.
        flops_at_start: floating-point operations before the first step.
        num_parameters: numbers in the method that are learned, its heads and whatever else it trains included.
    """

    method: MethodConfig
    passes: Mapping[str, int]
    flops_per_step: Mapping[str, int]
    flops_at_start: float
    num_parameters: int
    _sums: tuple[list[int], list[int]] = field(default_factory=lambda: ([0], [0]), init=False, repr=False)

    def count_flops(self, epochs: int, *, frozen: int = 0) -> int:
        """Return the operations of so many epochs, those before the first step left out.

        Epochs may differ, as where a loss is added after some of them. Those after a hundred thousand steps count like
        the last one before.

        Args:
            epochs: of the stage.
            frozen: of them, from the first on, with a frozen backbone.
        """
        return self._sum_epochs(min(frozen, epochs), is_frozen=True) + (
            self._sum_epochs(epochs, is_frozen=False) - self._sum_epochs(min(frozen, epochs), is_frozen=False)
        )

    def _sum_epochs(self, epochs: int, *, is_frozen: bool) -> int:
        """Return the operations of the first epochs."""
        sums, length = self._sums[is_frozen], self.method.steps_per_epoch(self.passes)
        planned = min(epochs, _count_planned(length))
        while len(sums) <= planned:
            first = (len(sums) - 1) * length
            kinds = [self.method.plan(step, self.passes).kind for step in range(first, first + length)]
            sums.append(sums[-1] + sum(self._read_step(name_kind(kind, is_frozen=is_frozen)) for kind in kinds))
        return sums[planned] + ((epochs - planned) * (sums[planned] - sums[planned - 1]) if epochs > planned else 0)

    def _read_step(self, kind: str) -> int:
        """Return the operations of a kind of step; of one that was not met, those of the costliest."""
        return self.flops_per_step.get(kind, max(self.flops_per_step.values()))


def measure_costs(config: ExperimentConfig, *, splits: Splits, runtime: Runtime) -> tuple[StageCost, ...]:
    """Return what each stage of a run costs, by one update of each kind on batches of the data.

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
            steps, passes = _measure_steps(trainer), trainer.feeds.passes
            costs.append(StageCost(trainer.stage.method, passes, steps, at_start, parameters))
    return tuple(costs)


def _begin_stage(trainer: StageTrainer) -> float:
    """Let a method begin a stage, and return how many operations it took."""
    if not has_start(trainer.method):
        return 0.0
    start = begin_stage(trainer.reader, trainer.splits, seed=trainer.seed, cache=None)
    trainer.take_prepared(start.prepared)
    return start.flops or 0.0


def _count_planned(steps_per_epoch: int) -> int:
    """Return the epochs whose steps are planned one by one to count them."""
    return max(1, _MOST_STEPS // steps_per_epoch)


def _measure_steps(trainer: StageTrainer) -> dict[str, int]:
    """Return the operations of a step of each kind, with a frozen backbone, too, where the stage has that."""
    first: dict[str, int] = {}
    length, own = trainer.steps_per_epoch, trainer.stage.epochs
    most = _count_planned(length)
    # A longer stage may come to kinds of step that this one is too short for.
    later = [own << more for more in range(most.bit_length()) if own << more < most]
    for epoch in (*range(min(own, most)), *later, most - 1):
        for step in range(epoch * length, (epoch + 1) * length):
            first.setdefault(trainer.feeds.plan(step).kind, step)
    found: dict[str, int] = {}
    for is_frozen in (True, False) if trainer.stage.tuning.freeze_epochs else (False,):
        for kind, step in first.items():
            found[name_kind(kind, is_frozen=is_frozen)] = _count_step(trainer, step, is_frozen=is_frozen)
    return found


def _count_step(trainer: StageTrainer, step: int, *, is_frozen: bool) -> int:
    """Take one step, and return how many operations it took."""
    trainer.feeds.open(step, step + 1)
    trainer.method.train()
    trainer.frozen_start.hold(0 if is_frozen else trainer.num_steps)
    plan = trainer.feeds.plan(step)
    # Kinds that begin after the stage's end count where it is made longer; its progress is then that of its end.
    trainer.state.step, trainer.state.kind = min(step, trainer.num_steps - 1), plan.kind
    batches, _ = trainer.feeds.read(plan)
    with OperationCounter() as counter:
        trainer.update_method(batches)
    return int(counter.get_total_flops()) * trainer.runtime.num_processes
