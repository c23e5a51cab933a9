"""The common corruptions: noise, blur, weather and digital faults at five severities, rendered in batches.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
ICLR 2019 (https://arxiv.org/abs/1903.12261). The fifteen kinds and their order are the paper's. The rendering is our
own, after its description, with strengths chosen for images of 28 to 64 pixels, by eye and so that a LeNet-5 trained on
clean digits loses about 15 points at severity 5; those of CIFAR-10-C and Tiny-ImageNet-C go by their names, see
:mod:`auxo.data.corruption_strengths`. Numbers measured with any of them are not comparable to CIFAR-10-C, ImageNet-C or
Tiny-ImageNet-C: frost is drawn, where the paper pastes photographs, and glass blur draws all pixels at once.
"""

import difflib
from typing import NamedTuple

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from auxo.data.corruption_strengths import TABLES, CorruptionStrengths
from auxo.errors import ConfigError, ShapeError
from auxo.random import derive_seed, named_generator
from auxo.types import require_choice

SEVERITIES = (1, 2, 3, 4, 5)


KINDS: tuple[str, ...] = tuple(TABLES["auxo"])


def corrupt(
    images: Tensor, kind: str, severity: int, *, seed: int, strengths: CorruptionStrengths = "auxo"
) -> UInt8[Tensor, "images 3 height width"]:
    """Return the images under one corruption.

    The same seed draws the same noise at every severity, so that only the strength differs.

    Args:
        images: shape ``(images, 3, height, width)``; uint8 0..255; any device.
        kind: one of :data:`KINDS`.
        severity: 1 (mild) to 5 (strong).
        seed: of the noise; every image has its own draw.
        strengths: auxo's own, or those published for 32 pixels (cifar10_c) or 64 (tiny_imagenet_c); lengths grow with
            the image.

    Returns:
        New uint8 images of the same shape on the same device.

    Raises:
        ConfigError: there are no such kind, severity or strengths.
        ShapeError: the images are not uint8 of that shape.

    Cost: a few float32 copies of the images.

    Example:
        >>> grey = torch.full((2, 3, 28, 28), 100, dtype=torch.uint8)
        >>> int(corrupt(grey, "brightness", 5, seed=0).max())
        253
    """
    require_choice("strengths", strengths, CorruptionStrengths)
    if kind not in KINDS:
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
    formula, arguments = TABLES[strengths][kind]
    generator = named_generator(seed, "corruption", kind)
    spoiled = formula(images.float() / 255, generator, *arguments[severity - 1])
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
