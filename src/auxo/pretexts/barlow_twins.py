"""Make each feature agree between two views of an image and be uncorrelated with all other features."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.interfaces import AbstractBackbone, PretextLoss
from auxo.options import Range
from auxo.pretexts._pairs import AbstractPairModule, Pair
from auxo.pretexts._projector import ProjectorConfig, compare, perceptron

SOURCE = (
    "Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins, ICML 2021 (arXiv 2103.03230), Eq. 1 and 2; from the release "
    "(github.com/facebookresearch/barlowtwins) the 1e-5 added to variances and the form of the projector, three linear "
    "layers without biases. Differs: width 256 (there 8192), and 0.005 as weight of the off-diagonal (there 0.0051)."
)

_EPSILON = 1e-5  # added to a variance


def redundancy_loss(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], *, off_diagonal_weight: float
) -> Float[Tensor, ""]:
    r"""Return how far the cross-correlation matrix of two views is from the identity.

    With ``C(i, j)`` the correlation over the batch of feature i in the first view and feature j in the second,

    .. math:: \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \ne i} C_{ij}^2 .

    Variances are over N and have 1e-5 added to them.

    Source: Zbontar et al., ICML 2021, Eq. 1 and 2 (https://arxiv.org/abs/2103.03230).

    Args:
        first: embeddings of the first view; row i of both is image i. At least two.
        second: of the second view.
        off_diagonal_weight: lambda, >= 0.

    Returns:
        A scalar; attached, twice differentiable. Embeddings that are all alike give their length ``dim``.
    """
    correlation = _standardise_columns(first).T @ _standardise_columns(second) / len(first)
    diagonal = correlation.diagonal()
    off_diagonal = correlation - torch.diag(diagonal)
    return (1 - diagonal).square().sum() + off_diagonal_weight * off_diagonal.square().sum()


def _standardise_columns(rows: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Return the rows with mean 0 and variance 1 in each column."""
    centred = rows - rows.mean(0)
    return centred * torch.rsqrt(centred.square().mean(0) + _EPSILON)


class BarlowTwins(AbstractPairModule):
    """A projector, and the loss :func:`redundancy_loss` of what it makes of both views.

    Args:
        projector: maps pooled features to embeddings.
        off_diagonal_weight: of the loss, >= 0.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProjectorConfig):
        """Options of BarlowTwins."""

        off_diagonal_weight: Annotated[float, Range(low=0)] = 0.005
        """Weight of the correlations between different features."""

        def build(self, backbone: AbstractBackbone, *, seed: int) -> "BarlowTwins":
            """Return a projector, with first weights from the stream ``init/projector``."""
            projector = perceptron(self, "projector", backbone.num_features, seed=seed)
            return BarlowTwins(projector, off_diagonal_weight=self.off_diagonal_weight)

    def __init__(self, projector: nn.Module, *, off_diagonal_weight: float) -> None:
        super().__init__()
        self.projector = projector
        self.off_diagonal_weight = off_diagonal_weight

    def forward(self, backbone: nn.Module, pair: Pair) -> PretextLoss:
        """Return the loss over the joined batch."""
        loss = partial(redundancy_loss, off_diagonal_weight=self.off_diagonal_weight)
        return compare(backbone, self.projector, pair, loss)
