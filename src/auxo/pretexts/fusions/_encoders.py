"""Several encoders as one network."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import ConfigError
from auxo.interfaces import AbstractBackbone
from auxo.types import Features, Images

POOLED = "pooled"


class _Level(NamedTuple):
    """A depth of an encoder, and how many features it has there."""

    name: str
    width: int


class Encoder(AbstractBackbone):
    """A network whose features are those of several depths, each averaged over its pixels, one after the other.

    Args:
        network: the encoder.
        levels: names of its maps, or ``"pooled"`` for its pooled features.
        name: of the encoder, for messages.

    Raises:
        ConfigError: the network has no such map.
    """

    def __init__(self, network: AbstractBackbone, levels: Sequence[str], *, name: str) -> None:
        super().__init__()
        widths = {**network.map_channels, POOLED: network.num_features}
        for level in levels:
            if level not in widths:
                known = ", ".join(widths)
                raise ConfigError(f"levels of the encoder {name} among {known}", repr(level), "name what all have")
        self.network = network
        self.levels = tuple(_Level(level, widths[level]) for level in levels)
        self.map_channels = dict(network.map_channels)
        self.num_features = sum(level.width for level in self.levels)

    def extra_repr(self) -> str:
        """Return the levels, which weights alone do not tell apart."""
        return ", ".join(level.name for level in self.levels)

    def forward(self, images: Images) -> Features:
        """Return the features of all levels as the pooled ones, and the network's maps."""
        pooled, maps = self.network(images)
        rows = [pooled if name == POOLED else maps[name].mean((2, 3)) for name, _ in self.levels]
        return Features(rows[0] if len(rows) == 1 else torch.cat(rows, 1), maps)

    def map_size(self, name: str, *, height: int, width: int) -> tuple[int, int]:
        """Return what the network says."""
        return self.network.map_size(name, height=height, width=width)

    def list_layers(self) -> Sequence[Sequence[str]]:
        """Return the network's layers."""
        return [[f"network.{name}" for name in names] for names in self.network.list_layers()]


class EncoderSet(AbstractBackbone):
    """Several encoders as one network, always in evaluation mode: neither batch norm nor dropout follows training.

    The pooled features are those of the encoders one after the other; the maps have the encoder's name in front.

    Args:
        networks: by the encoder's name, in order.
        levels: names of maps that all have, or ``"pooled"``; see :class:`Encoder`.
        is_trained: whether gradients reach the weights.
    """

    def __init__(
        self, networks: Mapping[str, AbstractBackbone], *, levels: Sequence[str] = (POOLED,), is_trained: bool = False
    ) -> None:
        super().__init__()
        made = {name: Encoder(network, levels, name=name) for name, network in networks.items()}
        self.encoders = nn.ModuleDict(made)
        self.num_features = sum(encoder.num_features for encoder in made.values())
        self.map_channels = {
            f"{name}_{place}": count for name, encoder in made.items() for place, count in encoder.map_channels.items()
        }
        self.requires_grad_(is_trained)
        self.eval()

    @property
    def widths(self) -> tuple[tuple[int, ...], ...]:
        """For each encoder, the number of features at each level."""
        return tuple(tuple(level.width for level in encoder.levels) for encoder in self.members)

    @property
    def totals(self) -> list[int]:
        """For each encoder, the features of all levels together."""
        return [encoder.num_features for encoder in self.members]

    @property
    def members(self) -> list[Encoder]:
        """The encoders, in order."""
        return [cast("Encoder", encoder) for encoder in self.encoders.values()]

    def forward(self, images: Images) -> Features:
        """Return the features of all encoders."""
        found = {name: cast("Features", encoder(images)) for name, encoder in self.encoders.items()}
        maps = {f"{name}_{place}": each for name, features in found.items() for place, each in features.maps.items()}
        return Features(torch.cat([features.pooled for features in found.values()], 1), maps)

    def train(self, mode: bool = True) -> "EncoderSet":
        """Stay in evaluation mode."""
        del mode
        return super().train(mode=False)

    def list_layers(self) -> Sequence[Sequence[str]]:
        """Return the layers of all encoders, counted from behind, where heads and fusion are."""
        found: dict[int, list[str]] = {}
        for name, encoder in self.encoders.items():
            for number, names in enumerate(reversed(cast("Encoder", encoder).list_layers())):
                found.setdefault(number, []).extend(f"encoders.{name}.{each}" for each in names)
        return [found[number] for number in sorted(found, reverse=True)]

    def map_size(self, name: str, *, height: int, width: int) -> tuple[int, int]:
        """Return what the encoder says whose map it is."""
        for encoder, network in self.encoders.items():
            own = name.removeprefix(f"{encoder}_")
            if own != name and own in cast("Encoder", network).map_channels:
                return cast("Encoder", network).map_size(own, height=height, width=width)
        raise ValueError(f"expected a map of the encoders, got {name!r}: name one of {', '.join(self.map_channels)}")


class RenormalisedBackbone(AbstractBackbone):
    """A network that is trained further, on inputs that are normalised anew as it was trained with.

    Args:
        network: trained.
        scale: shape ``(channels, 1, 1)``; what inputs are multiplied by.
        shift: likewise; what is added then.
    """

    scale: Float[Tensor, "channels 1 1"]
    shift: Float[Tensor, "channels 1 1"]

    def __init__(self, network: AbstractBackbone, *, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.network = network
        self.num_features, self.map_channels = network.num_features, dict(network.map_channels)
        self.register_buffer("scale", scale.clone())
        self.register_buffer("shift", shift.clone())

    def forward(self, images: Images) -> Features:
        """Return the features."""
        features: Features = self.network(images * self.scale + self.shift)
        return features

    def map_size(self, name: str, *, height: int, width: int) -> tuple[int, int]:
        """Return what the network says."""
        return self.network.map_size(name, height=height, width=width)

    def list_layers(self) -> Sequence[Sequence[str]]:
        """Return the network's layers."""
        return [[f"network.{name}" for name in names] for names in self.network.list_layers()]
