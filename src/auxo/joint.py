"""One pass of a backbone over a batch and over the pretext inputs made from it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import ConfigError
from auxo.interfaces import AbstractPretext
from auxo.random import Draws
from auxo.types import Images


class JointFeatures(NamedTuple):
    """Features of a batch and of its pretext inputs.

    Args:
        upright: shape ``(batch, dim)``; of the images as they are.
        pretext: shape ``(n, dim)``; of the pretext inputs.
        targets: the pretext's answers, shape ``(n,)``.
    """

    upright: Float[Tensor, "batch dim"]
    pretext: Float[Tensor, "n dim"]
    targets: Tensor


def check_shared_upright(mode: str, *, shared_upright: bool) -> None:
    """Refuse to share the upright block of a rotated batch that has none."""
    if shared_upright and mode != "expand":
        raise ConfigError("rotation expand with shared-upright", mode, "pass --method.rotation expand")


def joint_features(
    backbone: nn.Module, pretext: AbstractPretext, images: Images, *, draws: Draws, shared_upright: bool = False
) -> JointFeatures:
    """Return the features of ``images`` and of the pretext inputs made from them.

    Two forward passes, so that batch norm sees the batch and the pretext inputs apart, as the released code of OSSL and
    of Deng et al. do.

    Args:
        backbone: returns :class:`auxo.types.Features`.
        pretext: makes the inputs.
        images: shape ``(batch, channels, height, width)``; normalised.
        draws: the pretext's random numbers.
        shared_upright: take the features of the images from the pass over the rotated batch, whose first block is the
            images as they are. One pass fewer; changes numbers where batch norm is used. Only for expanded rotation.
    """
    made = pretext.make(images, draws=draws)
    if shared_upright:
        features = backbone(made.inputs).pooled
        return JointFeatures(features[: len(images)], features, made.targets)
    upright = backbone(images).pooled
    return JointFeatures(upright, backbone(made.inputs).pooled, made.targets)
