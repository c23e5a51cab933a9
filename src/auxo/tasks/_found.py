"""What a task finds: measures of a set with their parts, ranges of confidence, and answers about single images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8


class Measure(NamedTuple):
    """One number about a set.

    Args:
        value: a fraction in [0, 1] where the unit is "%", else in its unit.
        low: lower end of a 95 % interval; ``None`` where there is none.
        high: upper end.
        unit: "%" for fractions, which people read in percent; "nats"; or "".
        higher_is_better: which way is up.
        has_mean: whether its mean over several sets says anything; that of calibration errors does not.
    """

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = "%"
    higher_is_better: bool = True
    has_mean: bool = True

    @property
    def shown(self) -> float:
        """The value as people read it: in percent where the unit is "%", else in the unit."""
        return 100 * self.value if self.unit == "%" else self.value

    @property
    def digits(self) -> int:
        """Digits behind the point that :attr:`shown` is read with."""
        return 1 if self.unit == "%" else 3

    def describe(self) -> str:
        """Return the value for a line of text.

        Example:
            >>> Measure(0.9761).describe(), Measure(1.2, unit="nats").describe()
            ('97.6 %', '1.200 nats')
        """
        return f"{self.shown:.{self.digits}f} {self.unit}".rstrip()


class Part(NamedTuple):
    """The primary measure on a part of a set, such as the images of a class.

    Args:
        n: images of the part.
        value: of the measure; ``None`` where the part has no image.
        low: lower end of a 95 % interval; ``None`` where there is none.
        high: upper end.
    """

    n: int
    value: float | None
    low: float | None = None
    high: float | None = None


class Measured(NamedTuple):
    """What the scores of a set add up to.

    Args:
        measures: by name, the primary one among them.
        parts: of the primary measure, by the name of what cuts the set into parts, and within it by part.
        notes: what a reader should know, a sentence each.
    """

    measures: Mapping[str, Measure]
    parts: Mapping[str, Mapping[str, Part]]
    notes: tuple[str, ...] = ()


class Reliability(NamedTuple):
    """The items of one range of confidence.

    Args:
        low: lower end of the range; the bin of confidences of exactly one begins and ends there.
        high: upper end, which belongs to the next bin.
        n: number of items, >= 1.
        confidence: their mean confidence.
        accuracy: the fraction of them that was right.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class Answer(NamedTuple):
    """What a network says of one image, for a person.

    Args:
        cells: of a line in a CSV, in the order of :meth:`AbstractTask.answer_columns`.
        image: shape ``(height, width)`` or ``(height, width, 3)``, to be written as a PNG; ``None`` where the cells
            are all.
        palette: red, green and blue, 0..255, of each number in an image of two dimensions, whose numbers are then
            positions in it; empty where they are shades of grey.
    """

    cells: tuple[str, ...]
    image: UInt8[np.ndarray, "height width ..."] | None = None
    palette: tuple[tuple[int, int, int], ...] = ()

    def paint(self) -> UInt8[np.ndarray, "height width 3"] | None:
        """Return the image in colours; ``None`` without an image."""
        return None if self.image is None else paint_numbers(self.image, self.palette)


def paint_numbers(
    image: UInt8[np.ndarray, "height width ..."], palette: Sequence[tuple[int, int, int]]
) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image of numbers in the colours of a palette; numbers beyond it are white.

    Args:
        image: shape ``(height, width)``, of positions in the palette, or of shades of grey where that is empty; colours
            stay as they are.
        palette: red, green and blue, 0..255.
    """
    if image.ndim == 3:
        return image
    if not palette:
        return np.repeat(image[:, :, None], 3, axis=2)
    table = np.full((256, 3), 255, dtype=np.uint8)
    table[: len(palette)] = palette
    painted: UInt8[np.ndarray, "height width 3"] = table[image]
    return painted


def blend_images(
    below: UInt8[np.ndarray, "height width 3"], above: UInt8[np.ndarray, "height width 3"], *, opacity: float = 0.5
) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image with another over it, such as the colours of its classes.

    Args:
        below: seen through the other.
        above: of the same size.
        opacity: of the image above, in [0, 1].
    """
    mixed = (1 - opacity) * below.astype(np.float32) + opacity * above.astype(np.float32)
    return np.rint(mixed).astype(np.uint8)
