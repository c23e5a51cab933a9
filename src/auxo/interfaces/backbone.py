"""What a backbone is: a network without heads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from torch import nn

from auxo.types import Features, Images


class AbstractBackbone(nn.Module, ABC):
    """A network without heads.

    Attributes:
        num_features: length of the pooled vector.
        map_channels: by name, the channels of each map that ``forward`` returns, in its order, coarsest last; what
            heads on maps are built from. Empty where there are none.
    """

    num_features: int
    map_channels: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def forward(self, images: Images) -> Features:
        """Return pooled features and named maps of normalised images, shape ``(batch, channels, height, width)``."""

    def map_size(self, name: str, *, height: int, width: int) -> tuple[int, int]:
        """Return how many pixels of an image a map lies over, in height and width, around the image's centre.

        All of them unless convolutions without padding cut the rim off.

        Args:
            name: of the map.
            height: pixels of the image.
            width: pixels of the image.
        """
        del name
        return height, width

    def list_layers(self) -> Sequence[Sequence[str]]:
        """Return the names of the parameters of each layer, from the image on, for rates that decay with depth.

        A layer is a block, or what stands before and behind the blocks. By default see :func:`group_layers`.
        """
        return group_layers(self)


def group_layers(network: nn.Module, *, numbers: int = 2, prefix: str = "") -> Sequence[Sequence[str]]:
    """Return the names of the parameters of each layer of a network, in the order in which they were made.

    A block is told by the numbers in its parameters' names. Layers without weights of two dimensions or more, such as
    the norm behind the last block, count to the layer before them.

    Args:
        network: its parts stand in the order in which it computes them.
        numbers: 2 where blocks are counted within stages, as in ``stages.1.0.weight``, and 1 where blocks count parts
            of their own, as in ``encoder.layer.3.mlp.0.weight``.
        prefix: of the names that are returned.

    Example:
        >>> block = lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        >>> group_layers(nn.Sequential(block(), block()), numbers=1)[1]
        ['1.0.weight', '1.0.bias', '1.1.weight', '1.1.bias']
    """
    parameters, blocks = dict(network.named_parameters()), dict[str, list[str]]()
    for name in parameters:
        words = name.split(".")
        places = [place for place, word in enumerate(words[:-1]) if word.isdecimal()][:numbers]
        blocks.setdefault(".".join(words[: places[-1] + 1] if places else words[:1]), []).append(name)
    layers: list[list[str]] = []
    for names in blocks.values():
        own = [f"{prefix}{name}" for name in names]
        if layers and all(parameters[name].ndim < 2 for name in names):
            layers[-1] += own
        else:
            layers.append(own)
    return layers
