"""The user's arrays as uint8 images and columns, or a reason why not."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from auxo.data.decode import MIN_PIXELS
from auxo.data.names import refuse_alike
from auxo.errors import DataError
from auxo.types import Column


def as_tensor(
    name: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | Sequence[int] | Tensor"
) -> Shaped[Tensor, "..."]:
    """Return the user's array as a tensor; one that is read-only or strided backwards is copied."""
    if isinstance(values, np.ndarray):
        values = np.require(values, requirements=["C", "W"])
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError("arrays of numbers", f"{reason} in '{name}'", "give numbers") from error


def check_shape(name: str, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n channels height width"]:
    """Bring an image array to four dimensions with at least three channels, or refuse it."""
    if images.ndim == 3:
        images = images.unsqueeze(1)
    got = f"{tuple(images.shape)} in '{name}'"
    if images.ndim != 4 or not len(images):
        raise DataError("images of shape (n, channels, height, width)", got, "reshape the array; n is at least 1")
    if images.shape[1] not in (1, 3) and images.shape[-1] in (1, 3):
        raise DataError("channels before height and width", got, "permute the array to (n, channels, height, width)")
    if min(images.shape[2:]) < MIN_PIXELS:
        raise DataError(f"images of at least {MIN_PIXELS}x{MIN_PIXELS} pixels", got, "enlarge them")
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def to_uint8(name: str, images: Shaped[Tensor, "n channels height width"]) -> UInt8[Tensor, "n channels height width"]:
    """Convert pixels to uint8 on the CPU, or refuse them."""
    if images.dtype == torch.uint8:
        return images.cpu().contiguous()
    if not images.is_floating_point():
        raise DataError("uint8 or float images", f"{images.dtype} in '{name}'", "convert pixels to uint8 0..255")
    for is_valid, expected in (
        (images.isfinite(), "finite pixels"),
        ((images >= 0) & (images <= 1), "float pixels in [0, 1]"),
    ):
        bad = (~is_valid.flatten(1).all(dim=1)).nonzero().flatten()
        if len(bad):
            index = int(bad[0])
            pixel = float(images[index][~is_valid[index]][0])
            raise DataError(expected, f"{pixel:g} in image {index} of '{name}'", "scale or repair the array")
    return (images * 255).round().to(torch.uint8).cpu().contiguous()


def number_values(
    source: str,
    name: str,
    values: "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | Sequence[int] | Tensor",
    names: Sequence[str],
) -> Column:
    """Return a column of the user's own whole numbers.

    Args:
        source: its name, for the message.
        name: of the column.
        values: one whole number per image.
        names: what the numbers from 0 stand for.

    Raises:
        DataError: there are fewer than two names, two are alike, or the values are no whole numbers in one row.
    """
    if len(set(names)) != len(names) or len(names) < 2:
        got = f"{list(names)} in '{source}'"
        raise DataError(f"at least two different names of '{name}'", got, "name everything once")
    refuse_alike(names, where=f"'{source}'")
    numbers = as_tensor(source, values)
    if numbers.ndim != 1 or numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        got = f"{numbers.dtype} of shape {tuple(numbers.shape)} in '{source}'"
        raise DataError(f"integers '{name}' of shape (n,)", got, "give one whole number per image")
    return Column(numbers.long().cpu(), tuple(names))
