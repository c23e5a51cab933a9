"""The common corruptions: noise, blur, weather and digital faults at five severities, rendered in batches.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
ICLR 2019 (https://arxiv.org/abs/1903.12261). The fifteen kinds and their order are the paper's. The rendering is our
own, after its description, with strengths chosen for images of 28 to 64 pixels, by eye and so that a LeNet-5 trained on
clean digits loses about 15 points at severity 5: numbers measured with it are not comparable to CIFAR-10-C or
ImageNet-C. Frost is drawn, where the paper pastes photographs; glass blur draws all pixels
at once; the elastic transform has no affine part.
"""

import difflib
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from auxo.data import corruption_formulas as formulas
from auxo.errors import ConfigError, ShapeError
from auxo.random import derive_seed, named_generator

SEVERITIES = (1, 2, 3, 4, 5)


class _Kind(NamedTuple):
    """A formula and its arguments at severities 1 to 5."""

    formula: Callable[..., Tensor]
    strengths: tuple[tuple[float, ...], ...]


# Lengths are in pixels of a 32-pixel image, noise in units of the range 0..1.
_TABLE: dict[str, _Kind] = {
    # standard deviation
    "gaussian_noise": _Kind(formulas.gaussian_noise, ((0.08,), (0.14,), (0.20,), (0.28,), (0.38,))),
    # photons in a white value
    "shot_noise": _Kind(formulas.shot_noise, ((60.0,), (25.0,), (12.0,), (5.0,), (3.0,))),
    # share of the values
    "impulse_noise": _Kind(formulas.impulse_noise, ((0.03,), (0.07,), (0.12,), (0.20,), (0.30,))),
    # radius of the disk
    "defocus_blur": _Kind(formulas.defocus_blur, ((1.0,), (1.6,), (2.3,), (3.1,), (4.0,))),
    # deviation of the blur, reach of the shuffle
    "glass_blur": _Kind(formulas.glass_blur, ((0.3, 0.9), (0.4, 1.4), (0.5, 2.0), (0.6, 2.7), (0.7, 3.5))),
    # half the length of the line
    "motion_blur": _Kind(formulas.motion_blur, ((1.5,), (3.0,), (4.5,), (6.0,), (7.5,))),
    # largest factor
    "zoom_blur": _Kind(formulas.zoom_blur, ((1.12,), (1.22,), (1.34,), (1.48,), (1.65,))),
    # mean and deviation of the noise, size of a flake, threshold, half the length of a streak, share of image kept
    "snow": _Kind(
        formulas.snow,
        (
            (0.10, 0.30, 1.25, 0.60, 2.0, 0.95),
            (0.10, 0.30, 1.50, 0.50, 2.0, 0.90),
            (0.15, 0.30, 1.75, 0.50, 3.0, 0.85),
            (0.20, 0.35, 2.00, 0.50, 3.0, 0.80),
            (0.25, 0.40, 2.00, 0.50, 4.0, 0.75),
        ),
    ),
    # share of the image kept, brightness of the ice
    "frost": _Kind(formulas.frost, ((1.0, 0.3), (0.9, 0.45), (0.75, 0.65), (0.6, 0.8), (0.45, 0.95))),
    # density, decay from scale to scale
    "fog": _Kind(formulas.fog, ((0.5, 2.5), (1.0, 2.2), (1.6, 2.0), (2.3, 1.7), (3.0, 1.5))),
    # shift of the value
    "brightness": _Kind(formulas.brightness, ((0.12,), (0.24,), (0.36,), (0.48,), (0.6,))),
    # factor of the contrast
    "contrast": _Kind(formulas.contrast, ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,))),
    # root-mean-square displacement
    "elastic_transform": _Kind(formulas.elastic_transform, ((0.5,), (0.85,), (1.2,), (1.5,), (1.8,))),
    # share of the side that is left
    "pixelate": _Kind(formulas.pixelate, ((0.75,), (0.6,), (0.45,), (0.3,), (0.22,))),
    # JPEG quality
    "jpeg_compression": _Kind(formulas.jpeg_compression, ((60.0,), (35.0,), (20.0,), (11.0,), (6.0,))),
}

