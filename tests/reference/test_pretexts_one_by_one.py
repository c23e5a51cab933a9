"""auxo's pretexts against a slow rendering of one image at a time."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from auxo.pretexts._quadrants import make_all_quadrants
from auxo.pretexts.channel_shuffle import ChannelShuffle
from auxo.pretexts.compose import Compose
from auxo.pretexts.flip import Flip
from auxo.pretexts.inpaint import Inpaint
from auxo.pretexts.jigsaw import Jigsaw, distant_orders
from auxo.pretexts.lorot import LoRot, rotate_squares
from auxo.pretexts.relative_patch import RelativePatch
from auxo.random import Draws, named_generator

from .pretexts_one_by_one import (
    distant_permutations,
    gssl_image,
    gssl_labels,
    hole_image,
    jigsaw_image,
    local_rotation_image,
    patch_pair_image,
    turn,
)

# Quadrant, quarter turns, flipped, order of the channels.
ALL_DRAWS = list(product(range(4), range(4), range(2), range(6)))


def images(count, height=8, width=8):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def draws(seed=0):
    return Draws(named_generator(seed, "reference"))


def test_turn__one_quarter__is_counter_clockwise():
    assert turn(torch.tensor([[[1, 2], [3, 4]]]), 1).tolist() == [[[2, 4], [1, 3]]]


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_compose__all_192_draws__inputs_and_labels_of_the_rendering(axis):
    (image,) = images(1)
    made = make_all_quadrants(image[None], (Flip(axis), LoRot(), ChannelShuffle()))
    seen = {}
    for inputs, labels in zip(made.inputs, made.targets.tolist(), strict=True):
        seen[tuple(labels)] = inputs
    assert len(made.inputs) == len(seen) == len(ALL_DRAWS) == 192
    for draw in ALL_DRAWS:
        assert torch.equal(seen[tuple(gssl_labels(*draw))], gssl_image(image, *draw, axis=axis)), draw


def test_compose__drawn_batch__is_rendered_from_its_labels_and_draws_all_combinations_alike():
    batch = images(4096, 4, 4)
    made = Compose().make(batch, draws=draws())
    for image, inputs, (flipped, place, order) in zip(batch, made.inputs, made.targets.tolist(), strict=True):
        assert torch.equal(inputs, gssl_image(image, place // 4, place % 4, flipped, order))
    flipped, place, order = made.targets.unbind(1)
    counts = (place * 12 + flipped * 6 + order).bincount(minlength=192)
    expected = 4096 / 192
    # Chi-squared with 191 degrees of freedom: mean 191, standard deviation 19.5.
    assert float(((counts - expected) ** 2 / expected).sum()) < 191 + 4 * 19.5


def test_compose__draws__that_leave_the_image_as_it_was_are_four():
    (image,) = images(1)
    made = Compose().make_all(image[None])
    same = [torch.equal(inputs, image) for inputs in made.inputs]
    assert made.targets[same].tolist() == [[0, 4 * quadrant, 0] for quadrant in range(4)]


@pytest.mark.parametrize(
    ("pretext", "position"),
    [(Flip(), 0), (LoRot(), 1), (ChannelShuffle(), 2)],
    ids=["flip", "lorot", "channel_shuffle"],
)
def test_part__alone__is_the_rendering_with_the_others_left_out(pretext, position):
    (image,) = images(1)
    made = pretext.make_all(image[None])
    expected = []
    for quadrant, code in product(range(4), range(pretext.num_codes)):
        flipped, turns, order = (code if place == position else 0 for place in range(3))
        assert torch.equal(made.inputs[len(expected)], gssl_image(image, quadrant, turns, flipped, order))
        expected.append(gssl_labels(quadrant, turns, flipped, order)[position])
    assert made.targets.tolist() == expected


@pytest.mark.parametrize("largest", [3, 6])
@pytest.mark.parametrize("turns", range(4))
def test_rotate_squares__every_place_and_side__is_the_rendering(turns, largest):
    height, width = 6, 7
    cases = [
        (row, column, side)
        for side in range(1, largest + 1)
        for row in range(height - side + 1)
        for column in range(width - side + 1)
    ]
    batch = images(len(cases), height, width)
    rows, columns, sides = torch.tensor(cases).unbind(1)
    rotated = rotate_squares(batch, rows, columns, sides, torch.full_like(rows, turns), largest=largest)
    for image, result, case in zip(batch, rotated, cases, strict=True):
        assert torch.equal(result, local_rotation_image(image, *case, turns)), case


@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 14)])
def test_lorot_i__drawn_batch__is_the_rendering_of_its_draws(height, width):
    batch = images(64, height, width)
    made = LoRot("I").make(batch, draws=draws())
    again = draws()
    sides = 2 + again.integers(min(height, width) // 2 - 1, 64)
    rows, columns = ((again.uniform(64) * (length - sides + 1)).long() for length in (height, width))
    assert torch.equal(made.targets, again.integers(4, 64))
    cases = zip(batch, rows.tolist(), columns.tolist(), sides.tolist(), made.targets.tolist(), strict=True)
    assert torch.equal(made.inputs, torch.stack([local_rotation_image(*case) for case in cases]))


@pytest.mark.parametrize("grid", [2, 3])
@pytest.mark.parametrize(("height", "width"), [(9, 9), (12, 12), (8, 11)])
def test_jigsaw__every_order__is_the_rendering(grid, height, width):
    pretext = Jigsaw(grid=grid)
    (image,) = images(1, height, width)
    made = pretext.make_all(image[None])
    for inputs, order in zip(made.inputs, pretext.orders.tolist(), strict=True):
        assert torch.equal(inputs, jigsaw_image(image, order, grid))


@pytest.mark.parametrize(("length", "count"), [(3, 6), (4, 24), (5, 20)])
def test_distant_orders__small_sets__are_those_of_the_slow_search(length, count):
    assert distant_orders(length, count).tolist() == [list(order) for order in distant_permutations(length, count)]


def test_distant_orders__nine_tiles__each_is_as_far_as_any_could_be():
    from itertools import permutations

    everything = np.array(list(permutations(range(9))), dtype=np.float64)
    chosen = distant_orders(9, 12).numpy()
    for number in range(1, len(chosen)):
        others = chosen[:number].astype(np.float64)
        best = np.rint(9 * cdist(others, everything, "hamming")).min(0).max()
        assert (others != chosen[number]).sum(1).min() == best


@pytest.mark.parametrize(("height", "width"), [(13, 13), (32, 32), (28, 37)])
def test_relative_patch__drawn_batch__is_the_rendering_of_its_draws(height, width):
    side, jitter = {13: (3, 1), 32: (7, 1), 28: (6, 1)}[height]
    gap = side // 2
    batch = images(40, height, width)
    made = RelativePatch().make(batch, draws=draws())
    again = draws()
    assert torch.equal(made.targets, again.integers(8, 40))
    block = 3 * side + 2 * gap + 2 * jitter
    down, right = (again.integers(length - block + 1, 40) + jitter for length in (height, width))
    shifts = torch.stack([again.integers(2 * jitter + 1, 40) - jitter for _ in range(4)], 1).tolist()
    for number, image in enumerate(batch):
        corner = int(down[number]), int(right[number])
        jitters = shifts[number][:2], shifts[number][2:]
        expected = patch_pair_image(image, int(made.targets[number]), corner, jitters, side=side, gap=gap)
        assert torch.equal(made.inputs[number], expected)


@pytest.mark.parametrize("cells", [1, 3, 4])
def test_inpaint__drawn_batch__is_the_rendering_of_its_draws(cells):
    batch = images(40, 16, 21)
    side = {1: 8, 3: 6, 4: 8}[cells]
    made = Inpaint(cells=cells).make(batch, draws=draws())
    again = draws()
    rows, columns = (again.integers(length - side + 1, 40) for length in (16, 21))
    for number, image in enumerate(batch):
        inputs, means = hole_image(image, int(rows[number]), int(columns[number]), side, cells)
        assert torch.equal(made.inputs[number], inputs)
        torch.testing.assert_close(made.targets[number], means, rtol=0, atol=1e-12)
