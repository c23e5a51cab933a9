"""ResNet-18 with a stem for small images: four stages of residual blocks, 64 to 512 channels."""

from torch import nn
from torch.nn import functional

from auxo.backbones._convolutional import initialise_convolutions, require_size, stage_of_blocks
from auxo.backbones._residual import ResidualBlock
from auxo.interfaces import AbstractBackbone
from auxo.types import Features, Images

__all__ = ["NAMES", "SOURCE", "ResNet18", "build"]

NAMES = ("resnet18_cifar",)
SOURCE = (
    "He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016, Table 1, shortcuts of option B "
    "(https://arxiv.org/abs/1512.03385), with the stem for small images that many released recipes use, such as "
    "https://github.com/kuangliu/pytorch-cifar: one 3x3 convolution with stride 1 in place of the 7x7 convolution with "
    "stride 2, and no max pooling. With three colour channels and a head of 200 classes it has 11,271,432 parameters, "
    "as torchvision's ResNet-18 with that stem. Differs from the paper: the stem; images may have any size from 8 "
    "pixels."
)

_WIDTHS = (64, 128, 256, 512)
_BLOCKS_PER_STAGE = 2
_MINIMUM_PIXELS = 8


class ResNet18(AbstractBackbone):
    """A 3x3 convolution and four stages of two residual blocks with 64, 128, 256 and 512 channels; 512 features.

    Maps: ``stage1`` at the size of the image, then ``stage2``, ``stage3`` and ``stage4``, each at half the size of the
    one before, rounded up.

    Args:
        channels: colour channels of an image.
    """

    num_features = _WIDTHS[-1]

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, _WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTHS[0])
        before = (_WIDTHS[0], *_WIDTHS)
        self.stages = nn.ModuleList(
            stage_of_blocks(_block, before[i], width, num_blocks=_BLOCKS_PER_STAGE, stride=2 if i else 1)
            for i, width in enumerate(_WIDTHS)
        )
        initialise_convolutions(self)

    def forward(self, images: Images) -> Features:
        """Return the mean over the last stage's pixels and the four stages' maps."""
        last = functional.relu(self.norm(self.convolution(images)))
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            last = maps[f"stage{number}"] = stage(last)
        return Features(last.mean(dim=(2, 3)), maps)


def _block(in_channels: int, out_channels: int, stride: int) -> ResidualBlock:
    """Return a block whose shortcut, where the shape changes, is a pointwise convolution with batch norm."""
    is_identity = stride == 1 and in_channels == out_channels
    shortcut = (
        nn.Identity()
        if is_identity
        else nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    )
    return ResidualBlock(in_channels, out_channels, stride, shortcut=shortcut)


def build(name: str, *, channels: int, height: int, width: int) -> ResNet18:
    """Return a ResNet-18 for small images.

    Args:
        name: ``"resnet18_cifar"``.
        channels: colour channels of an image.
        height: pixels, >= 8.
        width: pixels, >= 8.

    Raises:
        ShapeError: a side is shorter than 8 pixels.

    Example:
        >>> sum(p.numel() for p in build("resnet18_cifar", channels=3, height=64, width=64).parameters())
        11168832
    """
    require_size(name, height=height, width=width, minimum=_MINIMUM_PIXELS)
    return ResNet18(channels=channels)
