"""What a gate is: from the losses of several tasks and the features they were answered from to one loss."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from auxo.runtime import Runtime
from auxo.types import Batch


class GateResult(NamedTuple):
    """One loss made of several, and how much each counted.

    Args:
        loss: scalar attached to the graph. Its average over the processes, and that of its gradient, are those of one
            process that holds the joined batch.
        weights: shape ``(tasks,)``; detached; the weight of each task's mean loss over the joined batch, or of that
            loss over the loss of guessing where the gate takes those; equal in all processes.
    """

    loss: Float[Tensor, ""]
    weights: Float[Tensor, " tasks"]


class AbstractGate(nn.Module, ABC):
    """Weights the losses of tasks that share their features.

    Weights follow one convention, that of a mean over the tasks: the gates that choose (softmax) sum to 1, and the
    others weight every one of M tasks by 1/M where they have no reason to prefer any.
    """

    @abstractmethod
    def forward(
        self,
        losses: Float[Tensor, "samples tasks"],
        features: Float[Tensor, "samples dim"],
        *,
        batch: Batch,
        runtime: Runtime,
    ) -> GateResult:
        """Return the weighted loss and the weights.

        Args:
            losses: nats of every sample at every task, attached to the graph; at least float32.
            features: what the tasks were answered from, attached to the graph of ``losses``.
            batch: says how the samples are shared out among processes; their number is a multiple of its images', the
                same multiple in every process.
            runtime: averages over the processes; every process must call.
        """

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parameters that no gradient reaches, by name, each with the reason; none by default."""
        return {}
