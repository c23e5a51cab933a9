"""LoRot: classes, squares, what is left alone."""

import pytest
import torch

from auxo.errors import ShapeError
from auxo.pretexts.lorot import LoRot
from auxo.random import Draws, named_generator


def images(count=1, side=8):
    """Images whose pixels all differ."""
    return torch.arange(count * 3.0 * side * side).view(count, 3, side, side)


def draws(seed=0):
    return Draws(named_generator(seed, "lorot"))


def test_num_outputs__variants__are_sixteen_and_four():
    assert LoRot("E").num_outputs == 16
    assert LoRot("I").num_outputs == 4


def test_make_all__e__class_is_four_times_the_quadrant_plus_the_turns():
    made = LoRot("E").make_all(images())
    assert made.targets.tolist() == list(range(16))
    corners = {0: (0, 0), 1: (0, 4), 2: (4, 0), 3: (4, 4)}
    for target, inputs in enumerate(made.inputs):
        row, column = corners[target // 4]
        quadrant = images()[0, :, row : row + 4, column : column + 4]
        expected = images()[0].clone()
        expected[:, row : row + 4, column : column + 4] = torch.rot90(quadrant, target % 4, (1, 2))
        assert torch.equal(inputs, expected)


def test_make__i__turns_one_square_of_at_most_half_the_side_that_can_lie_anywhere():
    batch = images(3000, 8)
    made = LoRot("I").make(batch, draws=draws())
    changed = (made.inputs != batch).any(1)
    assert torch.equal(changed.flatten(1).any(1), made.targets != 0)
    rows, columns = changed.any(2).sum(1), changed.any(1).sum(1)
    assert int(rows.max()) == int(columns.max()) == 4
    assert int(rows[made.targets != 0].min()) == 2
    assert changed.any(0).all()  # also the last row and column
    assert (made.targets.bincount() - 750).abs().max() < 120


def test_make_all__i__has_five_places_under_four_turns():
    made = LoRot("I").make_all(images(2))
    assert made.targets.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 5
    changed = (made.inputs != images(2).repeat(20, 1, 1, 1)).any(1)
    place = changed.view(5, 4, 2, 8, 8)[:, 1, 0]
    for number, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]):
        expected = torch.zeros(8, 8, dtype=torch.bool)
        expected[row : row + 4, column : column + 4] = True
        assert torch.equal(place[number], expected)


def test_make__not_square__is_refused_by_e_and_taken_by_i():
    oblong = torch.rand(2, 3, 6, 8)
    with pytest.raises(ShapeError, match="square images with an even side for quadrants, got 6x8 pixels"):
        LoRot("E").make(oblong, draws=draws())
    assert LoRot("I").make(oblong, draws=draws()).inputs.shape == oblong.shape


def test_make__i_on_three_pixels__is_refused():
    with pytest.raises(ShapeError, match="at least 4x4 pixels, got 3x9 pixels"):
        LoRot("I").make(torch.zeros(1, 3, 3, 9), draws=draws())
