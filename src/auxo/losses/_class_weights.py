"""Weights of classes by their number of training images."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def effective_number_weights(class_counts: Sequence[int], *, beta: float) -> Float[Tensor, " classes"]:
    r"""Return ``w_j`` in proportion to ``(1 - beta) / (1 - beta^{n_j})``, scaled to the sum C.

    ``(1 - beta^n) / (1 - beta)`` is the effective number of n images when each has a chance of adding nothing new. The
    weights go from equal (``beta = 0``) to the inverse of the counts (``beta`` near 1).

    Args:
        class_counts: training images ``n_j`` of each class, >= 1.
        beta: in [0, 1); the papers have 0.9999 for CIFAR.

    Returns:
        Shape ``(classes,)``; float64; sum C.

    Source: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, Eq. 2 and section 4.1
    (arXiv 1901.05555).

    Example:
        >>> effective_number_weights([1, 2], beta=0.5)
        tensor([1.2000, 0.8000], dtype=torch.float64)
    """
    if beta == 0:
        return torch.ones(len(class_counts), dtype=torch.float64)
    logs = torch.tensor(class_counts, dtype=torch.float64) * math.log(beta)
    weights = -1 / torch.expm1(logs)
    return weights * len(class_counts) / weights.sum()
