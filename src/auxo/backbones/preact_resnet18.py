"""Pre-activation ResNet-18 for small images: four stages, 64 to 512 channels, activation before convolution."""

from auxo.backbones._pre_activation import PreActivationNetwork

SOURCE = (
    "He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016 (https://arxiv.org/abs/1603.05027), "
    "in the widths of a ResNet-18 with a 3x3 convolution as stem, as https://github.com/kuangliu/pytorch-cifar has it. "
    "Differs from that code, which leaves the last sum as it is: batch norm and ReLU follow the last block, as in the "
    "paper and its release (https://github.com/KaimingHe/resnet-1k-layers), 1,024 parameters more; with three colour "
    "channels and a head of ten classes 11,172,170. Images may have any size from 8 pixels."
)

_WIDTHS = (64, 128, 256, 512)
_BLOCKS_PER_STAGE = 2
MINIMUM_PIXELS = 8


def build(name: str, *, channels: int, height: int, width: int) -> PreActivationNetwork:
    """Return a pre-activation ResNet-18; maps ``stage1`` to ``stage4``, 512 features.

    Args:
        name: ``"preact_resnet18"``.
        channels: colour channels of an image.
        height: pixels, >= ``MINIMUM_PIXELS``; the network is the same for every size.
        width: pixels, >= ``MINIMUM_PIXELS``.

    Example:
        >>> sum(p.numel() for p in build("preact_resnet18", channels=3, height=32, width=32).parameters())
        11167040
    """
    del name, height, width
    return PreActivationNetwork(
        channels=channels, first_width=_WIDTHS[0], widths=_WIDTHS, blocks_per_stage=_BLOCKS_PER_STAGE
    )
