"""Tell an image's other view from the views of all other images in the batch."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from auxo.interfaces import AbstractBackbone, PretextLoss
from auxo.options import Range
from auxo.pretexts._pairs import AbstractPairModule, Pair
from auxo.pretexts._projector import ProjectorConfig, compare, perceptron, unit_rows

SOURCE = (
    "Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of Visual Representations, ICML "
    "2020 (arXiv 2002.05709), Eq. 1. Negatives come from all processes. Heads, temperature 0.5 and a forward pass for "
    "each view as in the released code of BiSSL (arXiv 2410.02387): three linear layers of width 256, batch norm "
    "behind the hidden ones (the paper: two layers, 2048 to 128 for ResNet-50). Differs: no biases before batch "
    "norm, which takes them out."
)


def nt_xent_loss(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], *, temperature: float
) -> Float[Tensor, ""]:
    r"""Return the normalised, temperature-scaled cross-entropy, averaged over the 2N embeddings of both views.

    With ``s(i, k)`` the cosine of two of the 2N embeddings and ``j(i)`` the other view of ``i``,

    .. math:: \frac{1}{2N} \sum_i -\log \frac{\exp(s(i, j(i)) / \tau)}{\sum_{k \ne i} \exp(s(i, k) / \tau)} .

    Source: Chen et al., ICML 2020, Eq. 1 (https://arxiv.org/abs/2002.05709).

    Args:
        first: embeddings of the first view; row i of both is image i.
        second: of the second view.
        temperature: what cosines are divided by, > 0.

    Returns:
        Nats; attached, twice differentiable. Embeddings that are all alike give ``ln(2N - 1)``.

    Example:
        >>> rows = torch.eye(2)
        >>> nt_xent_loss(rows, rows, temperature=1.0)  # ln(1 + 2 / e)
        tensor(0.5514)
    """
    rows = unit_rows(torch.cat([first, second]))
    count = len(first)
    own = torch.eye(2 * count, dtype=torch.bool, device=rows.device)
    scores = (rows @ rows.T / temperature).masked_fill(own, -torch.inf)
    partners = torch.arange(2 * count, device=rows.device).roll(count)
    return functional.cross_entropy(scores, partners)


class SimCLR(AbstractPairModule):
    """A projector, and the loss :func:`nt_xent_loss` of what it makes of both views.

    Args:
        projector: maps pooled features to embeddings.
        temperature: of the loss, > 0.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProjectorConfig):
        """Options of SimCLR."""

        temperature: Annotated[float, Range(above=0)] = 0.5
        """What cosines are divided by; lower values look at the nearest images only."""

        def build(self, backbone: AbstractBackbone, *, seed: int) -> "SimCLR":
            """Return a projector, with first weights from the stream ``init/projector``."""
            projector = perceptron(self, "projector", backbone.num_features, seed=seed)
            return SimCLR(projector, temperature=self.temperature)

    def __init__(self, projector: nn.Module, *, temperature: float) -> None:
        super().__init__()
        self.projector = projector
        self.temperature = temperature

    def forward(self, backbone: nn.Module, pair: Pair) -> PretextLoss:
        """Return the loss over the joined batch."""
        return compare(backbone, self.projector, pair, partial(nt_xent_loss, temperature=self.temperature))
