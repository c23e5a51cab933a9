"""From uint8 batches to normalised, augmented floats, on the device the batch is on."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import torch
from jaxtyping import Float
from kornia.augmentation import ImageSequential, RandomCrop, RandomHorizontalFlip
from kornia.augmentation.container.params import ParamItem
from torch import Tensor, nn

from auxo.data.augmentations import cutout, rand_augment
from auxo.data.config import Augment
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.two_views import SIMCLR_VIEWS, resized_crop, simclr_view
from auxo.errors import ConfigError, DataError
from auxo.random import Draws, global_seed, named_generator
from auxo.types import Batch, Normalisation

__all__ = ["InputPipeline"]

_MAX_STREAMED = 2000
_CHUNK = 500
_SHAPE_KEY = "forward_input_shape"
_STRONG = "strong"
_RESIZED = "crop_resize"
_FLIP = "_flip"
_NAMES = (*get_args(Augment), _STRONG, *SIMCLR_VIEWS)


class InputPipeline(nn.Module):
    """Scales pixels to [0, 1], augments, and normalises each channel to mean 0 and standard deviation 1.

    Args:
        mean: shape ``(channels,)``; per-channel mean of pixel values in [0, 1].
        std: shape ``(channels,)``; their standard deviation, > 0.
        image_shape: ``(channels, height, width)`` of the images.
        augment: the run's augmentation: "none", "crop" (random crops after zero padding by an eighth of the shorter
            side, 4 pixels of 32), "crop_resize" (random parts scaled to the image's size, see
            :func:`auxo.data.two_views.resized_crop`), or "crop_flip" and "crop_resize_flip" (those and, for every
            second image on average, a horizontal flip).

    A single call can name another of these, or one of

    - "strong": the run's own, then three random operations (:func:`auxo.data.augmentations.rand_augment`), then a
      square of the mean colour of up to half the shorter side;
    - "simclr", "simclr_second": the two views of self-supervised learning (:func:`auxo.data.two_views.simclr_view`).

    "crop_resize", "simclr" and "simclr_second" flip where the run's own augmentation does, because whether a mirror
    image is as good as the image is known of the data, not of the method.
    """

    mean: Float[Tensor, " channels"]
    std: Float[Tensor, " channels"]

    def __init__(
        self,
        mean: Float[Tensor, " channels"],
        std: Float[Tensor, " channels"],
        *,
        image_shape: tuple[int, int, int],
        augment: Augment = "none",
        place_fill: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.augment = augment
        self.place_fill = dict(place_fill or {})
        _, height, width = image_shape
        size, padding = (height, width), min(height, width) // 8

        def crop() -> RandomCrop:
            return RandomCrop(size, padding=padding, cropping_mode="resample", resample="nearest")

        self.augmentations = nn.ModuleDict(
            {
                "none": nn.Identity(),
                "crop": ImageSequential(crop()),
                "crop_flip": ImageSequential(crop(), RandomHorizontalFlip(p=0.5)),
            }
        )

    @classmethod
    def from_source(
        cls, source: AbstractSource, *, augment: Augment = "none", place_fill: Mapping[str, float] | None = None
    ) -> "InputPipeline":
        """Return a pipeline that normalises by the statistics of the training images.

        Args:
            source: training images; all of them count in memory, at most 2,000 evenly spaced ones when streaming.
            augment: see :class:`InputPipeline`.

        Raises:
            DataError: all pixels of a channel are equal.
        """
        mean, std = _statistics(source)
        return cls(mean, std, image_shape=source.image_shape, augment=augment, place_fill=place_fill)

    def forward(self, batch: Batch, *, seed: int | None, augment: str | None = None) -> Batch:
        """Return the batch with float32 images, on the same device and in the same memory format.

        Args:
            batch: uint8 images.
            seed: of the augmentation, drawn for the joined batch, so that the parts of several processes are augmented
                as one process would augment the whole; ``None`` leaves it out, for evaluation.
            augment: name of the augmentation; ``None`` means the run's own.

        Raises:
            ConfigError: there is no such augmentation, or it is "strong" and the images have other than three channels.
        """
        images = batch.images.float() / 255
        if seed is not None:
            images = self._augmented(self.checked(augment), images, batch, seed)
        normalisation = Normalisation(self.mean.view(-1, 1, 1), self.std.view(-1, 1, 1))
        return replace(batch, images=normalisation.to_inputs(images), normalisation=normalisation)

    def checked(self, augment: str | None) -> str:
        """Return the name of an augmentation that can be applied, the run's own for ``None``.

        Raises:
            ConfigError: there is no such augmentation, or it does not suit the images.
        """
        if augment is None:
            return self.augment
        if augment not in _NAMES:
            raise ConfigError(f"an augmentation among {', '.join(_NAMES)}", repr(augment), "name one of them")
        channels = len(self.mean)
        if augment == _STRONG and channels != 3:
            raise ConfigError("images of 3 channels for strong augmentation", str(channels), "repeat or drop channels")
        return augment

    def _augmented(
        self, name: str, images: Float[Tensor, "batch c h w"], batch: Batch, seed: int
    ) -> Float[Tensor, "batch c h w"]:
        """Apply the augmentation called ``name``; the memory format stays."""
        is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
        base = self.augment if name == _STRONG else name
        flip_prob = 0.5 if base.endswith(_FLIP) or self.augment.endswith(_FLIP) else 0.0

        def draws(stream: str) -> Draws:
            return Draws(named_generator(seed, stream), first=batch.first, total=batch.joined_size)

        if base in SIMCLR_VIEWS:
            images = simclr_view(images, draws(base), view=SIMCLR_VIEWS[base], flip_prob=flip_prob)
        elif base.startswith(_RESIZED):
            images = resized_crop(images, draws(_RESIZED), flip_prob=flip_prob)
        elif isinstance(shift := self.augmentations[base], ImageSequential):
            images = _shifted(shift, images, batch, seed)
        if name == _STRONG:
            operations = draws(_STRONG)
            images = cutout(rand_augment(images, operations), operations, fill=self.mean)
        return images.contiguous(memory_format=torch.channels_last) if is_channels_last else images


def _shifted(
    augmentation: ImageSequential, images: Float[Tensor, "batch c h w"], batch: Batch, seed: int
) -> Float[Tensor, "batch c h w"]:
    """Draw for the joined batch and apply this part's draws."""
    with global_seed(seed):
        drawn = augmentation.forward_parameters(torch.Size((batch.joined_size, *images.shape[1:])))
    params = [
        ParamItem(item.name, _part(item.data, batch.first, len(batch))) for item in drawn if isinstance(item.data, dict)
    ]
    augmented: Tensor = augmentation(images, params=params)
    return augmented


