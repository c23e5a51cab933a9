"""Conjugate gradients with step lengths of every tensor's own, as one released method runs them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.linear.interface import (
    AbstractLinearSolver,
    LinearSolution,
    Operator,
    remaining,
    require_at_least,
)
from auxo.errors import ShapeError

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class LayerwiseConjugateGradient(AbstractLinearSolver):
    r"""Go along conjugate gradients' recursion with one pair of factors per tensor; for comparison with a release.

    Products ``a = (A + damping) d`` are of the whole matrix. For the part ``j`` of every vector,

    .. math:: \alpha_j = \frac{\|r_j\|^2}{d_j^\top a_j + 10^{-12}}, \quad x_j \mathrel{+}= \alpha_j d_j, \quad r_j
    \mathrel{-}= \alpha_j a_j, \quad \beta_j = \frac{\|r_j^{new}\|^2}{\|r_j\|^2 + 10^{-12}}, \quad d_j = r_j^{new} +
    \beta_j d_j .

    The 1e-12 guard against a division by zero. But for them, this is :class:`auxo.bilevel.ConjugateGradient` with one
    tensor, and with a block-diagonal matrix that on every block. Otherwise it is neither: ``r`` is not the residual,
    more iterations do not lead to the solution, and ``d_j' a_j`` can be negative for a positive definite matrix. The
    harm is small where the coupling between tensors is far below the damping. Nothing stops the iterations and nothing
    counts as a breakdown: look at the residual, which is measured at the end by one more product.

    Source: Zakarias, Hansen and Tan, BiSSL, TMLR 2026 (https://arxiv.org/abs/2410.02387), in the released code
    (https://github.com/NIPS25-16372/NIPS25_16372_BiSSL) only.

    Args:
        iterations: how many; one product each.
        damping: added to the diagonal.
        tolerance: relative residual at which the answer counts as converged; 0 if the iterations are the demand.

    Raises:
        ShapeError: the sizes of :attr:`Operator.sizes` do not add up to the right-hand side's.

    Example:
        >>> matrix = Operator(lambda x: torch.tensor([2.0, 3.0]) * x, sizes=(1, 1))
        >>> LayerwiseConjugateGradient(iterations=1).solve(matrix, torch.tensor([4.0, 9.0])).solution.tolist()
        [2.0, 3.0]
    """

    iterations: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("iterations", self.iterations, 1)

    @torch.no_grad()
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """See :meth:`AbstractLinearSolver.solve`."""
        shape = right_hand_side.shape
        blocks = _Blocks(matrix.sizes, right_hand_side)

        def damped(vector: Tensor) -> Tensor:
            return torch.add(matrix(vector.view(shape)).reshape(-1), vector, alpha=self.damping)

        residual = right_hand_side.reshape(-1).clone()
        solution = torch.zeros_like(residual) if initial is None else initial.reshape(-1).clone()
        if initial is not None:
            residual = residual - damped(solution)
        direction = residual.clone()
        square = blocks.inner_products(residual, residual)
        for _ in range(self.iterations):
            image = damped(direction)
            step = blocks.spread(square / (blocks.inner_products(direction, image) + _TINY))
            solution.addcmul_(step, direction)
            residual.addcmul_(step, image, value=-1)
            new_square = blocks.inner_products(residual, residual)
            direction.mul_(blocks.spread(new_square / (square + _TINY))).add_(residual)
            square = new_square
        answer = solution.view(shape)
        count = self.iterations + 1 + (initial is not None)
        relative = remaining(matrix, self.damping, answer, right_hand_side)
        return LinearSolution(answer, relative, count, self.iterations)


class _Blocks:
    """Where the tensors lie in a vector like ``like``."""

    def __init__(self, sizes: tuple[int, ...] | None, like: Tensor) -> None:
        self._sizes = [like.numel()] if sizes is None else [*sizes]
        if sum(self._sizes) != like.numel():
            raise ShapeError(
                f"sizes that add up to the right-hand side's {like.numel()} entries",
                f"{sum(self._sizes)}",
                "give Operator the number of entries of every tensor in it",
            )
        self._counts = torch.tensor(self._sizes, device=like.device)

    def inner_products(self, left: Tensor, right: Tensor) -> Float[Tensor, " blocks"]:
        """Return each block's inner product, summed pairwise."""
        return torch.stack([piece.sum() for piece in (left * right).split(self._sizes)])

    def spread(self, values: Float[Tensor, " blocks"]) -> Float[Tensor, " size"]:
        """Return a vector with every block's value at all of its entries."""
        return values.repeat_interleave(self._counts, output_size=sum(self._sizes))
