"""What a gate is: from the losses of several tasks and the features they were answered from to one loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import ConfigError
from auxo.runtime import Runtime
from auxo.types import Batch, Losses


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


class TaskLosses(NamedTuple):
    """The losses of the samples of a batch.

    Args:
        weighed: of the tasks that the gate weighs, in its order.
        primary: of the primary task, whether the gate weighs it or not.
    """

    weighed: Float[Tensor, "samples tasks"]
    primary: Losses


@dataclass(frozen=True)
class GateStep:
    """What a gate may know of a step beside the losses and the features.

    Args:
        batch: says how the samples are shared out among processes; their number is a multiple of its images', the same
            multiple in every process.
        runtime: averages over the processes; every process must call.
        progress: part of the stage that is done, in [0, 1).
        primary: number of the primary task among those that are weighed; ``None`` where it is not among them.
        shared: the weights that all losses follow from, by name; none where the method does not say.
        own: a batch of the view that the gate's options ask for; ``None`` where they ask for none.
        losses_at: the losses at other values of the shared weights, on any batch of the method's images, with a graph
            to the weights; equal batches have equal pretexts within a step. ``None`` where the method does not say.
    """

    batch: Batch
    runtime: Runtime
    progress: float = 0.0
    primary: int | None = None
    shared: Mapping[str, nn.Parameter] = field(default_factory=dict)
    own: Batch | None = None
    losses_at: Callable[[Mapping[str, Tensor], Batch], TaskLosses] | None = None

    def gradients(self, losses: Float[Tensor, "samples tasks"]) -> Float[Tensor, "tasks size"]:
        """Return the gradient of each task's mean loss over the joined batch in all shared weights, detached.

        Args:
            losses: attached to the graph, which is kept.

        Raises:
            ConfigError: the method does not say which weights are shared.

        Cost: one backward pass for each task.
        """
        if not self.shared:
            raise ConfigError("a method that says which weights its losses share", "none", "choose another gate")
        parameters = list(self.shared.values())
        rows = []
        for column in losses.unbind(1):
            own = torch.autograd.grad(
                self.batch.mean(column), parameters, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            mean = [gradient for gradient in self.runtime.mean(own) if gradient is not None]
            rows.append(torch.cat([gradient.reshape(-1) for gradient in mean]))
        return torch.stack(rows)


class AbstractGate(nn.Module, ABC):
    """Weights the losses of tasks that share their features.

    Weights follow one convention, that of a mean over the tasks: the gates that choose (softmax) sum to 1, and the
    others weight every one of M tasks by 1/M where they have no reason to prefer any.
    """

    @abstractmethod
    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the weighted loss and the weights.

        Args:
            losses: nats of every sample at every task, attached to the graph; at least float32.
            features: what the tasks were answered from, attached to the graph of ``losses``.
            step: what else is known.
        """

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parameters that no gradient reaches, by name, each with the reason; none by default."""
        return {}