KINDS: tuple[str, ...] = tuple(_TABLE)


def corrupt(images: Tensor, kind: str, severity: int, *, seed: int) -> UInt8[Tensor, "images 3 height width"]:
    """Return the images under one corruption.

    The same seed draws the same noise at every severity, so that only the strength differs.

    Args:
        images: shape ``(images, 3, height, width)``; uint8 0..255; any device.
        kind: one of :data:`KINDS`.
        severity: 1 (mild) to 5 (strong).
        seed: of the noise; every image has its own draw.

    Returns:
        New uint8 images of the same shape on the same device.

    Raises:
        ConfigError: there is no such kind or severity.
        ShapeError: the images are not uint8 of that shape.

    Cost: a few float32 copies of the images.

    Example:
        >>> grey = torch.full((2, 3, 28, 28), 100, dtype=torch.uint8)
        >>> int(corrupt(grey, "brightness", 5, seed=0).max())
        253
    """
    if kind not in _TABLE:
        near = difflib.get_close_matches(kind, KINDS, n=3) or KINDS
        raise ConfigError("a common corruption", repr(kind), f"did you mean {', '.join(near)}?")
    if severity not in SEVERITIES:
        raise ConfigError("a severity from 1 (mild) to 5 (strong)", repr(severity), "choose one of 1, 2, 3, 4, 5")
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(
            "uint8 images of shape (images, 3, height, width)",
            f"{images.dtype} of shape {tuple(images.shape)}",
            "repeat a grey channel three times and keep values in 0..255",
        )
    if len(images) == 0:
        return images.clone()
    formula, strengths = _TABLE[kind]
    generator = named_generator(seed, "corruption", kind)
    spoiled = formula(images.float() / 255, generator, *strengths[severity - 1])
    return (spoiled.clamp(0, 1) * 255).round().to(torch.uint8)


class CorruptedImages(NamedTuple):
    """A set of images at every severity, the kinds taking turns.

    Args:
        images: shape ``(5 * n, 3, height, width)``; uint8; all images at severity 1, then all at severity 2, and so on.
        sources: shape ``(5 * n,)``; int64 position of the clean image that each was made from.
        names: kind and severity of each, such as ``"fog-3"``.
    """

    images: UInt8[Tensor, "corrupted 3 height width"]
    sources: Int[Tensor, " corrupted"]
    names: list[str]

    def origins(self, source_name: str) -> list[str]:
        """Return what messages call each image of a source of that name."""
        return [f"image {place} of '{source_name}' ({name})" for place, name in enumerate(self.names)]


def corrupt_at_all_severities(images: Tensor, *, seed: int) -> CorruptedImages:
    """Return every image once at each severity, under a kind that changes from image to image and severity to severity.

    Image ``i`` meets kind ``(i + 3 * severity) % 15``, so that all kinds come equally often at every severity.

    Args:
        images: shape ``(n, 3, height, width)``; uint8 0..255; any device.
        seed: of the noise.

    Raises:
        ShapeError: the images are not uint8 of that shape.
    """
    count = len(images)
    positions = torch.arange(count)
    spoiled = images.repeat(len(SEVERITIES), 1, 1, 1)
    names = [""] * len(spoiled)
    for severity in SEVERITIES:
        severity_seed = derive_seed(seed, "severity", severity)
        for number, kind in enumerate(KINDS):
            chosen = positions[(positions + 3 * severity) % len(KINDS) == number]
            places = chosen + (severity - 1) * count
            spoiled[places] = corrupt(images[chosen], kind, severity, seed=severity_seed)
            for place in places.tolist():
                names[place] = f"{kind}-{severity}"
    return CorruptedImages(spoiled, positions.repeat(len(SEVERITIES)), names)
