"""A pretext's loss as a function of the backbone's parameters, for derivatives of higher order."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.func import functional_call

from auxo.interfaces import AbstractBackbone
from auxo.joint_embeddings._interface import AbstractJointEmbedding, Pair, PairLoss


class _Network(nn.Module):
    """Backbone and pretext as one module, whose parameters can be replaced."""

    def __init__(self, backbone: AbstractBackbone, pretext: AbstractJointEmbedding) -> None:
        super().__init__()
        self.backbone = backbone
        self.pretext = pretext

    def forward(self, pair: Pair) -> Tensor:
        """Return the pretext's loss."""
        answer: PairLoss = self.pretext(self.backbone, pair)
        return answer.loss


def loss_in_backbone(
    backbone: AbstractBackbone, pretext: AbstractJointEmbedding, pair: Pair
) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return the function that maps the backbone's parameters by name to the pretext's loss on a pair.

    The pretext's heads stay as they are. Running statistics move with every call unless the caller prevents it
    (:func:`auxo.layers.batch_norm.keep_running_statistics`).
    """
    network = _Network(backbone, pretext)

    def loss(params: Mapping[str, Tensor]) -> Tensor:
        value: Tensor = functional_call(network, {f"backbone.{name}": value for name, value in params.items()}, (pair,))
        return value

    return loss
