"""Shortcuts of any strength: a cue that tells the class in training and is written down as a column."""

import colorsys
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.errors import DataError, OptionError
from auxo.options import Options, Range
from auxo.types import Column

_CORNERS = ("top right", "bottom left", "top left", "bottom right")
_HUES = (  # at every twelfth of the circle
    *("red", "orange", "yellow", "lime", "green", "mint", "cyan", "azure", "blue", "violet", "magenta", "rose"),
)
_ALL = "all"
_PATCH_PART = 10 / 28
_SATURATED = 255


@dataclass(frozen=True, kw_only=True)
class ShortcutConfig(Options):
    """How strongly the cue of a scenario with a shortcut goes with the class.

    Every class has a value of the cue of its own. An image has its class's value with the probability ``strength``, and
    else one of the others, all equally likely.
    """

    strength: Annotated[float, Range(low=0, high=1)] = 0.9
    """Probability that a training, validation or test image has its class's value of the cue; one over the number of
    values is no shortcut."""
    shifted: tuple[Annotated[float, Range(low=0, high=1)], ...] = (0.1, 0.5)
    """The strengths of the sets from elsewhere, which show the same held-out images at each of them."""
    values: Annotated[int, Range(low=2)] | None = None
    """Number of values of the cue; default as many as there are classes, on scenes 2: water and land."""
    groups: tuple[str, ...] = ()
    """The classes to tell apart, each one of the set's own or several, as "3 4" or "3+5 4+9"; the rest is left out.
    "all" takes every class of the set for itself; default two halves."""
    label_noise: Annotated[float, Range(low=0, below=1)] = 0.0
    """Part of the labels exchanged for another before the cue is drawn, in every set; the cue goes with the label."""
    column_noise: Annotated[float, Range(low=0, below=1)] = 0.0
    """Part of the column's values exchanged for another after the cue is drawn, in every set."""
    drawn: bool = True
    """Draw the cue into the images; without, the column alone has it, as if it had been removed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.shifted)) < len(self.shifted):
            raise OptionError("shifted", "each strength once", " ".join(map(str, self.shifted)), "leave one out")
        if len(self.groups) == 1 and self.groups != (_ALL,):
            raise OptionError("groups", "all, or two or more", self.groups[0], 'give at least two, such as "3 4"')


def group_classes(classes: Column, groups: tuple[str, ...]) -> Column:
    """Return a column whose values are groups of classes; -1 for images of no group.

    Args:
        classes: of every image.
        groups: for each group the names of its classes, joined by ``+``; ``("all",)`` keeps the classes.

    Raises:
        OptionError: a class is in two groups, or there is none of its name.

    Example:
        >>> group_classes(Column(torch.tensor([0, 1, 2, 3]), tuple("abcd")), ("a+c", "d")).values
        tensor([ 0, -1,  0,  1])
    """
    if groups == (_ALL,):
        return classes
    number = torch.full((len(classes.names),), -1)
    for place, group in enumerate(groups):
        for name in group.split("+"):
            if name not in classes.names:
                known = ", ".join(classes.names)
                raise OptionError(("data", "shortcut", "groups"), f"of {known}", repr(name), "join classes by +")
            if number[classes.names.index(name)] >= 0:
                fix = "leave it in one"
                raise OptionError(("data", "shortcut", "groups"), "every class in one group", f"{name} in two", fix)
            number[classes.names.index(name)] = place
    return Column(number[classes.values], groups)


def draw_cues(
    classes: Int[Tensor, " n"], *, strength: float, num_values: int, generator: torch.Generator
) -> Int[Tensor, " n"]:
    """Return a value of the cue for every image: that of its class with the probability ``strength``, else another.

    The value of class ``c`` is ``c`` modulo ``num_values``. Under equal generators an image that has its class's value
    at one strength has it at every larger one.

    Args:
        classes: shape ``(n,)``; int64.
        strength: in [0, 1].
        num_values: >= 2.
        generator: a CPU generator.

    Example:
        >>> draw_cues(torch.tensor([0, 1, 2]), strength=1.0, num_values=2, generator=torch.Generator()).tolist()
        [0, 1, 0]
    """
    uniform = torch.rand(len(classes), generator=generator, dtype=torch.float64)
    # Drawn for every image, needed or not: so each keeps its draws at every strength.
    other = 1 + torch.randint(num_values - 1, (len(classes),), generator=generator)
    own = classes % num_values
    return torch.where(uniform < strength, own, (own + other) % num_values)


def exchange_values(
    values: Int[Tensor, " n"], fraction: float, *, num_values: int, generator: torch.Generator
) -> Int[Tensor, " n"]:
    """Return values of which each was exchanged for another, all equally likely, with the probability ``fraction``.

    Args:
        values: shape ``(n,)``; int64 in ``0..num_values-1``.
        fraction: in [0, 1].
        num_values: >= 2.
        generator: a CPU generator.
    """
    kept = 1 - fraction
    return draw_cues(values, strength=kept, num_values=num_values, generator=generator)


def name_cues(kind: Literal["colour", "patch"], num_values: int) -> tuple[str, ...]:
    """Return what the values of a cue are called.

    Args:
        kind: which cue.
        num_values: how many there are.

    Raises:
        OptionError: there are more than corners.

    Example:
        >>> name_cues("colour", 3), name_cues("patch", 2)
        (('red', 'green', 'blue'), ('top right', 'bottom left'))
    """
    if kind == "patch":
        if num_values > len(_CORNERS):
            rule, fix = f"<= {len(_CORNERS)} for patches, one in each corner", "ask for fewer, or use colours"
            raise OptionError(("data", "shortcut", "values"), rule, str(num_values), fix)
        return _CORNERS[:num_values]
    if num_values > len(_HUES):
        return tuple(f"hue {value}" for value in range(num_values))
    return tuple(_HUES[round(len(_HUES) * value / num_values)] for value in range(num_values))


def colour_images(
    images: UInt8[Tensor, "n 3 height width"], values: Int[Tensor, " n"], num_values: int
) -> UInt8[Tensor, "n 3 height width"]:
    """Return images tinted by their value: hues at equal distances, from red.

    Args:
        images: uint8, white where they are to have the full colour.
        values: shape ``(n,)``; int64.
        num_values: how many there are.
    """
    hues = [colorsys.hsv_to_rgb(value / num_values, 1, 1) for value in range(num_values)]
    palette: Float[Tensor, "values 3"] = torch.tensor(hues, dtype=torch.float32)
    return (images * palette[values][:, :, None, None]).round().to(torch.uint8)


def patch_images(
    images: UInt8[Tensor, "n 3 height width"], values: Int[Tensor, " n"], num_values: int
) -> UInt8[Tensor, "n 3 height width"]:
    """Return images with one channel saturated in a corner, 10 of 28 pixels wide; each value has its own corner.

    Args:
        images: uint8.
        values: shape ``(n,)``; int64.
        num_values: how many there are, at most four.

    Source: after the corrupted MNIST of google/structured_labels, with two values (channel 1 top right, 2 bottom left).
    """
    side = round(_PATCH_PART * images.shape[3])
    low, high = slice(0, side), slice(-side, None)
    patched = images.clone()  # the source is shared by all strengths
    for value, (rows, columns) in enumerate(((low, high), (high, low), (low, low), (high, high))[:num_values]):
        patched[(values == value).nonzero().flatten(), (value + 1) % 3, rows, columns] = _SATURATED
    return patched


def paste_digits(
    digits: UInt8[Tensor, "n 3 digit digit"], scenes: UInt8[Tensor, "n 3 side side"], *, threshold: int = 127
) -> UInt8[Tensor, "n 3 side side"]:
    """Return scenes with a digit in their middle: its pixels above a threshold, as they are.

    Args:
        digits: white on black; no larger than scenes.
        scenes: one for each digit.
        threshold: of the digit's values, 0..255.
    """
    margin = (scenes.shape[3] - digits.shape[3]) // 2
    place = slice(margin, margin + digits.shape[3])
    pasted = scenes.clone()
    pasted[:, :, place, place] = torch.where(digits > threshold, digits, scenes[:, :, place, place])
    return pasted


def paste_centres(
    objects: UInt8[Tensor, "n 3 side side"], scenes: UInt8[Tensor, "n 3 side side"], *, kept: int = 20
) -> UInt8[Tensor, "n 3 side side"]:
    """Return scenes with the middle of an image in their middle.

    Args:
        objects: of the scenes' size.
        scenes: one for each.
        kept: side of the middle in pixels.
    """
    margin = (scenes.shape[3] - kept) // 2
    place = slice(margin, margin + kept)
    pasted = scenes.clone()
    pasted[:, :, place, place] = objects[:, :, place, place]
    return pasted


def choose_scenes(
    kinds: Int[Tensor, " scenes"], values: Int[Tensor, " n"], *, generator: torch.Generator
) -> Int[Tensor, " n"]:
    """Return for every value the position of a scene of that kind, each equally likely.

    Args:
        kinds: of every scene there is.
        values: the kind that is asked for, shape ``(n,)``; int64.
        generator: a CPU generator.

    Raises:
        DataError: there is no scene of a kind.
    """
    ordered, counts = kinds.argsort(stable=True), kinds.bincount(minlength=int(values.max()) + 1)
    if not bool(counts[values].all()):
        got = f"none of number {int(values[counts[values] == 0][0])}"
        raise DataError("scenes of every kind", got, "give scenes of all of them")
    chosen = (torch.rand(len(values), generator=generator, dtype=torch.float64) * counts[values]).long()
    return ordered[(counts.cumsum(0) - counts)[values] + chosen]
