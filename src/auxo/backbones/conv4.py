"""Four convolutions with maps at the image's own size, a half and a quarter: for the pixels of small images."""

from types import MappingProxyType

from torch import Tensor, nn

from auxo.interfaces import AbstractBackbone
from auxo.layers.convolutions import build_convolution, initialise_convolutions
from auxo.types import Features, Images

NAMES = ("conv4",)
SOURCE = (
    "Ours, for two CPU cores: 5x5 convolutions first, which see a texture before its size is halved, each with batch "
    "norm and ReLU. A cell of the last map reads 21 x 21 pixels. With three colour channels it has 76,664 parameters."
)

MINIMUM_PIXELS = 4
_WIDTHS = (24, 32, 64)


class Conv4(AbstractBackbone):
    """A 5x5 convolution, one with stride 2, and two 3x3 convolutions, the first of them with stride 2; 64 features.

    Maps: ``stage1`` of 24 channels at the size of the image, ``stage2`` of 32 at half and ``stage3`` of 64 at a quarter
    of it, rounded up.

    Args:
        channels: colour channels of an image.
    """

    num_features = _WIDTHS[-1]
    map_channels = MappingProxyType({f"stage{number}": width for number, width in enumerate(_WIDTHS, start=1)})

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.stage1 = build_convolution(channels, first, size=5)
        self.stage2 = build_convolution(first, second, size=5, stride=2)
        self.stage3 = nn.Sequential(build_convolution(second, third, stride=2), build_convolution(third, third))
        initialise_convolutions(self)

    def forward(self, images: Images) -> Features:
        """Return the mean over the last stage's pixels and the three stages' maps."""
        stage1: Tensor = self.stage1(images)
        stage2: Tensor = self.stage2(stage1)
        stage3: Tensor = self.stage3(stage2)
        return Features(stage3.mean(dim=(2, 3)), {"stage1": stage1, "stage2": stage2, "stage3": stage3})


def build(name: str, *, channels: int, height: int, width: int) -> Conv4:
    """Return a network of four convolutions.

    Args:
        name: ``"conv4"``.
        channels: colour channels of an image.
        height: pixels, >= ``MINIMUM_PIXELS``; the network is the same for every size.
        width: pixels, >= ``MINIMUM_PIXELS``.

    Example:
        >>> sum(p.numel() for p in build("conv4", channels=3, height=64, width=64).parameters())
        76664
    """
    del name, height, width
    return Conv4(channels=channels)
