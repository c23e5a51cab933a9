"""What to show of a trained model, and which images that means."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Literal

import torch
import tyro
from jaxtyping import Int
from torch import Tensor

from auxo.data import stratified_indices
from auxo.errors import ConfigError, DataError
from auxo.explain.figures import MAX_CLASSES
from auxo.options import MOST_SEED, Options, Range
from auxo.random import derive_seed, named_generator
from auxo.types import Column

_DEFAULT_CLASSES = 10
_MAX_PER_CLASS = 20  # more would make an image that no viewer opens


@dataclass(frozen=True, kw_only=True)
class ExplainConfig(Options):
    """What to show."""

    per_class: Annotated[int, Range(low=1, high=_MAX_PER_CLASS)] = 3
    """Images of each class in the Grad-CAM grid, drawn by the seed; all where a class has fewer. Where every pixel has
    a class: of the images that are answered worst, as most are, and best, so many each."""
    num_points: Annotated[int, Range(low=2)] = 1000
    """Most images on the t-SNE map; of more, a draw that keeps the proportions of the classes."""
    classes: tuple[str, ...] = ()
    """Names of the classes to show, at most 28; by default all that have images, or the first 10 of them. Where every
    pixel has a class: whose evidence is shown, the first of them that an image has."""
    layer: str | None = None
    """Map that Grad-CAM looks at, such as stage3; default the last with at least 4 pixels on both sides."""
    explained: Annotated[Literal["predicted", "label"], tyro.conf.arg(name="class")] = "predicted"
    """Class whose evidence Grad-CAM shows: the one that the model predicts, or the right one."""
    perplexity: Annotated[float | None, Range(low=1)] = None
    """Neighbours that t-SNE keeps together, below the number of images; default 30, or less for few."""
    seed: Annotated[int, Range(low=0, high=MOST_SEED)] = 0
    """Of the choice of images and the start of t-SNE."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for is_valid, expected, got in (
            (len(set(self.classes)) == len(self.classes), "different classes", " ".join(self.classes)),
            (len(self.classes) <= MAX_CLASSES, f"at most {MAX_CLASSES} classes", len(self.classes)),
        ):
            if not is_valid:
                raise ConfigError(expected, str(got), "choose others")

    @property
    def has_points(self) -> bool:
        """Whether an option of the map of points was given."""
        return self.perplexity is not None or self.num_points != type(self).num_points

    def check_places(self, names: Sequence[str]) -> None:
        """Refuse options that say nothing where every pixel is answered, and classes that are not there.

        Args:
            names: of the classes of pixels; none where they have quantities.

        Raises:
            ConfigError: such an option was given, or there is no such class.
        """
        for option in ("num_points", "explained", "perplexity", "seed"):
            value, default = getattr(self, option), getattr(type(self), option)
            if value != default:
                shown = "class" if option == "explained" else option.replace("_", "-")
                got = f"--{shown} {value} where every pixel is answered"
                raise ConfigError(f"--{shown} with a task of one class per image", got, "leave it out")
        for name in self.classes:
            _check_name(name, names)

    def choose_classes(self, right: Column, *, source: str) -> list[int]:
        """Return the numbers of the classes to show, each of which has an image.

        Args:
            right: the class of every image.
            source: name of the set, for the message.

        Raises:
            ConfigError: there is no such class.
            DataError: a class that is named has no image.
        """
        counts = right.values.bincount(minlength=len(right.names)).tolist()
        if not self.classes:
            return [number for number, count in enumerate(counts) if count][:_DEFAULT_CLASSES]
        for name in self.classes:
            _check_name(name, right.names)
            if not counts[right.names.index(name)]:
                raise DataError(f"images of '{name}' in '{source}'", "none", "name another class")
        return [right.names.index(name) for name in self.classes]

    def draw(self, right: Column, number: int) -> Int[Tensor, " n"]:
        """Return the positions of the images of a class to show in the grid, sorted."""
        places = (right.values == number).nonzero().flatten()
        order = torch.randperm(len(places), generator=named_generator(self.seed, "explain", "grid", number))
        return places[order[: self.per_class]].sort().values

    def spread(self, right: Column, classes: list[int]) -> Int[Tensor, " n"]:
        """Return the positions of the images for the map of points, sorted, in the proportions of their classes.

        Raises:
            ConfigError: fewer images than classes are asked for.
        """
        places = torch.isin(right.values, torch.tensor(classes)).nonzero().flatten()
        if len(places) <= self.num_points:
            return places
        if self.num_points < len(classes):
            raise ConfigError(f"num-points >= {len(classes)}, one per class", str(self.num_points), "raise it")
        seed = derive_seed(self.seed, "explain", "points")
        (part,) = stratified_indices(right.values[places], [self.num_points], seed=seed)
        return places[part]


def _check_name(name: str, names: Sequence[str]) -> None:
    """Refuse what is no name of a class."""
    if name not in names:
        near = get_close_matches(name, names, n=3) or names[:3]
        raise ConfigError("names of classes", repr(name), f"did you mean {', '.join(near)}?")
