"""How far apart weighted samples are, and how much rows tell of a column, by a kernel."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

Estimator: TypeAlias = Literal["biased", "unbiased"]
Contrast: TypeAlias = Literal["pairs", "rest"]


def discrepancy(
    kernel: Float[Tensor, "n n"],
    values: Int[Tensor, "*draws n"],
    weights: Float[Tensor, "*draws n"],
    *,
    num_values: int,
    estimator: Estimator = "biased",
    contrast: Contrast = "pairs",
) -> Float[Tensor, "*draws"]:
    r"""Return the squared maximum mean discrepancy between the weighted samples of a column's values.

    With the weights ``a`` of one sample and ``b`` of another, each adding up to 1,

    .. math:: \mathrm{MMD}^2 = a^\top K a + b^\top K b - 2 a^\top K b .

    Of more than two values it is the sum over all pairs, or over each value against the rest. A sample without weight
    is left out; where no two are left, the answer is 0 and so is its gradient.

    Source: Makar et al., AISTATS 2022, as released (biased, two values); Gretton et al., JMLR 2012 (both estimators).

    Args:
        kernel: of all pairs of rows.
        values: the sample of each row; int64 in ``0..num_values-1``. Several columns at once have more dimensions in
            front.
        weights: of each row, >= 0.
        num_values: how many there are.
        estimator: ``biased`` keeps each row's kernel with itself and is at least 0; ``unbiased`` leaves it out, so that
            its mean is 0 for equal laws, and can be negative. A sample of a single row has no unbiased one.
        contrast: of more than two values, all ``pairs``, or each against the ``rest``.

    Returns:
        One number for each column; attached to the graph of the kernel.
    """
    masses = functional.one_hot(values, num_values).movedim(-1, -2) * weights.unsqueeze(-2)  # a row for each value
    if contrast == "pairs" or num_values == 2:
        first, second = torch.triu_indices(num_values, num_values, offset=1, device=values.device)
        left, right = masses[..., first, :], masses[..., second, :]
    else:
        left, right = masses, masses.sum(-2, keepdim=True) - masses
    left, has_left = _normalise_rows(left)
    right, has_right = _normalise_rows(right)
    left_own, left_counts = _compare_own(left, kernel, estimator)
    right_own, right_counts = _compare_own(right, kernel, estimator)
    found = left_own + right_own - 2 * ((left @ kernel) * right).sum(-1)
    if estimator == "biased":
        found = found.clamp_min(0)  # below 0 by rounding only
    return torch.where(has_left & has_right & left_counts & right_counts, found, 0.0).sum(-1)


def find_dependence(
    kernel: Float[Tensor, "n n"], values: Int[Tensor, " n"], weights: Float[Tensor, " n"], *, num_values: int
) -> Float[Tensor, ""]:
    r"""Return the weighted Hilbert-Schmidt independence criterion between rows and a column, biased, >= 0.

    With ``p`` the weights over their sum, and ``L`` 1 where two rows have one value and 0 elsewhere,

    .. math:: p^\top (K \circ L) p + (p^\top K p)(p^\top L p) - 2 p^\top (K p \circ L p) .

    With two values of weight ``q`` and ``1 - q`` it is ``2 q^2 (1 - q)^2`` times :func:`discrepancy`.

    Source: Gretton et al., Measuring statistical dependence with Hilbert-Schmidt norms, ALT 2005. Weighted after the
    idea of a follow-up of Makar et al. for columns of many dimensions, of which no formula was at hand.

    Args:
        kernel: of all pairs of rows.
        values: int64 in ``0..num_values-1``.
        weights: of each row, >= 0.
        num_values: how many values there are.

    Returns:
        Attached to the graph of the kernel; 0 where no row has weight.
    """
    (shares,), _ = _normalise_rows(weights[None])
    members = functional.one_hot(values, num_values).to(kernel.dtype)
    same = members @ members.T
    by_kernel, by_value = kernel @ shares, same @ shares
    within = shares @ (kernel * same) @ shares
    found: Tensor = within + (shares @ by_kernel) * (shares @ by_value) - 2 * (shares * by_kernel) @ by_value
    return found.clamp_min(0)


def _normalise_rows(masses: Float[Tensor, "*rows n"]) -> tuple[Float[Tensor, "*rows n"], Bool[Tensor, "*rows"]]:
    """Return each row over its sum, and which rows have one; the others are zeros."""
    total = masses.sum(-1, keepdim=True)
    return masses / torch.where(total > 0, total, 1.0), total[..., 0] > 0


def _compare_own(
    shares: Float[Tensor, "*rows n"], kernel: Float[Tensor, "n n"], estimator: Estimator
) -> tuple[Float[Tensor, "*rows"], Bool[Tensor, "*rows"]]:
    """Return the mean kernel within each sample, and for which there is one."""
    own = ((shares @ kernel) * shares).sum(-1)
    if estimator == "biased":
        return own, torch.ones_like(own, dtype=torch.bool)
    squares = shares.square()
    room = 1 - squares.sum(-1)
    has_room = room > torch.finfo(room.dtype).eps * 8
    return (own - squares @ kernel.diagonal()) / torch.where(has_room, room, 1.0), has_room
