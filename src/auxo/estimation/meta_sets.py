"""Meta sets: labelled images under transformations that keep their label, each set under its own."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from auxo.data.augmentations import OPERATIONS
from auxo.data.corruptions import KINDS, SEVERITIES, corrupt
from auxo.errors import ShapeError
from auxo.random import derive_seed, named_generator

_Images: TypeAlias = Float[Tensor, "n 3 height width"]

_MOST_STEPS = 3
_TEXTURE_CELLS = (2, 4, 8, 16)


class _Transformation(NamedTuple):
    """A change that keeps the label, and the range of its magnitude."""

    family: str
    low: float
    high: float
    apply: Callable[[_Images, Tensor, torch.Generator], _Images]


class Step(NamedTuple):
    """One transformation of a set, of the same magnitude for all its images.

    Args:
        name: of the transformation or the corruption.
        family: transformations of one kind; an estimator is judged on families that it was not fitted to.
        magnitude: in the units of the transformation.
    """

    name: str
    family: str
    magnitude: float


class MetaSet(NamedTuple):
    """How a set is made from the labelled images.

    Args:
        number: place among the sets; names the stream of its random numbers.
        steps: in their order; none for the images as they are.
    """

    number: int
    steps: tuple[Step, ...]


def _take_pooled(name: str) -> Callable[[_Images, Tensor, torch.Generator], _Images]:
    """Return an operation of the pool of strong augmentation, which draws nothing itself."""
    operation = next(operation for operation in OPERATIONS if operation.name == name)

    def apply(images: _Images, magnitudes: Tensor, _generator: torch.Generator) -> _Images:
        return operation.apply(images, magnitudes)

    return apply


def _change_temperature(images: _Images, magnitudes: Tensor, _generator: torch.Generator) -> _Images:
    """Weaken blue and green for a positive magnitude (warm), red and green for a negative one (cold)."""
    warm, cold = magnitudes.clamp(min=0), (-magnitudes).clamp(min=0)
    gains = torch.stack([1 - 0.7 * cold, 1 - 0.3 * (warm + cold), 1 - 0.7 * warm], dim=1)
    return images * gains.view(-1, 3, 1, 1)


def _blend_background(images: _Images, magnitudes: Tensor, generator: torch.Generator) -> _Images:
    """Blend every image with a coloured texture of its own, whose patches have many sizes."""
    size = (images.shape[2], images.shape[3])
    texture = torch.zeros_like(images)
    for cells in _TEXTURE_CELLS:
        noise = torch.randn(len(images), 3, cells, cells, generator=generator).to(images.device, images.dtype)
        texture += functional.interpolate(noise, size=size, mode="bilinear", align_corners=False) / cells**0.5
    low, high = texture.amin((2, 3), keepdim=True), texture.amax((2, 3), keepdim=True)
    texture = (texture - low) / (high - low).clamp(min=1e-6)
    return torch.lerp(images, texture, magnitudes.view(-1, 1, 1, 1))


# The names, families and ranges; those of the pool are FixMatch's, whose magnitudes are all within what keeps a label.
_FAMILY_OF = {
    "AutoContrast": "autocontrast",
    "Brightness": "brightness",
    "Color": "colour",
    "Contrast": "contrast",
    "Equalize": "equalize",
    "Posterize": "posterize",
    "Rotate": "rotate",
    "Sharpness": "sharpness",
    "ShearX": "shear",
    "ShearY": "shear",
    "Solarize": "solarize",
    "TranslateX": "translate",
    "TranslateY": "translate",
}
_TRANSFORMATIONS: dict[str, _Transformation] = {
    operation.name: _Transformation(
        _FAMILY_OF[operation.name], operation.low, operation.high, _take_pooled(operation.name)
    )
    for operation in OPERATIONS
    if operation.name in _FAMILY_OF
} | {
    "ColorTemperature": _Transformation("temperature", -1.0, 1.0, _change_temperature),
    "Background": _Transformation("background", 0.1, 0.6, _blend_background),
}

FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(each.family for each in _TRANSFORMATIONS.values()))
"""The kinds of transformations that :func:`draw_meta_sets` composes."""

_CORRUPTION_FAMILIES = ("noise",) * 3 + ("blur",) * 4 + ("weather",) * 4 + ("digital",) * 4


def draw_meta_sets(count: int, *, seed: int) -> list[MetaSet]:
    """Return how ``count`` sets are made: the first not at all, the others by one to three steps.

    A set's steps are of different families, drawn with equal chances, then a transformation of the family, then a
    magnitude, uniform in its range and the same for all images, so that sets differ in strength.

    Source: Deng, Gould, Zheng, ICML 2021 (arXiv 2106.05961). They compose three random transformations of sharpness,
        equalisation, colour temperature, solarisation, autocontrast, brightness and rotation for photographs, and put
        other backgrounds behind digits. All of these are here. Ours: the other families, which are those of
        RandAugment as FixMatch has it (arXiv 2001.07685); one to three steps, for weak changes as well; a drawn
        texture as the background, which needs no other images; gains in place of a table of colour temperatures.

    Args:
        count: number of sets, >= 1.
        seed: each set has a stream of its own, so that the first sets are the same for every count.
    """
    return [MetaSet(number, _draw_steps(number, seed) if number else ()) for number in range(count)]


def _draw_steps(number: int, seed: int) -> tuple[Step, ...]:
    """Draw the steps of a set."""
    generator = named_generator(seed, "steps", number)

    def integer(high: int) -> int:
        return int(torch.randint(high, (1,), generator=generator))

    order = torch.randperm(len(FAMILIES), generator=generator).tolist()
    steps = []
    for place in order[: 1 + integer(_MOST_STEPS)]:
        names = [name for name, each in _TRANSFORMATIONS.items() if each.family == FAMILIES[place]]
        name = names[integer(len(names))]
        low, high = _TRANSFORMATIONS[name].low, _TRANSFORMATIONS[name].high
        share = float(torch.rand(1, generator=generator, dtype=torch.float64))
        steps.append(Step(name, FAMILIES[place], low + (high - low) * share))
    return tuple(steps)


def corrupted_sets(first: int) -> list[MetaSet]:
    """Return how the 75 sets of the common corruptions are made, one of each kind and severity.

    Deng et al. have them among their sets of photographs. Their families are noise, blur, weather and digital.

    Args:
        first: the number of the first of them.
    """
    pairs = [
        (kind, family, severity)
        for kind, family in zip(KINDS, _CORRUPTION_FAMILIES, strict=True)
        for severity in SEVERITIES
    ]
    return [
        MetaSet(first + place, (Step(kind, family, float(severity)),))
        for place, (kind, family, severity) in enumerate(pairs)
    ]


def render(images: Tensor, made: MetaSet, *, seed: int) -> UInt8[Tensor, "n 3 height width"]:
    """Return the images of a set, in the order of the originals, whose targets they keep.

    Args:
        images: shape ``(n, 3, height, width)``; uint8 0..255; any device.
        made: how.
        seed: of backgrounds and noise, which every image has of its own.

    Raises:
        ShapeError: the images have other than three channels.

    Example:
        >>> grey = torch.full((2, 3, 28, 28), 100, dtype=torch.uint8)
        >>> half = MetaSet(1, (Step("Brightness", "brightness", 0.5),))
        >>> int(render(grey, half, seed=0).max())
        50
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError("images of 3 channels to transform", str(tuple(images.shape)), "repeat or drop channels")
    generator = named_generator(seed, "images", made.number)
    for step in made.steps:
        if step.name in KINDS:
            noise_seed = derive_seed(seed, "corruption", made.number)
            images = corrupt(images, step.name, round(step.magnitude), seed=noise_seed)
            continue
        pixels = images.float() / 255
        magnitudes = torch.full((len(images),), step.magnitude, device=images.device)
        changed = _TRANSFORMATIONS[step.name].apply(pixels, magnitudes, generator)
        images = (changed.clamp(0, 1) * 255).round().to(torch.uint8)
    return images
