"""From uint8 batches to normalised, augmented floats, on the device the batch is on."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import get_args

import torch
from jaxtyping import Float
from kornia.augmentation import ImageSequential, RandomCrop, RandomHorizontalFlip
from kornia.augmentation.container.params import ParamItem
from torch import Tensor, nn

from auxo.data.augmentations import MOVES, Recolouring, apply_drawn, draw_operations, draw_squares
from auxo.data.columns import can_hold
from auxo.data.config import Augment
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.two_views import (
    SIMCLR_VIEWS,
    STANDARD_ASPECT,
    colour_jitter,
    crop_images,
    crop_places,
    draw_crops,
    draw_rectangles,
    recolour_view,
    retint_images,
)
from auxo.errors import ConfigError, DataError, ShapeError
from auxo.random import Draws, global_seed, named_generator
from auxo.types import Batch, Normalisation

_MAX_STREAMED = 2000
_CHUNK = 500
_MOST_PIXELS = 2**24
_SHAPE_KEY = "forward_input_shape"
_NO_RECOLOURING = Recolouring()
_NONE = "none"
_STRONG = "strong"
_RETINT = "retint"
_RESIZED = "crop_resize"
_FLIP = "_flip"
_NAMES = (*get_args(Augment), _STRONG, _RETINT, *SIMCLR_VIEWS)


class InputPipeline(nn.Module):
    """Scales pixels to [0, 1], augments, and normalises each channel by a mean and a standard deviation.

    Args:
        mean: shape ``(channels,)``; per-channel mean of pixel values in [0, 1].
        std: shape ``(channels,)``; their standard deviation, > 0.
        image_shape: ``(channels, height, width)`` of the images.
        augment: the run's augmentation: "none", "crop" (random crops after zero padding by an eighth of the shorter
            side, 4 pixels of 32), "crop_resize" (random parts scaled to the image's size, see
            :func:`auxo.data.two_views.draw_crops`), or "crop_flip" and "crop_resize_flip" (those and, for every
            second image on average, a horizontal flip).
        place_fill: the targets that have places, by name, each with the value for places that come from outside the
            image or are covered: augmentations that move pixels move them, too, each pixel's to where it goes. Such a
            target has the shape ``(n, height, width)`` or ``(n, k, height, width)``; default none.
        tints: mean and standard deviation of each channel of the training images, around which "retint" draws, where
            ``mean`` and ``std`` are those of other images.
        crop_aspect: range of width over height of the parts of "crop_resize", "simclr" and "simclr_second".
        recolouring: what the run's own augmentation goes on with, where no other is named.

    A single call can name another of these, or one of

    - "strong": the run's own, then three random operations (:func:`auxo.data.augmentations.draw_operations`), then a
      square of the colour ``mean`` of up to half the shorter side;
    - "retint": the run's own, then another tint and contrast (:func:`auxo.data.two_views.retint_images`);
    - "simclr", "simclr_second": the two views of self-supervised learning (:func:`auxo.data.two_views.recolour_view` of
      random parts).

    "crop_resize", "simclr" and "simclr_second" flip where the run's own augmentation does, because whether a mirror
    image is as good as the image is known of the data, not of the method.
    """

    mean: Float[Tensor, " channels"]
    std: Float[Tensor, " channels"]
    tint_mean: Float[Tensor, " channels"]
    tint_std: Float[Tensor, " channels"]

    def __init__(
        self,
        mean: Float[Tensor, " channels"],
        std: Float[Tensor, " channels"],
        *,
        image_shape: tuple[int, int, int],
        augment: Augment = "none",
        place_fill: Mapping[str, int | float] | None = None,
        tints: tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]] | None = None,
        crop_aspect: tuple[float, float] = STANDARD_ASPECT,
        recolouring: Recolouring = _NO_RECOLOURING,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        tint_mean, tint_std = (mean, std) if tints is None else tints
        self.register_buffer("tint_mean", tint_mean, persistent=False)  # not part of what predicts
        self.register_buffer("tint_std", tint_std, persistent=False)
        self.augment = augment
        self.crop_aspect = crop_aspect
        self.recolouring = recolouring
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
        cls,
        source: AbstractSource,
        *,
        augment: Augment = "none",
        place_fill: Mapping[str, int | float] | None = None,
        stated: tuple[Sequence[float], Sequence[float]] | None = None,
        draws_tints: bool = False,
        crop_aspect: tuple[float, float] = STANDARD_ASPECT,
        recolouring: Recolouring = _NO_RECOLOURING,
    ) -> "InputPipeline":
        """Return a pipeline for training images that normalises by their statistics, or by those that are stated.

        Args:
            source: training images; all of them count in memory, at most 2,000 evenly spaced ones when streaming.
            augment: see :class:`InputPipeline`.
            place_fill: see :class:`InputPipeline`.
            stated: mean and standard deviation of each channel in place of the images' own, which then are not read.
            draws_tints: whether "retint" is used, which draws around the images' own also where others are stated.
            crop_aspect: see :class:`InputPipeline`.
            recolouring: see :class:`InputPipeline`.

        Raises:
            DataError: all pixels of a channel are equal.
        """
        if stated is None:
            mean, std = _measure_channels(source)
            tints = None  # these are the images' own
        else:
            mean, std = map(torch.tensor, stated)
            tints = _measure_channels(source) if draws_tints else None
        return cls(
            mean,
            std,
            image_shape=source.image_shape,
            augment=augment,
            place_fill=place_fill,
            tints=tints,
            crop_aspect=crop_aspect,
            recolouring=recolouring,
        )

    def with_places(self, fills: Mapping[str, int | float]) -> "InputPipeline":
        """Return the same pipeline that moves further targets with places; see :class:`InputPipeline`."""
        other = copy(self)
        other.place_fill = {**self.place_fill, **fills}
        return other

    def forward(self, batch: Batch, *, seed: int | None, augment: str | None = None) -> Batch:
        """Return the batch with float32 images, on the same device and in the same memory format.

        Args:
            batch: uint8 images.
            seed: of the augmentation, drawn for the joined batch, so that the parts of several processes are augmented
                as one process would augment the whole; ``None`` leaves it out, for evaluation.
            augment: name of the augmentation; ``None`` means the run's own.

        Raises:
            ConfigError: there is no such augmentation, or it is "strong" and the images have other than three channels.
            ShapeError: a target with places has not one value for every pixel, its type cannot hold its fill, or there
                are more than 2 ** 24 pixels to be told apart.
        """
        images, targets = batch.images.float() / 255, batch.targets
        if seed is not None:
            images, places = self._augment_batch(self.checked(augment), images, batch, seed)
            if augment is None:
                images, places = self._recolour_batch(images, places, batch, seed)
            if places is not None:
                moved = {
                    name: _move_target(name, targets[name], places, fill)
                    for name, fill in self.place_fill.items()
                    if name in targets
                }
                targets = {**targets, **moved}
        normalisation = self.normalisation
        return replace(batch, images=normalisation.to_inputs(images), targets=targets, normalisation=normalisation)

    @property
    def normalisation(self) -> Normalisation:
        """What the pipeline makes of pixels in [0, 1]."""
        return Normalisation(self.mean.view(-1, 1, 1), self.std.view(-1, 1, 1))

    def checked(self, augment: str | None) -> str:
        """Return the name of an augmentation that can be applied, the run's own for ``None``.

        Raises:
            ConfigError: there is no such augmentation, or it does not suit the images.
        """
        if augment is None:
            if self.recolouring.needs_colours and len(self.mean) != 3:
                expected = "images of 3 channels for data.colour-jitter and data.rand-augment"
                raise ConfigError(expected, str(len(self.mean)), "leave them out")
            return self.augment
        if augment not in _NAMES:
            raise ConfigError(f"an augmentation among {', '.join(_NAMES)}", repr(augment), "name one of them")
        channels = len(self.mean)
        if augment == _STRONG and channels != 3:
            raise ConfigError("images of 3 channels for strong augmentation", str(channels), "repeat or drop channels")
        return augment

    def _augment_batch(
        self, name: str, images: Float[Tensor, "batch c h w"], batch: Batch, seed: int
    ) -> tuple[Float[Tensor, "batch c h w"], Float[Tensor, "batch 1 h w"] | None]:
        """Apply the augmentation called ``name``; the memory format stays.

        Returns:
            The images, and where each of their pixels comes from: its number in the image it was, from 1, or 0 for one
            from outside; ``None`` where nothing moves or no target has places. Numbers go through the very moves that
            the images go through, by nearest neighbours, which keep them exact.
        """
        is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
        base = self.augment if name in (_STRONG, _RETINT) else name
        flip_prob = 0.5 if base.endswith(_FLIP) or self.augment.endswith(_FLIP) else 0.0
        count, size = len(images), (images.shape[2], images.shape[3])
        draws = partial(_draw_for, batch, seed)
        moves = name == _STRONG or base != _NONE or self.recolouring != _NO_RECOLOURING
        places = _number_pixels(images) if moves and self.place_fill.keys() & batch.targets.keys() else None

        if base in SIMCLR_VIEWS or base.startswith(_RESIZED):
            own = draws(base if base in SIMCLR_VIEWS else _RESIZED)
            crops = draw_crops(own, count, size, flip_prob=flip_prob, aspect=self.crop_aspect)
            images = crop_images(images, crops)
            places = None if places is None else crop_places(places, crops)
            if base in SIMCLR_VIEWS:
                images = recolour_view(images, own, view=SIMCLR_VIEWS[base])
        elif isinstance(shift := self.augmentations[base], ImageSequential):
            params = _draw_shifts(shift, images, batch, seed)
            images = shift(images, params=params)
            places = None if places is None else shift(places, params=params)
        if name == _RETINT:
            images = retint_images(images, draws(_RETINT), mean=self.tint_mean, std=self.tint_std)
        if name == _STRONG:
            own = draws(_STRONG)
            operations = draw_operations(own, count)
            is_hidden = draw_squares(own, count, size).to(images.device)
            images = torch.where(is_hidden, self.mean.view(-1, 1, 1), apply_drawn(images, operations))
            if places is not None:
                places = torch.where(is_hidden, 0.0, apply_drawn(places, operations, operations=MOVES))
        return images.contiguous(memory_format=torch.channels_last) if is_channels_last else images, places

    def _recolour_batch(
        self, images: Float[Tensor, "batch c h w"], places: Float[Tensor, "batch 1 h w"] | None, batch: Batch, seed: int
    ) -> tuple[Float[Tensor, "batch c h w"], Float[Tensor, "batch 1 h w"] | None]:
        """Go on with the run's own augmentation; see :meth:`_augment_batch`."""
        jitter_prob, num_operations, erase_prob = self.recolouring
        is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
        if jitter_prob:
            images = colour_jitter(images, _draw_for(batch, seed, "colour_jitter"), prob=jitter_prob)
        if num_operations:
            own = _draw_for(batch, seed, "rand_augment")
            operations = draw_operations(own, len(images), num_operations=num_operations)
            images = apply_drawn(images, operations)
            places = None if places is None else apply_drawn(places, operations, operations=MOVES)
        if erase_prob:
            size = (images.shape[2], images.shape[3])
            is_hidden = draw_rectangles(_draw_for(batch, seed, "erase"), len(images), size, prob=erase_prob)
            is_hidden = is_hidden.to(images.device)
            images = torch.where(is_hidden, self.mean.view(-1, 1, 1), images)
            places = None if places is None else torch.where(is_hidden, 0.0, places)
        return images.contiguous(memory_format=torch.channels_last) if is_channels_last else images, places


