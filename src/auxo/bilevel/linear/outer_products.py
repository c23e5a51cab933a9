"""Systems whose matrix is the mean of a few vectors' outer products, in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.linear.interface import LinearSolution, relative_norm
from auxo.errors import ConfigError, NonFiniteError, ShapeError

_COLUMNS = 1 << 18  # at once in float64


@torch.no_grad()
def solve_outer_products(vectors: Tensor, right_hand_side: Tensor, *, damping: float) -> LinearSolution:
    r"""Return the solution of ``(1/m sum of g g' + damping) x = b``, without any product with a Hessian.

    With ``m`` gradients ``g`` in the rows of ``G``, the mean of their outer products is the empirical Fisher matrix,
    which stands in for a Hessian. By Woodbury's identity,

    .. math:: x = \frac1d \left(b - G^\top (G G^\top + m d I)^{-1} G b\right) .

    All sums are in float64, over columns in turn, so that the difference keeps float32's digits where the vectors'
    squared lengths are far above the damping. Memory: a few times ``m`` vectors of 262,144 columns.

    Source: Frantar, Kurtic and Alistarh, M-FAC: Efficient Matrix-Free Approximations of Second-Order Information,
    NeurIPS 2021 (https://arxiv.org/abs/2107.03356), which solves the same system by a recursion over the vectors.

    Args:
        vectors: ``G``; shape ``(count, size)``, one gradient a row, at least one; with several processes already
            averaged over them.
        right_hand_side: ``b``; shape ``(size,)``.
        damping: ``d``, above 0: all that the directions outside of the vectors' span have.

    Returns:
        The solution in the right-hand side's dtype, with no products. The residual is that of the rounded solution,
        which the matrix magnifies: in float32 it can be far above the solution's error.

    Raises:
        ShapeError: the vectors are none, or of another length than the right-hand side.
        ConfigError: the damping is not above 0.
        NonFiniteError: a vector is not finite.

    Example:
        >>> vectors = torch.tensor([[2.0, 0.0, 0.0], [0.0, 4.0, 0.0]])  # the matrix is diagonal: 2, 8, 0
        >>> answer = solve_outer_products(vectors, torch.tensor([3.0, 18.0, 3.0]), damping=1.0)
        >>> answer.solution.tolist(), answer.products
        ([1.0, 2.0, 3.0], 0)
    """
    _require_usable(vectors, right_hand_side, damping)
    count = len(vectors)
    pieces = [*zip(vectors.split(_COLUMNS, dim=1), right_hand_side.split(_COLUMNS), strict=True)]
    gram = torch.zeros(count, count, dtype=torch.float64, device=vectors.device)
    along = torch.zeros(count, dtype=torch.float64, device=vectors.device)
    for rows, right in pieces:
        wide = rows.double()
        gram += wide @ wide.T
        along += wide @ right.double()
    if not bool(torch.isfinite(gram).all()):
        raise NonFiniteError("finite vectors", "infinity or not a number", "look where the gradients come from")
    values, basis = torch.linalg.eigh(gram / count)  # zero or more, but for rounding: no vector needs to be independent
    inside = basis @ ((basis.T @ along) / (values.clamp(min=0) + damping)) / count
    solution = torch.cat([(right.double() - inside @ rows.double()).div_(damping).to(right) for rows, right in pieces])
    answers = solution.split(_COLUMNS)
    residual = _measure_residual([(*piece, answer) for piece, answer in zip(pieces, answers, strict=True)], damping)
    return LinearSolution(solution, residual.to(right_hand_side), 0, count)


def _require_usable(vectors: Tensor, right_hand_side: Tensor, damping: float) -> None:
    """Refuse shapes that do not fit and a damping that is not above 0."""
    if not damping > 0:
        raise ConfigError("damping > 0", str(damping), "choose one, such as 0.01 of the vectors' mean squared length")
    if vectors.dim() != 2 or len(vectors) == 0 or vectors.shape[1:] != right_hand_side.shape:
        raise ShapeError(
            f"vectors of shape (count, {right_hand_side.numel()}), at least one",
            f"{tuple(vectors.shape)}",
            "stack one gradient a row, in the layout of the right-hand side",
        )


def _measure_residual(pieces: list[tuple[Tensor, Tensor, Tensor]], damping: float) -> Float[Tensor, ""]:
    """Return the relative residual, given vectors, right-hand side and solution column by column."""
    inside = torch.stack([rows.double() @ answer.double() / len(rows) for rows, _, answer in pieces]).sum(0)
    squares, totals = [], []
    for rows, right, answer in pieces:
        rest = inside @ rows.double() + damping * answer.double() - right.double()
        squares.append(rest.square().sum())
        totals.append(right.double().square().sum())
    return relative_norm(torch.stack(squares).sum(), torch.stack(totals).sum())
