"""Weights of images that give class and another column the joint frequencies that one wants."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

SOURCE = (
    "Makar et al., Causally motivated Shortcut Removal Using Auxiliary Labels, AISTATS 2022 (arXiv 2105.06422), as "
    "their released code has it: u(y, v) = P(y) P(v) / P(y, v). Other frequencies than the product are importance "
    "weights of the same kind."
)

Weighting: TypeAlias = Literal["product", "inverse"]


def count_cells(
    first: Int[Tensor, " n"], second: Int[Tensor, " n"], *, shape: tuple[int, int]
) -> Int[Tensor, "rows columns"]:
    """Return how many images have each pair of numbers.

    Args:
        first: in ``0..shape[0]-1``.
        second: in ``0..shape[1]-1``.
        shape: how many numbers there are of each.
    """
    return (first * shape[1] + second).bincount(minlength=shape[0] * shape[1]).view(shape)


def weigh_cells(
    counts: Int[Tensor, "rows columns"], wanted: Float[Tensor, "rows columns"]
) -> Float[Tensor, "rows columns"]:
    """Return the weight of an image of every cell under which pairs of numbers have the frequencies that are wanted.

    An image of the cell ``(y, v)`` gets ``wanted(y, v) / P(y, v)`` with the empirical frequency ``P``. What images of
    one cell look like stays as it is.

    Args:
        counts: images of every cell; see :func:`count_cells`.
        wanted: >= 0; of the sum 1, so that the weights of all images add up to their number.

    Returns:
        Float64; 0 where a cell has no image, whatever is wanted there.
    """
    return torch.where(counts > 0, wanted.double() * counts.sum() / counts.clamp_min(1), 0.0)


def independence_weights(
    counts: Int[Tensor, "classes values"], kind: Weighting = "product"
) -> Float[Tensor, "classes values"]:
    r"""Return the weight of an image of every cell under which classes and values are independent.

    * ``product``: :math:`u(y, v) = P(y) P(v) / P(y, v)`. Both keep their own frequencies; all weights are 1 where the
      two are independent already.
    * ``inverse``: :math:`1 / P(y \mid v)`, which makes the classes equally frequent, too; released as unbalanced.

    This holds where every cell has images that both its class and its value have.

    Args:
        counts: images of every class with every value; see :func:`count_cells`.
        kind: which.

    Returns:
        Float64; 0 where a cell has no image.

    Example:
        >>> independence_weights(torch.tensor([[30, 10], [10, 30]]))
        tensor([[0.6667, 2.0000],
                [2.0000, 0.6667]], dtype=torch.float64)
    """
    shares = counts.double() / counts.sum()
    of_class, of_value = shares.sum(1, keepdim=True), shares.sum(0, keepdim=True)
    return weigh_cells(counts, of_class * of_value if kind == "product" else of_value.expand_as(shares))


def effective_size(weights: Float[Tensor, " n"]) -> float:
    """Return how many images of equal weight say as much: ``(sum w)^2 / sum w^2``; 0 of none.

    Source: Kish, Survey Sampling, 1965.
    """
    squares = float((weights.double() ** 2).sum())
    return float(weights.double().sum()) ** 2 / squares if squares > 0 else 0.0
