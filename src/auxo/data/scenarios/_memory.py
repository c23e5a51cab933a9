"""Images that a scenario has made, as a source of the size the user asked for."""

from collections.abc import Mapping, Sequence

from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from auxo.data.config import DataConfig
from auxo.data.sources import InMemorySource
from auxo.types import Column


def made_source(
    name: str,
    images: UInt8[Tensor, "n 3 height width"],
    columns: Mapping[str, Column],
    config: DataConfig,
    *,
    origins: Sequence[str] | None = None,
    notes: tuple[str, ...] = (),
) -> InMemorySource:
    """Return square images as a source, resized (bilinear, antialiased) if ``config.image_size`` says so."""
    size = config.image_size
    if size is not None and size != images.shape[3]:
        images = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return InMemorySource(name, images, columns, origins=origins, notes=notes)
