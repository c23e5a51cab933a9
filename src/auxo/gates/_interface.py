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
        weighed: of the tasks that the gate weighs, in its order; with places after the tasks where all tasks have them.
        primary: of the primary task, whether the gate weighs it or not.
    """

    weighed: Float[Tensor, "samples tasks *places"]
    primary: Losses


@dataclass(frozen=True)
class GateStep:
    """What a gate may know of a step beside the losses and the features.

    The method's loss is ``scale`` times the gate's, plus ``primary_loss`` where the gate does not weigh the primary
    task.

    Args:
        batch: says how the samples are shared out among processes; their number is a multiple of its images', the same
            multiple in every process.
        runtime: averages over the processes; every process must call.
        progress: part of the stage that is done, in [0, 1).
        number: of the step in the stage, from 0.
        epoch: number of the epoch that the step is part of, from 0.
        learns: whether the gate may change its state. It may not where it is asked for its weights once more within a
            step, as an attack does.
        primary: number of the primary task among those that are weighed; ``None`` where it is not among them.
        primary_loss: the primary task's mean loss, made with :meth:`auxo.types.Batch.mean`, whether it is weighed or
            not; attached to the graph of the losses. ``None`` where the method does not say.
        scale: what the method multiplies the gate's loss by.
        shared: the trainable weights that all losses follow from, by name; none where the method does not say.
        heads: the trainable weights that only some of the losses follow from, by other names than those shared.
        train: a batch, as :attr:`losses_at` takes it, of the images that the method trains on in this step. ``None``
            where the method does not say.
        own: a batch of the view that the gate's options ask for; ``None`` where they ask for none.
        losses_at: the losses at other values of the weights in :attr:`weights`, on any batch of the method's images,
            with a graph to the values; those left out are as they are. Equal batches have equal pretexts within a step.
            Running statistics stay, and there is no autocast, so that derivatives of second order are exact. ``None``
            where the method does not say.
    """

    batch: Batch
    runtime: Runtime
    progress: float = 0.0
    number: int = 0
    epoch: int = 0
    learns: bool = True
    primary: int | None = None
    primary_loss: Float[Tensor, ""] | None = None
    scale: float = 1.0
    shared: Mapping[str, nn.Parameter] = field(default_factory=dict)
    heads: Mapping[str, nn.Parameter] = field(default_factory=dict)
    train: Batch | None = None
    own: Batch | None = None
    losses_at: Callable[[Mapping[str, Tensor], Batch], TaskLosses] | None = None

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """All weights that some loss follows from, those shared first."""
        return {**self.shared, **self.heads}

    def gradients(self, losses: Float[Tensor, "samples tasks"]) -> Float[Tensor, "tasks size"]:
        """Return the gradient of each task's mean loss over the joined batch in all shared weights, detached.

        Args:
            losses: attached to the graph, which is kept.

        Raises:
            ConfigError: the method does not say which weights are shared.

        Cost: one backward pass for each task.
        """
        return torch.stack([self.gradient(self.batch.mean(column)) for column in losses.unbind(1)])

    def gradient(self, loss: Float[Tensor, ""]) -> Float[Tensor, " size"]:
        """Return the gradient of a loss in all shared weights, averaged over the processes; detached.

        Args:
            loss: made with :meth:`auxo.types.Batch.mean`, such as :attr:`primary_loss`; attached to the graph, which is
                kept.

        Raises:
            ConfigError: the method does not say which weights are shared.

        Cost: one backward pass.
        """
        if not self.shared:
            raise ConfigError("a method that says which weights its losses share", "none", "choose another gate")
        own = torch.autograd.grad(
            loss, [*self.shared.values()], retain_graph=True, materialize_grads=True, allow_unused=True
        )
        mean = [gradient for gradient in self.runtime.mean(own) if gradient is not None]
        return torch.cat([gradient.reshape(-1) for gradient in mean])


class AbstractGate(nn.Module, ABC):
    """Weights the losses of tasks that share their features.

    Weights follow one convention, that of a mean over the tasks: the gates that choose (softmax) sum to 1, and the
    others weight every one of M tasks by 1/M where they have no reason to prefer any.

    What a gate carries from step to step, beside its parameters, is in buffers: they are part of a checkpoint.

    Attributes:
        reads_places: whether it takes losses with places after the tasks, where all tasks have them; others are given
            the means over the places.
    """

    reads_places: bool = False

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
