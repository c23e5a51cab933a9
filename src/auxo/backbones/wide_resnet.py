"""Wide residual networks for small images: 10, 28 or 40 layers, with batch norm and activation before convolution."""

from typing import NamedTuple

from auxo.backbones._pre_activation import PreActivationNetwork

NAMES = ("wrn_10_1", "wrn_28_2", "wrn_28_2_fixmatch", "wrn_40_2")
SOURCE = (
    "Zagoruyko, Komodakis, Wide Residual Networks, BMVC 2016, Table 1 (https://arxiv.org/abs/1605.07146; "
    "https://github.com/szagoruyko/wide-residual-networks): wrn_D_K has D layers and K times 16, 32 and 64 channels; "
    "no dropout. With three colour channels and a head of ten classes wrn_40_2 has 2,243,546 parameters, as in "
    "https://github.com/hendrycks/ss-ood. Ours: wrn_10_1, for experiments on a CPU. wrn_28_2_fixmatch is wrn_28_2 with "
    "LeakyReLU of slope 0.1 and a batch-norm momentum of 0.001, as https://github.com/LeeDoYup/FixMatch-pytorch trains "
    "it; the first release, https://github.com/google-research/fixmatch, has also biases in its convolutions, no "
    "activation before the shortcuts of the second and third stage, and 0.001 where batch norm has 0.00001 here. "
    "Differs: the last maps are averaged whatever their size, where released code fixes them to 8x8; inputs are "
    "normalised by the data pipeline, where the adversarial release maps pixels to [-1, 1]."
)

_FIRST_WIDTH = 16
MINIMUM_PIXELS = 8


class _Form(NamedTuple):
    """What distinguishes one network from the others."""

    depth: int
    widening: int
    negative_slope: float = 0.0
    momentum: float = 0.1


_FORMS = {
    "wrn_10_1": _Form(10, 1),
    "wrn_28_2": _Form(28, 2),
    "wrn_28_2_fixmatch": _Form(28, 2, negative_slope=0.1, momentum=0.001),
    "wrn_40_2": _Form(40, 2),
}


def build(name: str, *, channels: int, height: int, width: int) -> PreActivationNetwork:
    """Return a wide residual network; maps ``stage1`` to ``stage3``, 64 times the widening features.

    Args:
        name: ``"wrn_10_1"``, ``"wrn_28_2"``, ``"wrn_28_2_fixmatch"`` or ``"wrn_40_2"``.
        channels: colour channels of an image.
        height: pixels, >= ``MINIMUM_PIXELS``; the network is the same for every size.
        width: pixels, >= ``MINIMUM_PIXELS``.

    Example:
        >>> sum(p.numel() for p in build("wrn_40_2", channels=3, height=32, width=32).parameters())
        2242256
    """
    del height, width
    form = _FORMS[name]
    return PreActivationNetwork(
        channels=channels,
        first_width=_FIRST_WIDTH,
        widths=[base * form.widening for base in (16, 32, 64)],
        blocks_per_stage=(form.depth - 4) // 6,
        negative_slope=form.negative_slope,
        momentum=form.momentum,
    )
