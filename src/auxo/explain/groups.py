"""Grad-CAM of the images of one class side by side, by what a column of the data says of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import ConfigError
from auxo.explain.attention import choose_map, explain_images
from auxo.explain.config import ExplainConfig
from auxo.explain.figures import Attention
from auxo.explain.subject import Subject
from auxo.random import named_generator

_MOST = 50  # images that a mean is of


class GroupSaliency(NamedTuple):
    """What the model looks at in images of one class and one value.

    Args:
        value: of the column.
        n: images that the mean is of.
        mean: the mean image under the mean of its maps, each relative to its largest value.
        examples: a few images with their maps.
    """

    value: str
    n: int
    mean: Attention
    examples: Sequence[Attention]


class ClassSaliency(NamedTuple):
    """What the model looks at in images of one class, by value of a column.

    Args:
        label: name of the class.
        layer: name of the map that was looked at.
        groups: of the values that the class has.
    """

    label: str
    layer: str
    groups: Sequence[GroupSaliency]


def attend_groups(
    subject: Subject, label: str, groups: Mapping[str, Int[Tensor, " n"]], config: ExplainConfig
) -> ClassSaliency:
    """Return the mean Grad-CAM map, and those of a few images, for every value of a column within a class.

    Args:
        subject: the model, which has a class head, and the images.
        label: name of the class.
        groups: positions of its images in the set, by value; each has one or more.
        config: images that are shown of each, and what is explained.

    Raises:
        ConfigError: there is no such class, the backbone has no such layer, or the prediction does not depend on it.

    Cost: a forward and a backward pass over at most 50 images of every value.
    """
    names = subject.right.names
    if label not in names:
        raise ConfigError(f"a class of {', '.join(names)}", repr(label), "name one of them")
    layer, _ = choose_map(subject, config.layer)  # one for all values, or their maps could not be compared
    made = []
    for value, places in groups.items():
        order = torch.randperm(len(places), generator=named_generator(config.seed, "explain", "groups", label, value))
        chosen = places[order[:_MOST]]
        shown = [image for _, image in explain_images(subject, chosen, names.index(label), layer, config)]
        made.append(GroupSaliency(value, len(shown), _average_maps(shown), shown[: config.per_class]))
    return ClassSaliency(label, layer, made)


def _average_maps(shown: Sequence[Attention]) -> Attention:
    """Return the mean of images and of their maps, with the answer that was given most often."""
    pixels = np.stack([each.pixels for each in shown]).mean(axis=0).round().astype(np.uint8)
    attention = np.stack([each.attention for each in shown]).mean(axis=0)
    answers = [each.predicted for each in shown]
    return Attention(pixels, attention, shown[0].label, max(answers, key=answers.count), shown[0].covered)
