"""A trained network that stays as it is, with the normalisation that it was trained with."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.interfaces import AbstractBackbone
from auxo.types import Features, Images, Normalisation


class FrozenBackbone(AbstractBackbone):
    """A network whose weights and running statistics no training moves; gradients reach its inputs all the same.

    What stores a method leaves its weights out: a run keeps them once (:func:`stored_state`).

    Args:
        network: trained; its parameters stop asking for gradients.
        own: how images were normalised when it was trained.
        given: how the inputs that it will get are normalised.
        name: what the run that keeps it calls it.
    """

    scale: Float[Tensor, "channels 1 1"]
    shift: Float[Tensor, "channels 1 1"]

    def __init__(self, network: AbstractBackbone, *, own: Normalisation, given: Normalisation, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.network = network.requires_grad_(False).eval()
        self.num_features, self.map_channels = network.num_features, dict(network.map_channels)
        self.register_buffer("scale", given.std.cpu() / own.std)
        self.register_buffer("shift", (given.mean.cpu() - own.mean) / own.std)

    def forward(self, images: Images) -> Features:
        """Return the features of inputs of the method, normalised anew."""
        features: Features = self.network(images * self.scale + self.shift)
        return features

    def train(self, mode: bool = True) -> "FrozenBackbone":
        """Stay in evaluation mode."""
        del mode
        return super().train(mode=False)

    def map_size(self, name: str, *, height: int, width: int) -> tuple[int, int]:
        """Return what the network says."""
        return self.network.map_size(name, height=height, width=width)


def stored_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module without that of the frozen networks in it."""
    frozen = frozen_networks(module)
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not any(name.startswith(f"{place}.") for place in frozen)
    }


def frozen_networks(module: nn.Module) -> Mapping[str, FrozenBackbone]:
    """Return the frozen networks in a module by their place in it."""
    return {place: each for place, each in module.named_modules() if isinstance(each, FrozenBackbone)}


def normalisation_of(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalisation:
    """Return a normalisation from one number for each channel."""
    return Normalisation(torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1))
