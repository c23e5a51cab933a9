"""How strong each corruption is at severities 1 to 5: auxo's own strengths, and those of two published sets.

Source: the numbers called cifar10_c and tiny_imagenet_c are those by which Hendrycks & Dietterich made CIFAR-10-C and
Tiny-ImageNet-C, from their released code (https://github.com/hendrycks/robustness); the formulas are auxo's renderings.
auxo's own strengths are chosen by eye for 28 to 64 pixels, but for those of contrast and of shot noise, which are that
code's for ImageNet-C; so is the form of snow and of its whitening.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor

from auxo.data import corruption_formulas as formulas

CorruptionStrengths: TypeAlias = Literal["auxo", "cifar10_c", "tiny_imagenet_c"]
"""Whose strengths: auxo's, or those published for images of 32 pixels or of 64."""


class Kind(NamedTuple):
    """A formula and its arguments at severities 1 to 5."""

    formula: Callable[..., Tensor]
    strengths: tuple[tuple[float, ...], ...]


def _make_kind(formula: Callable[..., Tensor], *strengths: float) -> Kind:
    """Return a formula of one argument."""
    return Kind(formula, tuple((strength,) for strength in strengths))


# Lengths are in pixels of a 32-pixel image, noise in units of the range 0..1.
_AUXO: dict[str, Kind] = {
    # standard deviation
    "gaussian_noise": _make_kind(formulas.gaussian_noise, 0.08, 0.14, 0.20, 0.28, 0.38),
    # photons in a white value, as in ImageNet-C
    "shot_noise": _make_kind(formulas.shot_noise, 60.0, 25.0, 12.0, 5.0, 3.0),
    # share of the values
    "impulse_noise": _make_kind(formulas.impulse_noise, 0.03, 0.07, 0.12, 0.20, 0.30),
    # radius of the disk
    "defocus_blur": _make_kind(formulas.defocus_blur, 1.0, 1.6, 2.3, 3.1, 4.0),
    # deviation of the blur, reach of the shuffle
    "glass_blur": Kind(formulas.glass_blur, ((0.3, 0.9), (0.4, 1.4), (0.5, 2.0), (0.6, 2.7), (0.7, 3.5))),
    # half the length of the line
    "motion_blur": _make_kind(formulas.motion_blur, 1.5, 3.0, 4.5, 6.0, 7.5),
    # largest factor
    "zoom_blur": _make_kind(formulas.zoom_blur, 1.12, 1.22, 1.34, 1.48, 1.65),
    # mean and deviation of the noise, size of a flake, threshold, half the length of a streak, share of image kept
    "snow": Kind(
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
    "frost": Kind(formulas.frost, ((1.0, 0.3), (0.9, 0.45), (0.75, 0.65), (0.6, 0.8), (0.45, 0.95))),
    # density, decay from scale to scale
    "fog": Kind(formulas.fog, ((0.5, 2.5), (1.0, 2.2), (1.6, 2.0), (2.3, 1.7), (3.0, 1.5))),
    # shift of the value
    "brightness": _make_kind(formulas.brightness, 0.12, 0.24, 0.36, 0.48, 0.6),
    # factor of the contrast, as in ImageNet-C
    "contrast": _make_kind(formulas.contrast, 0.4, 0.3, 0.2, 0.1, 0.05),
    # root-mean-square displacement
    "elastic_transform": _make_kind(formulas.elastic_transform, 0.5, 0.85, 1.2, 1.5, 1.8),
    # share of the side that is left
    "pixelate": _make_kind(formulas.pixelate, 0.75, 0.6, 0.45, 0.3, 0.22),
    # JPEG quality
    "jpeg_compression": _make_kind(formulas.jpeg_compression, 60.0, 35.0, 20.0, 11.0, 6.0),
}


# Lengths are in pixels of 32, those of the elastic transform in parts of the side.
_CIFAR10_C: dict[str, Kind] = {
    "gaussian_noise": _make_kind(formulas.gaussian_noise, 0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": _make_kind(formulas.shot_noise, 500.0, 250.0, 100.0, 75.0, 50.0),
    "impulse_noise": _make_kind(formulas.impulse_noise, 0.01, 0.02, 0.03, 0.05, 0.07),
    # radius, softness of the rim
    "defocus_blur": Kind(formulas.soft_disk_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))),
    # deviation of the blur, reach and rounds of the shuffle
    "glass_blur": Kind(
        formulas.glass_blur_in_rounds,
        ((0.05, 1.0, 1.0), (0.25, 1.0, 1.0), (0.4, 1.0, 1.0), (0.25, 1.0, 2.0), (0.4, 1.0, 2.0)),
    ),
    # radius, deviation
    "motion_blur": Kind(formulas.trail_blur, ((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5))),
    # largest factor; the code's steps of 0.01 end there
    "zoom_blur": _make_kind(formulas.zoom_blur, 1.06, 1.11, 1.15, 1.20, 1.25),
    # mean and deviation of the noise, size of a flake, threshold, radius and deviation of a trail, share kept
    "snow": Kind(
        formulas.snow_with_trails,
        (
            (0.10, 0.20, 1.00, 0.60, 8.0, 3.0, 0.95),
            (0.10, 0.20, 1.00, 0.50, 10.0, 4.0, 0.90),
            (0.15, 0.30, 1.75, 0.55, 10.0, 4.0, 0.90),
            (0.25, 0.30, 2.25, 0.60, 12.0, 6.0, 0.85),
            (0.30, 0.30, 1.25, 0.65, 14.0, 12.0, 0.80),
        ),
    ),
    "frost": Kind(formulas.frost, ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": Kind(formulas.fog, ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))),
    "brightness": _make_kind(formulas.brightness, 0.05, 0.10, 0.15, 0.20, 0.30),
    "contrast": _make_kind(formulas.contrast, 0.75, 0.50, 0.40, 0.30, 0.15),
    # strength and smoothness of the field, largest move of a corner
    "elastic_transform": Kind(
        formulas.elastic_transform_of_corners,
        ((0.0, 0.0, 0.08), (0.05, 0.20, 0.07), (0.08, 0.06, 0.06), (0.10, 0.04, 0.05), (0.10, 0.03, 0.03)),
    ),
    # of 32 pixels, 0.95, 0.9, 0.85, 0.75 and 0.65 rounded down to whole ones
    "pixelate": _make_kind(formulas.pixelate, 30 / 32, 28 / 32, 27 / 32, 24 / 32, 20 / 32),
    "jpeg_compression": _make_kind(formulas.jpeg_compression, 80.0, 65.0, 58.0, 50.0, 40.0),
}

# The same; lengths that are published in pixels of 64 are halved.
_TINY_IMAGENET_C: dict[str, Kind] = {
    "gaussian_noise": _make_kind(formulas.gaussian_noise, 0.04, 0.08, 0.12, 0.15, 0.18),
    "shot_noise": _make_kind(formulas.shot_noise, 250.0, 100.0, 50.0, 30.0, 15.0),
    "impulse_noise": _make_kind(formulas.impulse_noise, 0.01, 0.02, 0.05, 0.08, 0.14),
    "defocus_blur": Kind(formulas.soft_disk_blur, ((0.25, 0.3), (0.5, 0.05), (0.75, 0.05), (1.25, 0.005), (1.5, 0.05))),
    "glass_blur": Kind(
        formulas.glass_blur_in_rounds,
        ((0.05, 0.5, 1.0), (0.25, 0.5, 1.0), (0.3, 0.5, 2.0), (0.35, 1.0, 1.0), (0.45, 1.0, 2.0)),
    ),
    "motion_blur": Kind(formulas.trail_blur, ((5.0, 0.5), (5.0, 0.75), (5.0, 1.0), (5.0, 1.25), (6.0, 1.5))),
    "zoom_blur": _make_kind(formulas.zoom_blur, 1.06, 1.11, 1.15, 1.20, 1.25),
    "snow": Kind(
        formulas.snow_with_trails,
        (
            (0.10, 0.20, 1.00, 0.60, 4.0, 1.5, 0.80),
            (0.10, 0.20, 1.00, 0.50, 5.0, 2.0, 0.80),
            (0.15, 0.30, 1.75, 0.55, 5.0, 2.0, 0.70),
            (0.25, 0.30, 2.25, 0.60, 6.0, 3.0, 0.65),
            (0.30, 0.30, 1.25, 0.65, 7.0, 6.0, 0.60),
        ),
    ),
    "frost": Kind(formulas.frost, ((1.0, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55))),
    "fog": Kind(formulas.fog, ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75))),
    "brightness": _make_kind(formulas.brightness, 0.10, 0.20, 0.30, 0.40, 0.50),
    "contrast": _make_kind(formulas.contrast, 0.40, 0.30, 0.20, 0.10, 0.05),
    "elastic_transform": Kind(
        formulas.elastic_transform_of_corners,
        ((0.0, 0.0, 0.08), (0.05, 0.30, 0.06), (0.10, 0.08, 0.06), (0.10, 0.03, 0.03), (0.16, 0.03, 0.02)),
    ),
    "pixelate": _make_kind(formulas.pixelate, 57 / 64, 51 / 64, 44 / 64, 38 / 64, 32 / 64),
    "jpeg_compression": _make_kind(formulas.jpeg_compression, 65.0, 58.0, 50.0, 40.0, 25.0),
}

TABLES: Mapping[CorruptionStrengths, Mapping[str, Kind]] = MappingProxyType(
    {"auxo": _AUXO, "cifar10_c": _CIFAR10_C, "tiny_imagenet_c": _TINY_IMAGENET_C}
)
"""Formula and strengths of every kind, by whose they are."""
