"""ResNet-18 and ResNet-50: four stages of residual blocks, with the paper's stem or one for small images."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from auxo.backbones._convolutional import stage_of_blocks
from auxo.backbones._residual import BottleneckBlock, ResidualBlock
from auxo.interfaces import AbstractBackbone
from auxo.layers.convolutions import initialise_convolutions
from auxo.types import Features, Images

NAMES = ("resnet18", "resnet18_cifar", "resnet50", "resnet50_cifar")
SOURCE = (
    "He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016, Table 1, shortcuts of option B "
    "(https://arxiv.org/abs/1512.03385). The names in _cifar have the stem for small images that many released recipes "
    "use, such as https://github.com/kuangliu/pytorch-cifar: one 3x3 convolution with stride 1 in place of the 7x7 "
    "convolution with stride 2, and no max pooling. Differs from the paper: the blocks of ResNet-50 halve the size in "
    "their 3x3 convolution, as https://github.com/pytorch/vision has it, and images may have any size from 8 pixels. "
    "With three colour channels and a head of 1,000 classes resnet18 has 11,689,512 and resnet50 25,557,032 "
    "parameters, as torchvision's; resnet18_cifar with a head of 200 has 11,271,432."
)

_BLOCKS_PER_STAGE = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)
MINIMUM_PIXELS = 8


class ResNet(AbstractBackbone):
    """A stem and four stages of residual blocks, each stage but the first halving the size; 512 or 2,048 features.

    Maps: ``stage1`` at the size of the image, or at a quarter of it with the paper's stem, then ``stage2``, ``stage3``
    and ``stage4``, each at half the size of the one before, rounded up.

    Args:
        channels: colour channels of an image.
        block: a block's class, whose ``expansion`` says how many times wider its output is than the stage.
        blocks_per_stage: four numbers >= 1.
        is_stem_small: the stem is a 3x3 convolution alone.
    """

    def __init__(
        self,
        *,
        channels: int,
        block: type[ResidualBlock] | type[BottleneckBlock],
        blocks_per_stage: tuple[int, ...],
        is_stem_small: bool,
    ) -> None:
        super().__init__()
        size, stride = (3, 1) if is_stem_small else (7, 2)
        self.convolution = nn.Conv2d(channels, _WIDTHS[0], size, stride=stride, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTHS[0])
        self.pool = nn.Identity() if is_stem_small else nn.MaxPool2d(3, stride=2, padding=1)
        widths = [width * block.expansion for width in _WIDTHS]
        before = (_WIDTHS[0], *widths)
        self.stages = nn.ModuleList(
            stage_of_blocks(_with_shortcut(block), before[i], width, num_blocks=num_blocks, stride=2 if i else 1)
            for i, (width, num_blocks) in enumerate(zip(widths, blocks_per_stage, strict=True))
        )
        self.num_features = widths[-1]
        self.map_channels = {f"stage{number}": width for number, width in enumerate(widths, start=1)}
        initialise_convolutions(self)

    def forward(self, images: Images) -> Features:
        """Return the mean over the last stage's pixels and the four stages' maps."""
        last: Tensor = self.pool(functional.relu(self.norm(self.convolution(images))))
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            last = maps[f"stage{number}"] = stage(last)
        return Features(last.mean(dim=(2, 3)), maps)


def _with_shortcut(block: type[ResidualBlock] | type[BottleneckBlock]) -> Callable[[int, int, int], nn.Module]:
    """Return a maker of blocks whose shortcut, where the shape changes, is a pointwise convolution with batch norm."""

    def make(in_channels: int, out_channels: int, stride: int) -> nn.Module:
        is_identity = stride == 1 and in_channels == out_channels
        shortcut = (
            nn.Identity()
            if is_identity
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        )
        return block(in_channels, out_channels, stride, shortcut=shortcut)

    return make


def build(name: str, *, channels: int, height: int, width: int) -> ResNet:
    """Return a ResNet-18 or a ResNet-50.

    Args:
        name: one of ``NAMES``.
        channels: colour channels of an image.
        height: pixels, >= ``MINIMUM_PIXELS``; the network is the same for every size.
        width: pixels, >= ``MINIMUM_PIXELS``.

    Example:
        >>> sum(p.numel() for p in build("resnet50", channels=3, height=224, width=224).parameters())
        23508032
    """
    del height, width
    depth = name.removesuffix("_cifar")
    return ResNet(
        channels=channels,
        block=BottleneckBlock if depth == "resnet50" else ResidualBlock,
        blocks_per_stage=_BLOCKS_PER_STAGE[depth],
        is_stem_small=name != depth,
    )
