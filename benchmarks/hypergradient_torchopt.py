"""The hypergradients as TorchOpt computes them: ``custom_root`` with its linear solvers, and ``MetaSGD``."""

from collections.abc import Callable, Sequence

import torch
import torchopt
from torch import Tensor
from torch.func import functional_call, grad

from hypergradient_problems import DAMPING, RATE, SCALE, Task, Workload, inner_loss, outer_loss

__all__ = ["prepare"]

Tensors = Sequence[Tensor]


def prepare(workload: Workload, task: Task) -> Callable[[], Tensors]:
    """Return what computes the gradients of the outer loss in the logits and in the log decay."""
    if task.kind == "unrolled":
        return _prepare_unrolled(workload)
    if task.kind == "cg":
        solve = torchopt.linear_solve.solve_cg(maxiter=task.count, rtol=0.0, atol=0.0, ridge=DAMPING)
    else:  # the first term takes no product
        solve = torchopt.linear_solve.solve_inv(ns=True, maxiter=task.count - 1, alpha=SCALE, ridge=DAMPING)
    return _prepare_implicit(workload, solve)


def _prepare_implicit(workload: Workload, solve: object) -> Callable[[], Tensors]:
    """Return what differentiates the parameters as the root of the inner gradient."""
    module, inner, outer = workload.module, workload.inner, workload.outer
    names = [name for name, _ in module.named_parameters()]
    params = tuple(param.detach() for param in module.parameters())
    hyper = (workload.logits, workload.log_decay)

    def forward(weights: Tensors, images: Tensor) -> Tensor:
        # Copies, because functorch refuses to change what it did not make, as batch normalisation does.
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        outputs: Tensor = functional_call(module, dict(zip(names, weights, strict=True)) | buffers, (images,))
        return outputs

    def objective(weights: Tensors, hyper: Tensors) -> Tensor:
        return inner_loss(forward(weights, inner.images), inner.labels, weights, *hyper)

    def keep(weights: Tensors, hyper: Tensors) -> Tensors:
        del hyper  # the root is a function of both
        return weights

    solver = torchopt.diff.implicit.custom_root(grad(objective), argnums=1, solve=solve)(keep)

    def implicit() -> Tensors:
        weights = solver(params, hyper)
        return torch.autograd.grad(outer_loss(forward(weights, outer.images), outer.labels), hyper)

    return implicit


def _prepare_unrolled(workload: Workload) -> Callable[[], Tensors]:
    """Return what differentiates through one step of the differentiable optimiser."""
    module, inner, outer = workload.module, workload.inner, workload.outer
    hyper = [workload.logits, workload.log_decay]
    optimizer = torchopt.MetaSGD(module, lr=RATE)
    state = [torchopt.extract_state_dict(target, by="reference") for target in (module, optimizer)]

    def unrolled() -> Tensors:
        optimizer.step(inner_loss(module(inner.images), inner.labels, module.parameters(), *hyper))
        gradients = torch.autograd.grad(outer_loss(module(outer.images), outer.labels), hyper)
        for target, content in zip((module, optimizer), state, strict=True):
            torchopt.recover_state_dict(target, content)
        return gradients

    return unrolled
