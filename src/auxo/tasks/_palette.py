"""Colours of classes that are told apart on a screen and in print."""

import functools

import torch
from kornia.color import rgb_to_lab
from torch import Tensor

_WHITE = (255, 255, 255)  # of pixels that say nothing

# Of Okabe & Ito, Color Universal Design, 2008 (https://jfly.uni-koeln.de/color): told apart with any kind of sight.
_FIRST = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (86, 180, 233),
    (240, 228, 66),
    (0, 0, 0),
)
_LEVELS = 16  # of each channel, among whose mixtures further colours are found


@functools.cache
def choose_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return so many colours, the first always the same; each further one is the farthest from all before in CIELAB.

    Args:
        count: in 0..255.

    Example:
        >>> choose_colours(2)
        ((0, 114, 178), (230, 159, 0))
    """
    if count <= len(_FIRST):
        return _FIRST[:count]
    levels = torch.arange(_LEVELS) * (255 // (_LEVELS - 1))
    choices = torch.cartesian_prod(levels, levels, levels)
    places = _find_lab(choices)
    taken = torch.tensor([*_FIRST, _WHITE])
    distances = torch.cdist(places, _find_lab(taken)).amin(1)
    colours = list(_FIRST)
    while len(colours) < count:
        farthest = int(distances.argmax())
        red, green, blue = choices[farthest].tolist()
        colours.append((red, green, blue))
        distances = torch.minimum(distances, torch.cdist(places, places[farthest : farthest + 1])[:, 0])
    return tuple(colours)


def _find_lab(colours: Tensor) -> Tensor:
    """Return the places of colours in CIELAB, a row each."""
    return rgb_to_lab((colours.double() / 255).T[None, :, :, None])[0, :, :, 0].T
