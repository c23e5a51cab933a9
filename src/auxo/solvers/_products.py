"""Solvers that take products with the Hessian of the lower loss."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel import AbstractLinearSolver
from auxo.options import Range
from auxo.solvers._interface import LowerLevel, Response, SolverConfig, measured, require_system


@dataclass(frozen=True, kw_only=True)
class ProductSolver(SolverConfig):
    """Solves ``(I + H / (lambda + d)) z = v``, which is the exact ``J v`` of the coupling ``lambda + d``."""

    has_products = True

    iterations: Annotated[int, Range(low=1)] = 5
    """Iterations of conjugate gradients, terms of the series, or rank; each takes a product with the Hessian."""
    damping: Annotated[float, Range(low=0)] = 10.0
    """Added to lambda where the linear system is solved; far above the Hessian's eigenvalues J becomes I."""

    @property
    def added(self) -> float:
        """The damping."""
        return self.damping

    @abstractmethod
    def build(self) -> AbstractLinearSolver:
        """Return what solves ``(A + I) z = v`` with ``A = H / (lambda + d)``."""

    @abstractmethod
    def is_lost(self, solution: Float[Tensor, " size"]) -> bool | Tensor:
        """Return whether a solution that negative curvature ended is of no use."""

    def check_coupling(self, coupling: float) -> None:
        """Refuse a system without a diagonal."""
        require_system(self, coupling)

    def respond(self, vector: Float[Tensor, " size"], lower: LowerLevel) -> Response:
        """Return the solution, or ``v`` itself where negative curvature leaves none."""
        operator = lower.hessian().operator(scale=1 / (lower.coupling + self.damping))
        answer = self.build().solve(operator, vector)
        if answer.breakdown is None:
            return Response(answer.solution, measured(answer), vector.new_zeros(()), self.iterations)
        stopped = answer.breakdown.occurred
        solution = torch.where(stopped & self.is_lost(answer.solution), vector, answer.solution)
        return Response(solution, measured(answer), stopped.to(vector.dtype), self.iterations)
