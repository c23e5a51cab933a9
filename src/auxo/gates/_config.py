"""What all gates' options have in common."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from auxo.gates._interface import AbstractGate
from auxo.interfaces import StepPlan, View
from auxo.options import FamilyOptions


@dataclass(frozen=True, kw_only=True)
class GateConfig(FamilyOptions):
    """How the losses of several tasks are weighted; each gate has options of its own, nested in it as ``Config``."""

    family = "gates"

    @property
    def view(self) -> View | None:
        """A view of images that the gate wants beside those of the method; by default none."""
        return None

    @property
    def refused_tuning(self) -> Mapping[str, str]:
        """Options of :class:`auxo.optimizers.TuningConfig` that would change what the gate looks into; by default none.

        See :attr:`auxo.interfaces.MethodConfig.refused_tuning`.
        """
        return {}

    def reads_view_at(self, step: int) -> bool:
        """Whether the gate reads its view in a step of the stage, counted from 0; by default in all of them."""
        del step
        return True

    def plan_view(self, plan: StepPlan, step: int) -> StepPlan:
        """Return a method's plan without the gate's view, ``gate``, where it is not read.

        A step that reads it is of a kind of its own where others do not: such a step may cost much more.
        """
        if "gate" not in plan.batches or all(map(self.reads_view_at, (0, 1, step))):
            return plan
        if self.reads_view_at(step):
            return plan._replace(kind=f"{plan.kind}, gate")
        return plan._replace(batches={name: number for name, number in plan.batches.items() if name != "gate"})

    @property
    def needs_shared_features(self) -> bool:
        """Whether all tasks must be answered from the features that the gate is shown; by default not."""
        return False

    @abstractmethod
    def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> AbstractGate:
        """Return the gate, on the CPU; its first weights come from the stream ``init/gate``.

        Args:
            num_features: length of the vector the tasks are answered from.
            num_outputs: of each task, the number of answers it chooses from.
            seed: the run's seed.

        Raises:
            ConfigError: a package is missing, or the gate is of no use for so few tasks.
        """
