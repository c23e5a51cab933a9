"""A linear softmax head as a lower level: its optimum given the features, and the derivative of that optimum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from auxo.bilevel.linear import ConjugateGradient, Operator

_LENGTHS = 12  # of the steps that a Newton move is tried at: 1, 1/2, ... 1/2048


class HeadSolution(NamedTuple):
    """The optimum of the lower level.

    Args:
        weight: shape ``(classes, dim + 1)``, the bias in the last column; detached.
        residual: norm of the lower level's gradient at ``weight``, which is zero at the optimum.
    """

    weight: Float[Tensor, "classes dim_and_bias"]
    residual: Float[Tensor, ""]


def keep(tensor: Tensor) -> Tensor:
    """Return the tensor: the average over a single process."""
    return tensor


@dataclass(frozen=True)
class SoftmaxHeadProblem:
    r"""Softmax regression on given features, kept near a known head.

    With features ``h_i`` (a one appended for the bias), labels ``y_i`` and the head ``W_0`` to stay near,

    .. math:: W^*(h) = \arg\min_W \frac1n \sum_i \mathrm{CE}(W h_i, y_i) + \frac{\rho}{2} \|W - W_0\|^2 .

    The objective is strongly convex for ``rho > 0``, so the optimum is unique and smooth in the features. Its
    derivative follows from the implicit function theorem: for any ``L`` evaluated at the optimum,

    .. math:: \frac{d}{dh} L(W^*(h)) = -\frac{\partial}{\partial h} \langle \nabla_W \ell(W^*, h), V \rangle,
       \qquad (\nabla^2_W \ell + \rho I)\, V = \nabla_W L(W^*),

    with ``l`` the mean cross-entropy and ``V`` held constant. Both the Hessian products and the pairing are written
    out, so no graph of a gradient is built.

    Args:
        features: shape ``(n, dim)``; attached or not.
        labels: shape ``(n,)``; int64.
        anchor: ``W_0`` with its bias in the last column; shape ``(classes, dim + 1)``; detached.
        proximal: ``rho > 0``; attached or not.
        share: this process's number of features over the mean number per process; 1 in a single process.
        average: averages a tensor over the processes; the identity in a single process.
    """

    features: Float[Tensor, "n dim"]
    labels: Int[Tensor, " n"]
    anchor: Float[Tensor, "classes dim_and_bias"]
    proximal: float | Float[Tensor, ""]
    share: float = 1.0
    average: Callable[[Tensor], Tensor] = keep

    def solve(self, *, newton_steps: int, iterations: int) -> HeadSolution:
        """Return the optimum by Newton's method from the anchor, with conjugate gradients and a line search.

        Args:
            newton_steps: at least 1; quadratic convergence once near.
            iterations: of conjugate gradients in each step.
        """
        with torch.no_grad():
            inputs = with_ones(self.features)
            targets = functional.one_hot(self.labels, len(self.anchor)).to(inputs.dtype)
            weight = self.anchor.to(inputs.dtype)
            for _ in range(newton_steps):
                gradient = self._compute_gradient(inputs, targets, weight)
                solver = ConjugateGradient(iterations=iterations, tolerance=1e-8, measure_residual=False)
                move = solver.solve(self._make_hessian(inputs, weight), gradient)
                weight = weight - self._best_step(inputs, weight, move.solution) * move.solution
            residual = self._compute_gradient(inputs, targets, weight).norm()
        return HeadSolution(weight, residual)

    def response(
        self, solution: HeadSolution, outer_gradient: Float[Tensor, "classes dim_and_bias"], *, iterations: int
    ) -> Float[Tensor, ""]:
        """Return a scalar whose gradient in the features and in ``rho`` is the implicit part of an outer gradient.

        Args:
            solution: from :meth:`solve`.
            outer_gradient: gradient of the outer loss in the weight at the solution, averaged over the processes.
            iterations: of conjugate gradients.

        Returns:
            ``-<grad_W l(W*, h) + rho (W* - W_0), V>``, attached. Only its gradient has a meaning.
        """
        inputs = with_ones(self.features)
        hessian = self._make_hessian(inputs.detach(), solution.weight)
        solver = ConjugateGradient(iterations=iterations, tolerance=1e-8, measure_residual=False)
        adjoint = solver.solve(hessian, outer_gradient.to(inputs.dtype))
        errors = torch.softmax(inputs @ solution.weight.T, dim=1)
        errors = errors - functional.one_hot(self.labels, len(self.anchor)).to(inputs.dtype)
        paired = (errors * (inputs @ adjoint.solution.T)).sum(dim=1).mean() * self.share
        offset = solution.weight - self.anchor.to(inputs.dtype)
        return -paired - self.proximal * (offset * adjoint.solution).sum()

    def _compute_gradient(self, inputs: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Gradient of the objective in the weight."""
        errors = torch.softmax(inputs @ weight.T, dim=1) - targets
        gradient = self.average(errors.T @ inputs * (self.share / len(inputs)))
        return gradient + self.proximal * (weight - self.anchor.to(weight.dtype))

    def _best_step(self, inputs: Tensor, weight: Tensor, move: Tensor) -> Tensor:
        """Return the length, among powers of a half, at which the objective is least along ``-move``.

        A full step where Newton's method converges quadratically; a shorter one where it would overshoot. All lengths
        are tried at once, since logits are linear in the length.
        """
        lengths = torch.pow(0.5, torch.arange(_LENGTHS, device=weight.device)).to(weight.dtype)
        logits = inputs @ weight.T - lengths.view(-1, 1, 1) * (inputs @ move.T)
        labels = self.labels.expand(_LENGTHS, -1)
        losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(dim=1)
        offset = weight - self.anchor.to(weight.dtype)
        distances = (offset - lengths.view(-1, 1, 1) * move).square().sum(dim=(1, 2))
        objective = self.average(losses * self.share) + self.proximal / 2 * distances
        is_least = objective <= objective.min() * (1 + 16 * torch.finfo(weight.dtype).eps)
        return lengths[is_least.int().argmax()]  # the longest of those that rounding cannot tell apart

    def _make_hessian(self, inputs: Tensor, weight: Tensor) -> Operator:
        """Return the product with the Hessian of the objective at ``weight``."""
        probs = torch.softmax(inputs @ weight.T, dim=1)

        def product(direction: Tensor) -> Tensor:
            moved = inputs @ direction.T
            moved = probs * (moved - (probs * moved).sum(dim=1, keepdim=True))
            return self.average(moved.T @ inputs * (self.share / len(inputs))) + self.proximal * direction

        return Operator(product)


def with_ones(features: Tensor) -> Tensor:
    """Append a one to every feature vector; in float32 at least."""
    if features.dtype.itemsize < 4:
        features = features.float()
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)
