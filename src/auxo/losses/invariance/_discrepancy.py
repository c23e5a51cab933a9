"""How far apart weighted samples are, and how much rows tell of a column, by a kernel."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from auxo.layers.mmd import pairwise_squared_mmd, squared_mmd

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
    """Return the squared maximum mean discrepancy between the weighted samples of a column's values.

    Of more than two values it is the sum over all pairs, or over each value against the rest, of
    :func:`auxo.layers.mmd.squared_mmd`. A sample without weight is left out; where no two are left, the answer is 0 and
    so is its gradient.

    Source: Makar et al., AISTATS 2022, as released (biased, two values); Gretton et al., JMLR 2012 (both estimators).

    Args:
        kernel: of all pairs of rows.
        values: the sample of each row; int64 in ``0..num_values-1``. Several columns at once have more dimensions in
            front.
        weights: of each row, >= 0.
        num_values: how many there are.
        estimator: ``biased`` keeps each row's kernel with itself and is at least 0; ``unbiased`` leaves it out. A
            sample of a single row has no unbiased one.
        contrast: of more than two values, all ``pairs``, or each against the ``rest``.

    Returns:
        One number for each column; attached to the graph of the kernel.
    """
    masses = functional.one_hot(values, num_values).movedim(-1, -2) * weights.unsqueeze(-2)  # a row for each value
    is_unbiased = estimator == "unbiased"
    if contrast == "pairs" or num_values == 2:
        return pairwise_squared_mmd(kernel, masses, is_unbiased=is_unbiased).triu(1).sum((-2, -1))
    rest = masses.sum(-2, keepdim=True) - masses
    return squared_mmd(kernel, masses, rest, is_unbiased=is_unbiased).sum(-1)


def find_dependence(
    kernel: Float[Tensor, "n n"], values: Int[Tensor, " n"], weights: Float[Tensor, " n"], *, num_values: int
) -> Float[Tensor, ""]:
    r"""Return the weighted Hilbert-Schmidt independence criterion between rows and a column, biased, >= 0.

    With ``p`` the weights over their sum, and ``L`` 1 where two rows have one value and 0 elsewhere,

    .. math:: p^\top (K \circ L) p + (p^\top K p)(p^\top L p) - 2 p^\top (K p \circ L p) .

    With two values of weight ``q`` and ``1 - q`` it is ``2 q^2 (1 - q)^2`` times :func:`discrepancy`.

    Source: Gretton et al., Measuring statistical dependence with Hilbert-Schmidt norms, ALT 2005. Weighted after the
    idea of Zheng & Makar (NeurIPS 2022) for columns of many dimensions, of which no formula was at hand.

    Args:
        kernel: of all pairs of rows.
        values: int64 in ``0..num_values-1``.
        weights: of each row, >= 0.
        num_values: how many values there are.

    Returns:
        Attached to the graph of the kernel; 0 where no row has weight.
    """
    total = weights.sum()
    shares = weights / torch.where(total > 0, total, 1.0)
    members = functional.one_hot(values, num_values).to(kernel.dtype)
    same = members @ members.T
    by_kernel, by_value = kernel @ shares, same @ shares
    within = shares @ (kernel * same) @ shares
    found: Tensor = within + (shares @ by_kernel) * (shares @ by_value) - 2 * (shares * by_kernel) @ by_value
    return found.clamp_min(0)
