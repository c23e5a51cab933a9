"""No decoder: a map of the backbone as it is, so that a classifier on it is linear."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.errors import OptionError
from auxo.layers.decoders._interface import AbstractDecoder, DecoderConfig, MapShape

SOURCE = (
    "Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, without its skips "
    "(https://arxiv.org/abs/1411.4038): one map, a 1x1 classifier, and bilinear interpolation to the image."
)


class Linear(AbstractDecoder):
    """One map of the backbone, without parameters of its own.

    Args:
        map_name: of the map.
        num_features: its channels.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DecoderConfig):
        """Options of the linear decoder."""

        map: str = ""
        """Name of the backbone's map; by default the coarsest, behind which there is nothing that stays untrained."""

        def build(self, shapes: Mapping[str, MapShape], *, seed: int) -> "Linear":
            """See :meth:`DecoderConfig.build`."""
            del seed
            name = self.map or [*shapes][-1]
            if name not in shapes:
                known = ", ".join(shapes)
                raise OptionError("map", f"one of the backbone's maps, {known}", repr(name), "name one of them")
            return Linear(name, shapes[name].channels)

    def __init__(self, map_name: str, num_features: int) -> None:
        super().__init__()
        self.map_name, self.num_features = map_name, num_features

    def forward(self, maps: Mapping[str, Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch features rows columns"]:
        """Return the map."""
        return maps[self.map_name]
