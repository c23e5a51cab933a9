"""The hypergradient of one SGD step as auxo computes it from a forward pass of tangents."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from auxo.bilevel import BilevelProblem, ForwardMode, FunctionalModule, Params, WeightedLoss, hypergradient
from hypergradient_problems import RATE, Batch, Task, Workload, outer_loss

__all__ = ["prepare"]


def prepare(workload: Workload, task: Task) -> Callable[[], Sequence[Tensor]]:
    """Return what computes the gradients of the outer loss in the logits and in the log decay.

    Raises:
        ValueError: the task is not one unrolled step.
    """
    if task != Task("unrolled", 1):
        raise ValueError(f"ForwardMode is for one SGD step, not for {task.title}")
    network = FunctionalModule(workload.module)
    count = len(workload.logits)

    def losses(params: Params, buffers: Params, batch: Batch) -> tuple[Tensor, Params]:
        outputs, buffers = network(params, buffers, batch.images)
        squares = torch.stack([weight.square().sum() for weight in params.values()])
        samples = functional.cross_entropy(outputs, batch.labels, reduction="none")
        return torch.cat([samples, 0.5 * squares.sum().unsqueeze(0)]), buffers

    def weights(hyper: Params, batch: Batch) -> Tensor:
        del batch  # one weight per sample, in their order
        # The loss is the mean over the samples and the penalty: one entry more than the mean in the problem.
        shares = [hyper["logits"].sigmoid() / count, hyper["log_decay"].exp().unsqueeze(0)]
        return (count + 1) * torch.cat(shares)

    def upper(params: Params, hyper: Params, buffers: Params, batch: Batch) -> tuple[Tensor, Params]:
        del hyper  # only the weights of the inner loss read them
        outputs, buffers = network(params, buffers, batch.images)
        return outer_loss(outputs, batch.labels), buffers

    problem = BilevelProblem(inner_loss=WeightedLoss(losses=losses, weights=weights), outer_loss=upper)
    params, buffers = network.params, network.buffers
    hyper = {"logits": workload.logits, "log_decay": workload.log_decay}
    solver = ForwardMode(rate=RATE)

    def solve() -> Sequence[Tensor]:
        inner, outer = [workload.inner], workload.outer
        grads = hypergradient(problem, params, hyper, inner=inner, outer=outer, buffers=buffers, solver=solver).grads
        return [grads["logits"], grads["log_decay"]]

    return solve
