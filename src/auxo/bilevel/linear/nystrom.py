"""Low-rank approximation of the matrix, with which the damped system is solved in closed form."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from auxo.bilevel.linear.interface import (
    AbstractLinearSolver,
    Breakdown,
    LinearSolution,
    Operator,
    relative_norm,
    require_at_least,
)
from auxo.errors import ConfigError
from auxo.random import named_generator


@dataclass(frozen=True, kw_only=True)
class Nystrom(AbstractLinearSolver):
    r"""Solve with the Nyström approximation of a symmetric positive semi-definite matrix.

    With a test matrix ``S`` of ``rank`` columns and ``Y = A S``, the approximation is ``Y (S'Y)^+ Y'``. Its
    eigenvectors ``U`` and eigenvalues ``l`` give

    .. math:: x = U \frac{1}{l + d} U' b + \frac{1}{d} (b - U U' b),

    with damping ``d``. Where the matrix is known to hold ``shift`` times the identity, as by weight decay in the loss,
    only the rest of it is approximated, and ``d`` is damping and shift together. The products with ``S`` do not wait
    for each other and are taken in batches. The error of the approximation is of the size of the eigenvalues that the
    rank leaves out; ``rank`` equal to the number of entries gives the exact answer. Negative eigenvalues of ``S'Y`` are
    a breakdown, and so is a residual above that of ``x = 0``: the rank then leaves out eigenvalues far above the
    damping. Eigenvalues below the rounding of ``S'Y`` are dropped.

    Source: Hataya and Yamada, Nyström Method for Accurate and Scalable Implicit Differentiation, AISTATS 2023
    (https://arxiv.org/abs/2302.09726), whose ``S`` picks coordinates (``sampling="columns"``); Frangella, Tropp and
    Udell, Randomized Nyström Preconditioning, 2021 (https://arxiv.org/abs/2110.02820), for orthonormal random ``S``.

    Args:
        rank: columns of ``S``; one product each and one for the residual. At most the number of entries is used.
        damping: added to the diagonal; with the shift above 0, for they are all that the approximation knows of
            directions outside its range.
        shift: what is known to be on the diagonal of the matrix already; at most its smallest eigenvalue.
        sampling: ``"gaussian"`` (orthonormal columns of a random matrix) or ``"columns"`` (random coordinates, the
            published choice).
        batch_size: products taken at once; memory grows with it.
        seed: of the test matrix.
        tolerance: relative residual at which the answer counts as converged; 0 if the rank is the demand.

    Example:
        >>> diagonal = torch.tensor([4.0, 0.0, 0.0])
        >>> answer = Nystrom(rank=3, damping=1.0).solve(Operator(lambda x: diagonal * x), torch.tensor([5.0, 2.0, 3.0]))
        >>> [round(value, 4) for value in answer.solution.tolist()]
        [1.0, 2.0, 3.0]
    """

    rank: int = 10
    damping: float = 1e-2
    shift: float = 0.0
    sampling: Literal["gaussian", "columns"] = "gaussian"
    batch_size: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("rank", self.rank, 1)
        require_at_least("batch_size", self.batch_size, 1)
        require_at_least("shift", self.shift, 0)
        if not self.damping + self.shift > 0:
            raise ConfigError("damping > 0", str(self.damping), "choose one, such as 0.01 of the largest eigenvalue")

    @torch.no_grad()
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """See :meth:`AbstractLinearSolver.solve`; from ``initial`` it solves for what is missing."""
        flat = right_hand_side if initial is None else right_hand_side - matrix(initial) - self.damping * initial
        flat = flat.reshape(-1)
        test = self._test_matrix(flat)
        shape = right_hand_side.shape
        images = torch.cat(
            [matrix.together(rows.view(-1, *shape)).reshape(len(rows), -1) for rows in test.split(self.batch_size)]
        )
        if not bool(torch.isfinite(images).all()):  # no eigenvalues can be had of it
            lost = torch.full_like(right_hand_side, math.nan)
            return LinearSolution(lost, lost.sum(), len(test) + (initial is not None), len(test))
        images = images.sub_(test, alpha=self.shift) if self.shift else images
        diagonal = self.damping + self.shift
        values, vectors = torch.linalg.eigh((images @ test.T + test @ images.T) / 2)
        floor = values.abs().max() * torch.finfo(values.dtype).eps * max(len(flat), 10)
        roots = torch.where(values > floor, values, 1.0).rsqrt() * (values > floor)
        # The approximation is F'F with F = roots * vectors' images; F's singular vectors are its eigenvectors.
        _, singular, basis = torch.linalg.svd(roots.unsqueeze(1) * (vectors.T @ images), full_matrices=False)
        inside = basis @ flat
        outside = flat - basis.T @ inside
        step = (basis.T @ (inside / (singular.square() + diagonal)) + outside / diagonal).view(shape)
        solution = step if initial is None else initial + step
        rest = right_hand_side - matrix(solution) - self.damping * solution
        residual = relative_norm(rest.square().sum(), right_hand_side.square().sum())
        is_indefinite = values[0] < -1e3 * floor
        worst = torch.where(is_indefinite, (test.T @ vectors[:, 0]).view(shape), rest)
        curvature = torch.where(is_indefinite, values[0] / worst.square().sum() + self.shift, residual)
        fix = "use MINRES or curvature='gauss_newton' if the curvature is negative, more rank or damping if it is not"
        if self.shift:
            fix = f"lower the shift of {self.shift:g} if the curvature is below it, else {fix}"
        breakdown = Breakdown(is_indefinite | (residual > 1), worst, curvature, fix)
        count = len(test) + 1 + (initial is not None)
        return LinearSolution(solution, residual, count, len(test), breakdown)

    def _test_matrix(self, like: Tensor) -> Tensor:
        """Return the transposed test matrix: ``rank`` orthonormal rows."""
        size, rank = like.numel(), min(self.rank, like.numel())
        generator = named_generator(self.seed, "nystrom")
        if self.sampling == "columns":
            chosen = torch.randperm(size, generator=generator)[:rank].to(like.device)
            return torch.zeros(rank, size, dtype=like.dtype, device=like.device).scatter_(1, chosen.unsqueeze(1), 1.0)
        normal = torch.randn(size, rank, generator=generator, dtype=torch.float64).to(like)
        columns: Tensor = torch.linalg.qr(normal).Q
        return columns.T.contiguous()
