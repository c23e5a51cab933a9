"""Relative patch: which neighbour, gaps, shifts, the input's layout."""

import pytest
import torch

from auxo.errors import ShapeError
from auxo.pretexts.relative_patch import NEIGHBOURS, RelativePatch
from auxo.random import Draws, named_generator


def coordinates(count, side):
    """Images whose first channel is the row and second the column, from 1."""
    places = torch.arange(1.0, side + 1)
    image = torch.stack([places[:, None].expand(side, side), places.expand(side, side), torch.ones(side, side)])
    return image.expand(count, 3, side, side).clone()


def patches(inputs):
    """Upper left pixel of each patch, and how large it is in the input."""
    side = inputs.shape[-1]
    halves = inputs[:, :, :, : side // 2], inputs[:, :, :, side // 2 :]
    shown = [half[:, 2] != 0 for half in halves]
    sizes = [int(mask[0].any(0).sum()) for mask in shown]
    corners = [
        torch.stack([half[:, c].masked_fill(~mask, 99).flatten(1).min(1).values for c in (0, 1)], 1)
        for half, mask in zip(halves, shown, strict=True)
    ]
    return corners, sizes


@pytest.mark.parametrize("side", [16, 28, 32, 64])
def test_make_all__coordinates__neighbour_lies_where_the_answer_says(side):
    made = RelativePatch().make_all(coordinates(1, side))
    (middle, neighbour), sizes = patches(made.inputs)
    assert sizes[0] == sizes[1] <= side // 2
    offsets = neighbour - middle
    step = float(offsets.abs().max())
    assert step < side / 2
    assert torch.equal(offsets / step, torch.tensor(NEIGHBOURS, dtype=torch.float32))
    assert made.targets.tolist() == list(range(8))


def test_make__many__patches_keep_a_gap_are_shifted_and_come_from_everywhere():
    side, patch, gap, jitter = 32, 7, 3, 1
    made = RelativePatch().make(coordinates(3000, side), draws=Draws(named_generator(0)))
    (middle, neighbour), sizes = patches(made.inputs)
    assert sizes == [2 * patch, 2 * patch]
    offsets = neighbour - middle
    ideal = (patch + gap) * torch.tensor(NEIGHBOURS)[made.targets]
    assert (offsets - ideal).abs().max() == 2 * jitter
    assert offsets.abs().max(1).values.min() > patch  # never adjacent
    both = torch.cat([middle, neighbour])
    assert both.min() == 1
    assert both.max() + patch - 1 == side
    assert (made.targets.bincount() - 375).abs().max() < 80


def test_make__too_small__is_refused():
    with pytest.raises(ShapeError, match="at least 13x13 pixels, got 12x40 pixels"):
        RelativePatch().make_all(torch.zeros(1, 3, 12, 40))
    assert RelativePatch().make_all(torch.zeros(1, 3, 13, 13)).inputs.shape == (8, 3, 13, 13)
