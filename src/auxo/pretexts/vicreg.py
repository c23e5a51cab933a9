"""Make two views of an image agree while each feature varies and no two vary together."""

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
    "Bardes, Ponce, LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, ICLR "
    "2022 (arXiv 2105.04906), Algorithm 1. The released code (github.com/facebookresearch/vicreg) halves the variance "
    "term: variance_weight 12.5 is the same. Differs: a projector of width 256 without biases (there 8192, with biases "
    "before batch norm, which takes them out)."
)

_EPSILON = 1e-4  # added to a variance


def vicreg_loss(
    first: Float[Tensor, "batch dim"],
    second: Float[Tensor, "batch dim"],
    *,
    invariance_weight: float,
    variance_weight: float,
    covariance_weight: float,
) -> Float[Tensor, ""]:
    r"""Return the weighted sum of three terms, with N images and D features.

    Invariance is the mean over images and features of ``(z - z')^2``; variance and covariance are, summed over the two
    views,

    .. math:: \frac1D \sum_j \max(0, 1 - \sqrt{\mathrm{Var}_j + 10^{-4}})
        \qquad \frac1D \sum_{i \ne j} \mathrm{Cov}_{ij}^2

    with variances and covariances over N - 1.

    Source: Bardes, Ponce, LeCun, ICLR 2022, Algorithm 1 (https://arxiv.org/abs/2105.04906). Its text calls the
    invariance a mean squared Euclidean distance; algorithm and released code divide by D, too.

    Args:
        first: embeddings of the first view; row i of both is image i. At least two.
        second: of the second view.
        invariance_weight: >= 0.
        variance_weight: >= 0.
        covariance_weight: >= 0.

    Returns:
        A scalar; attached, twice differentiable.
    """
    invariance = (first - second).square().mean()
    variance_first, covariance_first = _variance_and_covariance(first)
    variance_second, covariance_second = _variance_and_covariance(second)
    return (
        invariance_weight * invariance
        + variance_weight * (variance_first + variance_second)
        + covariance_weight * (covariance_first + covariance_second)
    )


def _variance_and_covariance(rows: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return one view's variance and covariance terms."""
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / (len(rows) - 1)
    variances = covariance.diagonal()
    off_diagonal = covariance - torch.diag(variances)
    return torch.relu(1 - (variances + _EPSILON).sqrt()).mean(), off_diagonal.square().sum() / rows.shape[1]


class VICReg(AbstractPairModule):
    """A projector, and the loss :func:`vicreg_loss` of what it makes of both views.

    Args:
        projector: maps pooled features to embeddings.
        invariance_weight: of the loss, >= 0.
        variance_weight: of the loss, >= 0.
        covariance_weight: of the loss, >= 0.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProjectorConfig):
        """Options of VICReg."""

        invariance_weight: Annotated[float, Range(low=0)] = 25.0
        """Weight of the views' mean squared distance."""
        variance_weight: Annotated[float, Range(low=0)] = 25.0
        """Weight of what a feature's standard deviation lacks to 1."""
        covariance_weight: Annotated[float, Range(low=0)] = 1.0
        """Weight of the squared covariances between different features."""

        def build(self, backbone: AbstractBackbone, *, seed: int) -> "VICReg":
            """Return a projector, with first weights from the stream ``init/projector``."""
            return VICReg(
                perceptron(self, "projector", backbone.num_features, seed=seed),
                invariance_weight=self.invariance_weight,
                variance_weight=self.variance_weight,
                covariance_weight=self.covariance_weight,
            )

    def __init__(
        self, projector: nn.Module, *, invariance_weight: float, variance_weight: float, covariance_weight: float
    ) -> None:
        super().__init__()
        self.projector = projector
        self.invariance_weight = invariance_weight
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight

    def forward(self, backbone: nn.Module, pair: Pair) -> PretextLoss:
        """Return the loss over the joined batch."""
        loss = partial(
            vicreg_loss,
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
        return compare(backbone, self.projector, pair, loss)
