"""The hypergradients as a plain loop computes them: forward and gradient made anew for every product.

So does the published code of BiSSL (https://github.com/NIPS25-16372/NIPS25_16372_BiSSL) in its conjugate gradients,
which are rendered here in their global form: the one with a step length per tensor solves no common system.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from hypergradient_problems import DAMPING, RATE, SCALE, Task, Workload, inner_loss, outer_loss

__all__ = ["prepare"]

Tensors = Sequence[Tensor]
Product = Callable[[Tensors], Tensors]


def prepare(workload: Workload, task: Task) -> Callable[[], Tensors]:
    """Return what computes the gradients of the outer loss in the logits and in the log decay."""
    module, inner, outer = workload.module, workload.inner, workload.outer
    params = [*module.parameters()]
    hyper = [workload.logits, workload.log_decay]

    def gradient() -> Tensors:
        loss = inner_loss(module(inner.images), inner.labels, params, *hyper)
        return torch.autograd.grad(loss, params, create_graph=True)

    def product(vector: Tensors) -> Tensors:
        images = torch.autograd.grad(gradient(), params, vector)
        return [image + DAMPING * part for image, part in zip(images, vector, strict=True)]

    def implicit() -> Tensors:
        right_hand_side = torch.autograd.grad(outer_loss(module(outer.images), outer.labels), params)
        solve = _conjugate_gradient if task.kind == "cg" else _neumann
        solution = solve(product, right_hand_side, task.count)
        return torch.autograd.grad(gradient(), hyper, [-part for part in solution])

    def unrolled() -> Tensors:
        moved = [param - RATE * slope for param, slope in zip(params, gradient(), strict=True)]
        names = [name for name, _ in module.named_parameters()]
        outputs = functional_call(module, dict(zip(names, moved, strict=True)), (outer.images,))
        return torch.autograd.grad(outer_loss(outputs, outer.labels), hyper)

    return unrolled if task.kind == "unrolled" else implicit


def _dot(left: Tensors, right: Tensors) -> Tensor:
    """Return the inner product of two vectors in pieces."""
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()


def _combine(left: Tensors, factor: Tensor | float, right: Tensors) -> Tensors:
    """Return ``left + factor * right``."""
    return [a + factor * b for a, b in zip(left, right, strict=True)]


def _conjugate_gradient(product: Product, right_hand_side: Tensors, iterations: int) -> Tensors:
    """Return the last iterate from zero."""
    solution: Tensors = [torch.zeros_like(part) for part in right_hand_side]
    residual = direction = right_hand_side
    norm = _dot(residual, residual)
    for _ in range(iterations):
        image = product(direction)
        step = norm / _dot(direction, image)
        solution = _combine(solution, step, direction)
        residual = _combine(residual, -step, image)
        previous, norm = norm, _dot(residual, residual)
        direction = _combine(residual, norm / previous, direction)
    return solution


def _neumann(product: Product, right_hand_side: Tensors, terms: int) -> Tensors:
    """Return the sum of that many terms."""
    term = total = right_hand_side
    for _ in range(terms - 1):
        term = _combine(term, -SCALE, product(term))
        total = _combine(total, 1.0, term)
    return [SCALE * part for part in total]
