"""A pretext's loss as a function of the backbone's parameters, for derivatives of higher order."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn
from torch.func import functional_call

from auxo.interfaces import AbstractPretextModule, PretextLoss

_Inputs = TypeVar("_Inputs")


class _Network(nn.Module):
    """Backbone and pretext as one module, whose parameters can be replaced."""

    def __init__(self, backbone: nn.Module, pretext: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.pretext = pretext

    def forward(self, inputs: object) -> Tensor:
        """Return the pretext's loss."""
        answer: PretextLoss = self.pretext(self.backbone, inputs)
        return answer.loss


def loss_in_backbone(
    backbone: nn.Module, pretext: AbstractPretextModule[_Inputs], inputs: _Inputs
) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return the function that maps the backbone's parameters by name to the pretext's loss on the same inputs.

    The pretext's heads stay as they are. Running statistics move with every call unless the caller prevents it
    (:func:`auxo.layers.batch_norm.keep_running_statistics`).
    """
    network = _Network(backbone, pretext)

    def loss(params: Mapping[str, Tensor]) -> Tensor:
        value: Tensor = functional_call(
            network, {f"backbone.{name}": value for name, value in params.items()}, (inputs,)
        )
        return value

    return loss
