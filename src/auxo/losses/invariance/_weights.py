"""Weights under which class and column are independent."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.types import Labels

Weighting: TypeAlias = Literal["product", "inverse"]


def cell_counts(classes: Labels, values: Labels, *, num_classes: int, num_values: int) -> Int[Tensor, "classes values"]:
    """Return how many images there are of every class with every value.

    Args:
        classes: shape ``(n,)``; int64.
        values: shape ``(n,)``; int64.
        num_classes: how many there are.
        num_values: how many there are.

    Example:
        >>> cell_counts(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0]), num_classes=2, num_values=2)
        tensor([[0, 2],
                [1, 0]])
    """
    cells = classes * num_values + values
    return cells.bincount(minlength=num_classes * num_values).view(num_classes, num_values)


def cell_weights(counts: Int[Tensor, "classes values"], kind: Weighting = "product") -> Float[Tensor, "classes values"]:
    r"""Return the weight of an image of every class with every value, float64; 0 where there is none.

    * ``product``: :math:`u(y, v) = P(y) P(v) / P(y, v)`. The weights of all images add up to their number, and the
      weighted frequencies of the cells are the products of those of classes and values.
    * ``inverse``: :math:`1 / P(y \mid v)`, which makes the classes equally frequent, too, where every cell has images.

    Source: Makar et al., Causally motivated shortcut removal using auxiliary labels, AISTATS 2022, as released; the
    second is there called unbalanced.

    Args:
        counts: see :func:`cell_counts`; of the whole training split.
        kind: which.

    Example:
        >>> cell_weights(torch.tensor([[30, 10], [10, 30]]))
        tensor([[0.6667, 2.0000],
                [2.0000, 0.6667]], dtype=torch.float64)
    """
    joint = counts.double() / counts.sum()
    of_class, of_value = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
    wanted = of_class * of_value if kind == "product" else of_value.expand_as(joint)
    return torch.where(counts > 0, wanted / torch.where(counts > 0, joint, 1.0), 0.0)


def effective_fraction(counts: Int[Tensor, "classes values"], weights: Float[Tensor, "classes values"]) -> float:
    """Return the effective number of weighted images over their number: ``(sum u)^2 / (n sum u^2)``, in (0, 1].

    Source: Kish, Survey Sampling, 1965.
    """
    own = counts.double()
    total, squares = float((own * weights).sum()), float((own * weights.square()).sum())
    return total**2 / (float(own.sum()) * squares)
