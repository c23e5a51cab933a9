"""The hypergradients as auxo computes them."""

from collections.abc import Callable, Sequence

from torch import Tensor

from auxo.bilevel import (
    SGD,
    AbstractSolver,
    BilevelProblem,
    ConjugateGradient,
    FunctionalModule,
    Implicit,
    Neumann,
    Params,
    Unrolled,
    hypergradient,
)
from hypergradient_problems import DAMPING, RATE, SCALE, Batch, Task, Workload, inner_loss, outer_loss

__all__ = ["prepare"]


def prepare(workload: Workload, task: Task) -> Callable[[], Sequence[Tensor]]:
    """Return what computes the gradients of the outer loss in the logits and in the log decay."""
    network = FunctionalModule(workload.module)
    solvers: dict[str, AbstractSolver] = {
        "cg": Implicit(linear=ConjugateGradient(iterations=task.count, damping=DAMPING)),
        "neumann": Implicit(linear=Neumann(terms=task.count, scale=SCALE, damping=DAMPING)),
        "unrolled": Unrolled(steps=task.count, optimizer=SGD(rate=RATE)),
    }

    def lower(params: Params, hyper: Params, buffers: Params, batch: Batch) -> tuple[Tensor, Params]:
        outputs, buffers = network(params, buffers, batch.images)
        return inner_loss(outputs, batch.labels, params.values(), hyper["logits"], hyper["log_decay"]), buffers

    def upper(params: Params, hyper: Params, buffers: Params, batch: Batch) -> tuple[Tensor, Params]:
        del hyper  # only the inner loss reads them
        outputs, buffers = network(params, buffers, batch.images)
        return outer_loss(outputs, batch.labels), buffers

    problem = BilevelProblem(inner_loss=lower, outer_loss=upper)
    params, buffers = network.params, network.buffers
    hyper = {"logits": workload.logits, "log_decay": workload.log_decay}

    def solve() -> Sequence[Tensor]:
        grads = hypergradient(
            problem,
            params,
            hyper,
            inner=[workload.inner],
            outer=workload.outer,
            buffers=buffers,
            solver=solvers[task.kind],
        ).grads
        return [grads["logits"], grads["log_decay"]]

    return solve
