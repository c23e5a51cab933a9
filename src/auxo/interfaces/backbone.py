"""What a backbone is: a network without heads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
