"""What the backbones of other libraries share: their trial on a blank image, and the first line of their errors."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from auxo.errors import ShapeError
from auxo.types import Features, Images


class Widths(NamedTuple):
    """What another library's model gives.

    Args:
        num_features: length of the pooled vector.
        map_channels: channels of the maps, by name.
    """

    num_features: int
    map_channels: Mapping[str, int]


def first_line(error: Exception) -> str:
    """Return the first line of another library's message, or its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def try_out(
    model: nn.Module,
    features: Callable[[nn.Module, Images], Features],
    *,
    name: str,
    channels: int,
    height: int,
    width: int,
) -> Widths:
    """Return the length of the pooled vector and the channels of the maps: one forward and backward pass of one image.

    Parameters that the pooled vector does not depend on, such as the token that stands for hidden patches in
    pretraining, become buffers: no method could train them, and a two-level one would refuse them.

    Args:
        model: another library's; left in training mode.
        features: computes its features.
        name: the backbone, for the message.
        channels: colour channels of an image.
        height: pixels.
        width: pixels.

    Raises:
        ShapeError: the model cannot take images of this size.
    """
    model.eval()
    try:
        with torch.enable_grad():
            pooled, maps = features(model, torch.zeros(1, channels, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ShapeError(
            f"images of a size that {name} takes",
            f"{height}x{width} ({first_line(error)})",
            "resize them to the model's size by --data.image-size",
        ) from error
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(pooled.sum(), list(parameters.values()), allow_unused=True)
    for (path, value), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is None:
            place, _, leaf = path.rpartition(".")
            owner = model.get_submodule(place)
            delattr(owner, leaf)
            owner.register_buffer(leaf, value.detach())
    model.train()
    return Widths(int(pooled.shape[1]), {key: int(each.shape[1]) for key, each in maps.items()})