def _draw_for(batch: Batch, seed: int, stream: str) -> Draws:
    """Return draws of a stream for the joined batch, of which this part's are used."""
    return Draws(named_generator(seed, stream), first=batch.first, total=batch.joined_size)


def _number_pixels(images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch 1 h w"]:
    """Return the number of every pixel in its image, from 1, or refuse images with more than float32 can count."""
    height, width = images.shape[2:]
    if height * width > _MOST_PIXELS:
        fix = "make them smaller with --data.image-size, or leave the augmentation out"
        raise ShapeError(f"at most {_MOST_PIXELS:,} pixels to move a target with", f"{width}x{height}", fix)
    numbers = torch.arange(1, height * width + 1, device=images.device, dtype=torch.float32)
    return numbers.view(1, 1, height, width).expand(len(images), -1, -1, -1)


def _move_target(name: str, values: Tensor, places: Float[Tensor, "batch 1 h w"], fill: int | float) -> Tensor:
    """Return a target whose values went where the pixels went, of the same type."""
    _check_target(name, values, places, fill)
    numbers = places.round().long().flatten(2)
    layers = (values if values.ndim == 4 else values.unsqueeze(1)).flatten(2)
    taken = layers.gather(2, (numbers - 1).clamp(min=0).expand_as(layers))
    return taken.masked_fill(numbers == 0, fill).view(values.shape)


def _check_target(name: str, values: Tensor, places: Float[Tensor, "batch 1 h w"], fill: int | float) -> None:
    """Refuse a target that lacks values for some pixels, or whose type would turn the fill into another value."""
    count, _, height, width = places.shape
    if values.ndim not in (3, 4) or (len(values), *values.shape[-2:]) != (count, height, width):
        got = f"the shape {tuple(values.shape)} for {count} images of {height}x{width}"
        raise ShapeError(f"a value of {name} for every pixel", got, "give maps of the height and width of images")
    if not can_hold(values.dtype, fill):
        fix = "choose another value to ignore, or another type"
        raise ShapeError(f"a fill of {name} that {values.dtype} holds", str(fill), fix)


def _draw_shifts(
    augmentation: ImageSequential, images: Float[Tensor, "batch c h w"], batch: Batch, seed: int
) -> list[ParamItem]:
    """Draw for the joined batch and return this part's draws."""
    with global_seed(seed):
        drawn = augmentation.forward_parameters(torch.Size((batch.joined_size, *images.shape[1:])))
    return [
        ParamItem(item.name, _keep_draws(item.data, batch.first, len(batch)))
        for item in drawn
        if isinstance(item.data, dict)
    ]


def _keep_draws(drawn: Mapping[str, Tensor], first: int, count: int) -> dict[str, Tensor]:
    """Keep the draws of the images ``first`` to ``first + count - 1``; the batch shape becomes theirs."""
    part = {key: value[first : first + count] for key, value in drawn.items() if key != _SHAPE_KEY}
    shape = drawn[_SHAPE_KEY].clone()
    shape[0] = count
    return {**part, _SHAPE_KEY: shape}


def _measure_channels(source: AbstractSource) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
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
