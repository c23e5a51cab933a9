"""LeNet-5 with ReLU and max pooling: two convolutions and two linear layers, for 28 or 32 pixels."""

from types import MappingProxyType

from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import ShapeError
from auxo.interfaces import AbstractBackbone
from auxo.types import Features, Images

NAMES = ("lenet5",)
SOURCE = (
    "LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE "
    "86(11), 1998, Section II.B (https://doi.org/10.1109/5.726791). Differs: ReLU for the scaled tanh, max pooling "
    "for trainable subsampling, every map of the second convolution sees all of the first's, a linear head for the "
    "radial basis functions, PyTorch's default initialisation. With one channel and a head of ten classes it has "
    "61,706 parameters."
)

_SIDES = (28, 32)
_MAP_SIZES = {"stage1": 28, "stage2": 20}  # 14 cells of 2 pixels and 5 of 4: the rim goes in unpadded convolutions


class LeNet5(AbstractBackbone):
    """Two stages of convolution, ReLU and max pooling, then two linear layers; 84 features.

    Images of 28 pixels are padded by zeros to 32, as in the paper, where digits of 28 pixels lie in a field of 32.
    Maps: ``stage1`` of shape ``(batch, 6, 14, 14)`` and ``stage2`` of shape ``(batch, 16, 5, 5)``, both after pooling.

    Args:
        channels: colour channels of an image.
        height: pixels, 28 or 32.
        width: pixels, 28 or 32.
    """

    num_features = 84
    map_channels = MappingProxyType({"stage1": 6, "stage2": 16})

    def __init__(self, *, channels: int, height: int, width: int) -> None:
        super().__init__()
        padding = ((32 - height) // 2, (32 - width) // 2)
        self.convolution1 = nn.Conv2d(channels, 6, 5, padding=padding)
        self.convolution2 = nn.Conv2d(6, 16, 5)
        self.linear1 = nn.Linear(16 * 5 * 5, 120)
        self.linear2 = nn.Linear(120, self.num_features)

    def forward(self, images: Images) -> Features:
        """Return 84 pooled features, after ReLU, and the two stages' maps."""
        stage1 = _halve_maps(self.convolution1(images))
        stage2 = _halve_maps(self.convolution2(stage1))
        hidden = functional.relu(self.linear1(stage2.flatten(1)))
        return Features(functional.relu(self.linear2(hidden)), {"stage1": stage1, "stage2": stage2})

    def map_size(self, name: str, *, height: int, width: int) -> tuple[int, int]:
        """Return the 28 or 20 pixels in the middle of the image that the cells of a map are centred over."""
        del height, width
        return _MAP_SIZES[name], _MAP_SIZES[name]


def _halve_maps(maps: Tensor) -> Tensor:
    """Return the maps after ReLU and max pooling; the two commute, and this order has a quarter of the work."""
    return functional.relu(functional.max_pool2d(maps, 2))


def build(name: str, *, channels: int, height: int, width: int) -> LeNet5:
    """Return a LeNet-5.

    Args:
        name: ``"lenet5"``.
        channels: colour channels of an image.
        height: pixels, 28 or 32.
        width: pixels, 28 or 32.

    Raises:
        ShapeError: a side is neither 28 nor 32 pixels.

    Example:
        >>> sum(p.numel() for p in build("lenet5", channels=1, height=28, width=28).parameters())
        60856
    """
    if height not in _SIDES or width not in _SIDES:
        raise ShapeError(
            f"images with sides of 28 or 32 pixels for the backbone {name}",
            f"{height}x{width}",
            "pass --data.image-size 32, or --backbone.name resnet20, which takes any size",
        )
    return LeNet5(channels=channels, height=height, width=width)
