"""The hypergradients as Betty computes them: two problems wired by its engine, the upper one's ``backward``."""

from collections.abc import Callable, Sequence

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem, IterativeProblem
from torch import Tensor, nn

from hypergradient_problems import RATE, SCALE, Task, Workload, inner_loss, outer_loss, proximal

__all__ = ["prepare"]

_Batch = tuple[Tensor, Tensor]


class _Hyper(nn.Module):
    """The hyper-parameters."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.logits = nn.Parameter(workload.logits.detach())
        self.log_decay = nn.Parameter(workload.log_decay.detach())


class _Outer(ImplicitProblem):
    """The upper level; ``self.inner`` is the lower one, set by the engine."""

    def training_step(self, batch: _Batch) -> Tensor:
        return outer_loss(self.inner(batch[0]), batch[1])


class _Inner(ImplicitProblem):
    """The lower level with the proximal term that takes the place of damping."""

    def training_step(self, batch: _Batch) -> Tensor:
        hyper = self.outer.module
        loss = inner_loss(self.module(batch[0]), batch[1], self.parameters(), hyper.logits, hyper.log_decay)
        return loss + proximal(self.parameters(), self.anchors)


class _Unrolled(IterativeProblem):
    """The lower level whose step is differentiated."""

    def training_step(self, batch: _Batch) -> Tensor:
        hyper = self.outer.module
        return inner_loss(self(batch[0]), batch[1], self.params, hyper.logits, hyper.log_decay)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.fmodule(self.params, self.buffers, images)
        return outputs


def prepare(workload: Workload, task: Task) -> Callable[[], Sequence[Tensor]]:
    """Return what computes the gradients of the outer loss in the logits and in the log decay."""
    options: dict[str, object] = {"type": task.kind, f"{task.kind}_iterations": task.count, "first_order": True}
    if task.kind == "neumann":  # the first term takes no product
        options |= {"neumann_iterations": task.count - 1, "neumann_alpha": SCALE}
    if task.kind == "unrolled":
        options = {"first_order": False, "unroll_steps": task.count}
    lower = _Unrolled if task.kind == "unrolled" else _Inner
    module = _Hyper(workload)
    sgd = [torch.optim.SGD(part.parameters(), lr=RATE) for part in (workload.module, module)]
    inner = lower("inner", Config(**options), workload.module, sgd[0], train_data_loader=[workload.inner])
    is_first_order = task.kind != "unrolled"
    config = Config(retain_graph=True, first_order=is_first_order)
    outer = _Outer("outer", config, module, sgd[1], train_data_loader=[workload.outer])
    dependencies = {"u2l": {outer: [inner]}, "l2u": {inner: [outer]}}
    Engine([outer, inner], EngineConfig(strategy="cpu"), dependencies)
    inner.anchors = [param.detach().clone() for param in workload.module.parameters()]

    def hypergradient() -> Sequence[Tensor]:
        if not is_first_order:
            start = inner.params
            inner.one_step_descent()
        inner.cur_batch = workload.inner
        loss, _ = outer.get_loss(workload.outer)
        params = outer.trainable_parameters()
        outer.backward(loss, params, outer.paths, create_graph=False, retain_graph=True, allow_unused=True)
        gradients = [param.grad for param in params]
        outer.zero_grad()
        if not is_first_order:
            inner.params = start
        return gradients

    return hypergradient
