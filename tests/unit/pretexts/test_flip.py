"""Flip: which quadrant, which axis, which class."""

import pytest
import torch

from auxo.errors import ShapeError
from auxo.pretexts.flip import Flip
from auxo.random import Draws, named_generator

IMAGE = torch.arange(16.0).view(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("axis", "expected"), [("horizontal", [[3.0, 2.0], [7.0, 6.0]]), ("vertical", [[6.0, 7.0], [2.0, 3.0]])]
)
def test_make_all__top_right_quadrant__is_flipped_along_the_axis_alone(axis, expected):
    made = Flip(axis).make_all(IMAGE)
    assert made.targets.tolist() == [0, 1] * 4
    for unchanged in made.inputs[::2]:
        assert torch.equal(unchanged, IMAGE[0])
    flipped = made.inputs[3, 0]
    assert flipped[:2, 2:].tolist() == expected
    rest = torch.ones(4, 4, dtype=torch.bool)
    rest[:2, 2:] = False
    assert torch.equal(flipped[rest], IMAGE[0, 0][rest])


def test_make__many_images__half_are_flipped_in_every_quadrant():
    made = Flip().make(IMAGE.expand(4000, -1, -1, -1), draws=Draws(named_generator(0, "flip")))
    changed = (made.inputs != IMAGE).flatten(1)
    assert torch.equal(changed.any(1), made.targets == 1)
    assert abs(float(made.targets.float().mean()) - 0.5) < 0.03
    for corner in (0, 3, 12, 15):
        assert abs(float(changed[:, corner].float().mean()) - 1 / 8) < 0.02


@pytest.mark.parametrize("shape", [(4, 6), (5, 5)])
def test_make__no_quadrants__is_refused(shape):
    images = torch.zeros(2, 3, *shape)
    with pytest.raises(ShapeError, match=rf"even side for quadrants, got {shape[0]}x{shape[1]} pixels"):
        Flip().make_all(images)
