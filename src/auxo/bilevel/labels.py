"""The derivative, in the soft labels of an auxiliary head, of what a step on them does to the loss of a main head."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from auxo.bilevel.hypergradient import HypergradResult, hypergradient
from auxo.bilevel.losses import WeightedLoss
from auxo.bilevel.module import FunctionalModule
from auxo.bilevel.problem import BilevelProblem, Mean, Params
from auxo.bilevel.solvers import AbstractSolver


class ClassBatch(NamedTuple):
    """A process's part of a batch.

    Args:
        images: of any shape, the batch first.
        classes: shape ``(n,)``; int64.
        share: images of this part over the mean number per process; 1 in a single process.
    """

    images: Tensor
    classes: Int[Tensor, " n"]
    share: float = 1.0


def differentiate_labels(
    network: nn.Module,
    labels: Float[Tensor, "n total"],
    *,
    num_classes: int,
    inner: ClassBatch,
    outer: ClassBatch,
    terms: Callable[[Tensor], Tensor],
    weight: float,
    solver: AbstractSolver,
    mean: Mean | None = None,
    seed: int = 0,
) -> HypergradResult:
    r"""Return the gradient in ``q`` of the class loss after a step on classes and soft labels.

    .. math:: F(q) = L_c(\theta - \alpha \nabla_\theta (L_c + w L_a(q))), \qquad
       L_a(q) = \frac1n \sum_{ik} q_{ik} t_{ik}(\theta),

    with the terms ``t`` of a loss such as ``-log p``. What the labels follow from, a network say, gets the gradient by
    one backward pass from ``q``, so that it is evaluated once.

    Args:
        network: maps images to logits: those of the classes first, then those of the labels. It stays as it is.
        labels: ``q``; detached.
        num_classes: how many logits are those of the classes.
        inner: what the step is made on; the labels are of its images.
        outer: what judges the step.
        terms: maps logits to the loss of each, were it the label; shape kept.
        weight: ``w``.
        solver: how to differentiate; its rate is the length of the step.
        mean: see :func:`auxo.bilevel.hypergradient`. The gradient is that of this process's labels: a network behind
            them has the average, over the processes, of what it gets from theirs.
        seed: of layers that draw random numbers.

    Returns:
        The gradient as ``grads["labels"]``, and how well it went.
    """
    net = FunctionalModule(network, seed=seed)

    def losses(params: Params, buffers: Params, batch: ClassBatch) -> tuple[Tensor, Params]:
        logits, buffers = net(params, buffers, batch.images)
        return torch.cat([terms(logits[:, :num_classes]), terms(logits[:, num_classes:])], dim=1), buffers

    def weights(hyper: Params, batch: ClassBatch) -> Tensor:
        classes = functional.one_hot(batch.classes, num_classes).to(hyper["labels"])
        return batch.share * torch.cat([classes, weight * hyper["labels"]], dim=1)

    def outer_loss(params: Params, hyper: Params, buffers: Params, batch: ClassBatch) -> tuple[Tensor, Params]:
        del hyper
        found, buffers = losses(params, buffers, batch)
        return batch.share * found.gather(1, batch.classes.unsqueeze(1)).mean(), buffers

    inner_loss = WeightedLoss(losses=losses, weights=weights)
    problem = BilevelProblem(inner_loss=inner_loss, outer_loss=outer_loss, local=frozenset({"labels"}))
    given = {"labels": labels}
    return hypergradient(
        problem, net.params, given, inner=[inner], outer=outer, solver=solver, buffers=net.buffers, mean=mean
    )
