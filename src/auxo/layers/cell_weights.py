"""Weights of images that give class and another column the joint frequencies that one wants."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.errors import DataError

SOURCE = (
    "Makar et al., Causally motivated Shortcut Removal Using Auxiliary Labels, AISTATS 2022 (arXiv 2105.06422), as "
    "their released code has it: u(y, v) = P(y) P(v) / P(y, v). Other frequencies than the product are importance "
    "weights of the same kind."
)


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
    first: Int[Tensor, " n"], second: Int[Tensor, " n"], wanted: Float[Tensor, "rows columns"]
) -> Float[Tensor, " n"]:
    """Return the weights under which pairs of numbers have the frequencies that are wanted.

    An image of the cell ``(y, v)`` gets ``wanted(y, v) / P(y, v)`` with the empirical frequency ``P``. What images of
    one cell look like stays as it is.

    Args:
        first: number of every image, such as its class.
        second: number of every image in another column.
        wanted: shape ``(rows, columns)``, >= 0, of the sum 1.

    Returns:
        Shape ``(n,)``; float64; their sum is ``n``.

    Raises:
        DataError: a cell that is wanted has no image.
    """
    shape = wanted.shape[0], wanted.shape[1]
    counts = count_cells(first, second, shape=shape)
    empty = ((wanted > 0) & (counts == 0)).nonzero()
    if len(empty):
        cell = tuple(empty[0].tolist())
        raise DataError(f"an image of the pair {cell} to be weighted", "none", "add such images, or leave the pair out")
    ratios = wanted.double() * len(first) / counts.clamp_min(1)
    return ratios[first, second]


def independence_weights(first: Int[Tensor, " n"], second: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return ``u = P(y) P(v) / P(y, v)``: under these weights the two numbers are independent.

    Both keep their own frequencies. All weights are 1 where the two are independent already.

    Args:
        first: number ``y`` of every image, from 0, such as its class.
        second: number ``v`` of every image in another column, from 0.

    Returns:
        Shape ``(n,)``; float64; their sum is ``n``.

    Raises:
        DataError: a pair of numbers that both occur has no image, so that no weights make them independent.

    Example:
        >>> independence_weights(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 0]))
        tensor([0.9000, 0.9000, 1.2000, 0.8000, 1.2000], dtype=torch.float64)
    """
    shares = [numbers.bincount().double() / len(numbers) for numbers in (first, second)]
    return weigh_cells(first, second, torch.outer(shares[0], shares[1]))


def effective_size(weights: Float[Tensor, " n"]) -> float:
    """Return how many images of equal weight say as much: ``(sum w)^2 / sum w^2``; 0 of none.

    Source: Kish, Survey Sampling, 1965.
    """
    squares = float((weights.double() ** 2).sum())
    return float(weights.double().sum()) ** 2 / squares if squares > 0 else 0.0
