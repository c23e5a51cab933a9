"""Two-level problems whose exact hypergradient is known in closed form, in float64."""

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from auxo.bilevel import (
    AbstractSolver,
    BilevelProblem,
    ExactHead,
    HypergradientWarning,
    HypergradResult,
    LinearHeadLoss,
    Params,
    WeightedLoss,
    hypergradient,
)

__all__ = ["SIZE", "Case", "quadratic", "ridge"]

SIZE = 100
"""Number of inner parameters."""


@dataclass(frozen=True)
class Case:
    """A problem whose exact hypergradient is known.

    Args:
        title: heads its table.
        problem: with the one hyper-parameter ``h``.
        solution: inner parameters at the inner minimum.
        hyper: of shape ``(size,)``.
        exact: derivative of the outer loss in it.
        rate: reciprocal of the largest eigenvalue of the inner Hessian.
        head: the same problem as a linear head, if it is one, with inner parameters of the head's shape.
    """

    title: str
    problem: BilevelProblem
    solution: Params
    hyper: Tensor
    exact: Tensor
    rate: float
    head: tuple[BilevelProblem, Params] | None = None

    def solve(self, solver: AbstractSolver, start: Params | None = None) -> HypergradResult:
        """Return the hypergradient from ``start``, by default the inner solution."""
        problem, params = self.problem, self.solution if start is None else start
        if isinstance(solver, ExactHead) and self.head is not None:
            problem, params = self.head
        with warnings.catch_warnings():  # an answer that should not be used is drawn all the same
            warnings.simplefilter("ignore", HypergradientWarning)
            return hypergradient(
                problem, params, {"h": self.hyper}, inner=[None], outer=None, solver=solver, on_failure="warn"
            )

    def error(self, result: HypergradResult) -> float:
        """Return the relative error in the Euclidean norm, at least the rounding unit."""
        error = (result.grads["h"] - self.exact).norm() / self.exact.norm()
        return max(float(error), torch.finfo(torch.float64).eps)

    def cosine(self, result: HypergradResult) -> float:
        """Return the cosine of the angle to the exact hypergradient."""
        return float(torch.cosine_similarity(result.grads["h"], self.exact, dim=0))


def quadratic(condition: float) -> Case:
    """Return ``w'Aw / 2 - w'Bh`` with eigenvalues of ``A`` spread evenly on a log scale up to 1."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    basis = torch.linalg.qr(draw(SIZE, SIZE)).Q
    matrix = basis * torch.logspace(-math.log10(condition), 0, SIZE, dtype=torch.float64) @ basis.T
    mixing, hyper, goal = draw(SIZE, SIZE) / SIZE**0.5, draw(SIZE), draw(SIZE)
    solution = torch.linalg.solve(matrix, mixing @ hyper)
    pull = draw(SIZE)  # the outer gradient at the inner solution
    problem = BilevelProblem(
        inner_loss=lambda p, h, b, _: (p["w"] @ (matrix @ p["w"]) / 2 - p["w"] @ (mixing @ h["h"]), b),
        outer_loss=lambda p, h, b, _: (
            ((p["w"] - solution + pull).square().sum() + (h["h"] - goal).square().sum()) / 2,
            b,
        ),
    )
    exact = hyper - goal + mixing.T @ torch.linalg.solve(matrix, pull)
    title = f"quadratic, condition number {condition:g}"
    return Case(title, problem, {"w": solution}, hyper, exact, rate=1.0)


def ridge() -> Case:
    """Return ridge regression with a log penalty per coefficient, and the same as a head on scaled features."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    count, decay = 200, math.exp(-4)  # of the intercept; the other penalties are around it
    size = SIZE - 1
    spread = torch.arange(1, size + 1, dtype=torch.float64).reciprocal()
    truth = draw(size)
    features = [draw(count, size) * spread for _ in range(2)]
    targets = [x @ truth + 0.1 * draw(count) for x in features]
    hyper = 0.5 * draw(size) - 4
    inputs, others = (torch.cat([x, x.new_ones(count, 1)], dim=1) for x in features)

    def fit(params: Params, inputs: Tensor, level: int) -> Tensor:
        return (inputs @ params["w"] - targets[level]).square().mean() / 2

    def penalties(h: Tensor) -> Tensor:
        return torch.cat([h.exp(), h.new_tensor([decay])])

    problem = BilevelProblem(
        inner_loss=WeightedLoss(
            losses=lambda p, b, _: (p["w"].square() / 2, b),
            weights=lambda h, _: SIZE * penalties(h["h"]),
            rest=lambda p, _, __: fit(p, inputs, 0),
        ),
        outer_loss=lambda p, _, b, __: (fit(p, others, 1), b),
    )

    def scaled(level: int, h: Params) -> Tensor:
        return features[level] * (-h["h"] / 2).exp() * math.sqrt(decay)

    head = BilevelProblem(
        inner_loss=LinearHeadLoss(
            features=lambda h, b, _: (scaled(0, h), b),
            targets=lambda _: targets[0].unsqueeze(1),
            criterion="least_squares",
            weight_decay=decay,
        ),
        outer_loss=lambda p, h, b, _: (
            (scaled(1, h) @ p["weight"][0, :-1] + p["weight"][0, -1] - targets[1]).square().mean() / 2,
            b,
        ),
    )
    matrix = inputs.T @ inputs / count + penalties(hyper).diag()
    solution = torch.linalg.solve(matrix, inputs.T @ targets[0] / count)
    slope = others.T @ (others @ solution - targets[1]) / count
    exact = -hyper.exp() * (solution * torch.linalg.solve(matrix, slope))[:-1]
    eigenvalues = torch.linalg.eigvalsh(matrix)
    title = f"ridge regression, a log penalty per coefficient (condition number {eigenvalues[-1] / eigenvalues[0]:.0f})"
    start = torch.zeros(1, SIZE, dtype=torch.float64)
    return Case(title, problem, {"w": solution}, hyper, exact, float(1 / eigenvalues[-1]), (head, {"weight": start}))
