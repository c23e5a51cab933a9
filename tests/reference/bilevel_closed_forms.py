"""Two-level problems whose hypergradient is known in closed form, worked out by hand with direct solves in float64."""

from typing import NamedTuple

import torch
from torch import Tensor

from auxo.bilevel import BilevelProblem


class ClosedForm(NamedTuple):
    """A problem at its inner solution, and the hypergradient there.

    `exact(damping)` is the hypergradient of the damped linear system, `exact(0.0)` the true one.
    """

    problem: BilevelProblem
    params: dict[str, Tensor]
    hyper: dict[str, Tensor]
    inner: list
    outer: object
    exact: object
    hessian: Tensor


def spd(size, condition, seed=0):
    """A symmetric matrix with eigenvalues spread evenly on a log scale from 1/condition to 1."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    values = torch.logspace(-torch.tensor(float(condition)).log10().item(), 0, size, dtype=torch.float64)
    return basis @ torch.diag(values) @ basis.T


def quadratic(condition, size=12, seed=0):
    """``G = w'Aw/2 - w'Bh``, ``F = |w - t|^2/2 + |h|^2/4``: ``w* = inv(A) B h``, ``dF = B' inv(A) (w* - t) + h/2``."""
    generator = torch.Generator().manual_seed(seed + 1)
    matrix = spd(size, condition, seed)
    coupling = torch.randn(size, 3, generator=generator, dtype=torch.float64)
    target = torch.randn(size, generator=generator, dtype=torch.float64)
    hyper = torch.randn(3, generator=generator, dtype=torch.float64)
    solution = torch.linalg.solve(matrix, coupling @ hyper)

    def inner(params, hyper, buffers, batch):
        w = torch.cat([params["head"], params["tail"]])
        return w @ batch @ w / 2 - w @ (coupling @ hyper["h"]), buffers

    def outer(params, hyper, buffers, batch):
        w = torch.cat([params["head"], params["tail"]])
        return (w - batch).square().sum() / 2 + hyper["h"].square().sum() / 4, buffers

    def exact(damping=0.0):
        damped = matrix + damping * torch.eye(size, dtype=torch.float64)
        return {"h": coupling.T @ torch.linalg.solve(damped, solution - target) + hyper / 2}

    params = {"head": solution[:5].clone(), "tail": solution[5:].clone()}
    problem = BilevelProblem(inner_loss=inner, outer_loss=outer)
    return ClosedForm(problem, params, {"h": hyper}, [matrix], target, exact, matrix)


def ridge(size=6, samples=30, seed=0):
    """Ridge regression with a log penalty for each coefficient.

    ``w* = inv(A) X'y / n`` with ``A = X'X / n + diag(exp(h))``, so ``dF/dh_j = -exp(h_j) w*_j [inv(A) v]_j`` with
    ``v`` the validation gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    x, x_val = (torch.randn(samples, size, generator=generator, dtype=torch.float64) for _ in range(2))
    y, y_val = (torch.randn(samples, generator=generator, dtype=torch.float64) for _ in range(2))
    hyper = torch.linspace(-3.0, 0.0, size, dtype=torch.float64)
    matrix = x.T @ x / samples + torch.diag(hyper.exp())
    solution = torch.linalg.solve(matrix, x.T @ y / samples)

    def inner(params, hyper, buffers, batch):
        inputs, targets = batch
        penalty = (hyper["log_penalty"].exp() * params["w"].square()).sum() / 2
        return (inputs @ params["w"] - targets).square().mean() / 2 + penalty, buffers

    def outer(params, hyper, buffers, batch):
        inputs, targets = batch
        return (inputs @ params["w"] - targets).square().mean() / 2, buffers

    def exact(damping=0.0):
        slope = x_val.T @ (x_val @ solution - y_val) / samples
        damped = matrix + damping * torch.eye(size, dtype=torch.float64)
        return {"log_penalty": -hyper.exp() * solution * torch.linalg.solve(damped, slope)}

    problem = BilevelProblem(inner_loss=inner, outer_loss=outer)
    return ClosedForm(problem, {"w": solution}, {"log_penalty": hyper}, [(x, y)], (x_val, y_val), exact, matrix)