def _part(drawn: Mapping[str, Tensor], first: int, count: int) -> dict[str, Tensor]:
    """Keep the draws of the images ``first`` to ``first + count - 1``; the batch shape becomes theirs."""
    part = {key: value[first : first + count] for key, value in drawn.items() if key != _SHAPE_KEY}
    shape = drawn[_SHAPE_KEY].clone()
    shape[0] = count
    return {**part, _SHAPE_KEY: shape}


def _statistics(source: AbstractSource) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """Return mean and standard deviation of each channel in [0, 1], from exact integer sums."""
    indices = torch.arange(len(source))
    if not isinstance(source, InMemorySource) and len(source) > _MAX_STREAMED:
        indices = torch.linspace(0, len(source) - 1, _MAX_STREAMED, dtype=torch.float64).long()
    sums = torch.zeros(2, source.image_shape[0], dtype=torch.int64)
    for chunk in indices.split(_CHUNK):
        pixels = source.fetch(chunk).int()
        sums += torch.stack([pixels.sum((0, 2, 3)), pixels.square().sum((0, 2, 3))])
    count = len(indices) * source.image_shape[1] * source.image_shape[2]
    mean, mean_square = sums.double() / count
    std = (mean_square - mean.square()).clamp(min=0).sqrt()
    if (std == 0).any():
        channel = int((std == 0).nonzero()[0])
        got = f"only the value {mean[channel]:g} in channel {channel} of '{source.name}'"
        raise DataError("pixels that differ", got, "check that the images are not blank")
    return (mean / 255).float(), (std / 255).float()
