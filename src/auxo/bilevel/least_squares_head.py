"""A linear least-squares head as a lower level: its optimum given the features, and the derivative of that optimum."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.softmax_head import HeadSolution, keep, with_ones


@dataclass(frozen=True)
class LeastSquaresHeadProblem:
    r"""Ridge regression on given features.

    .. math:: W^*(h) = \arg\min_W \frac{1}{2n} \sum_i \|W h_i - y_i\|^2 + \frac{\rho}{2} \|W\|^2 ,

    solved by one factorisation of the features' second-moment matrix, which serves the derivative too.

    Args:
        features: shape ``(n, dim)``; attached or not. A one is appended to each for the bias.
        targets: shape ``(n, outputs)``; floating point.
        proximal: ``rho > 0``; attached or not.
        share: this process's number of features over the mean number per process; 1 in a single process.
        average: averages a tensor over the processes; the identity in a single process.
    """

    features: Float[Tensor, "n dim"]
    targets: Float[Tensor, "n outputs"]
    proximal: float | Float[Tensor, ""]
    share: float = 1.0
    average: Callable[[Tensor], Tensor] = keep

    def solve(self) -> HeadSolution:
        """Return the optimum; the residual is that of the normal equations."""
        with torch.no_grad():
            inputs = with_ones(self.features)
            scale = self.share / len(inputs)
            moments = self.average(inputs.T @ inputs * scale)
            right_hand_side = self.average(inputs.T @ self.targets.to(inputs.dtype) * scale)
            weight = torch.linalg.solve(self._add_damping(moments), right_hand_side)
            residual = (self._add_damping(moments) @ weight - right_hand_side).norm()
        return HeadSolution(weight.T, residual)

    def response(
        self, solution: HeadSolution, outer_gradient: Float[Tensor, "outputs dim_and_bias"]
    ) -> Float[Tensor, ""]:
        """Return a scalar whose gradient in the features and in ``rho`` is the implicit part of an outer gradient.

        Args:
            solution: from :meth:`solve`.
            outer_gradient: gradient of the outer loss in the weight at the solution, averaged over the processes.
        """
        inputs = with_ones(self.features)
        with torch.no_grad():
            moments = self.average(inputs.T @ inputs * (self.share / len(inputs)))
            adjoint: Tensor = torch.linalg.solve(self._add_damping(moments), outer_gradient.to(inputs.dtype).T).T
        errors = inputs @ solution.weight.T - self.targets.to(inputs.dtype)
        paired = (errors * (inputs @ adjoint.T)).sum(dim=1).mean() * self.share
        shrunk: Tensor = (solution.weight * adjoint).sum()
        return -paired - self.proximal * shrunk

    def _add_damping(self, moments: Tensor) -> Tensor:
        """Return the matrix of the normal equations."""
        return moments + self.proximal * torch.eye(len(moments), dtype=moments.dtype, device=moments.device)
