"""The hypergradients as higher computes them: through unrolled steps only."""

from collections.abc import Callable, Sequence

import higher
import torch
from torch import Tensor

from hypergradient_problems import RATE, Task, Workload, inner_loss, outer_loss

__all__ = ["prepare"]


def prepare(workload: Workload, task: Task) -> Callable[[], Sequence[Tensor]]:
    """Return what computes the gradients of the outer loss in the logits and in the log decay.

    Raises:
        ValueError: the task is not an unrolled one.
    """
    if task.kind != "unrolled":
        raise ValueError(f"higher has no solver for {task.title}")
    module, inner, outer = workload.module, workload.inner, workload.outer
    hyper = [workload.logits, workload.log_decay]
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)

    def unrolled() -> Sequence[Tensor]:
        with higher.innerloop_ctx(module, optimizer) as (network, stepper):
            stepper.step(inner_loss(network(inner.images), inner.labels, network.parameters(), *hyper))
            return torch.autograd.grad(outer_loss(network(outer.images), outer.labels), hyper)

    return unrolled
