"""Rotation: the order of the copies, the direction of the turns, the loss."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from auxo.errors import ShapeError
from auxo.pretexts.rotation import Rotation, rotate_all, rotate_each
from auxo.random import Draws, named_generator


def images(count=3, side=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return (100 * torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)).to(dtype)


def draws(seed=0):
    return Draws(named_generator(seed, "rotation"))


def turned(image, quarter_turns):
    """Turn one image counter-clockwise, pixel by pixel."""
    side = image.shape[-1]
    result = torch.empty_like(image)
    for row in range(side):
        for column in range(side):
            source = [
                (row, column),
                (column, side - 1 - row),
                (side - 1 - row, side - 1 - column),
                (side - 1 - column, row),
            ][quarter_turns]
            result[:, row, column] = image[:, source[0], source[1]]
    return result


def test_rotate_all__images__is_rotation_major_and_counter_clockwise():
    batch = images()
    rotated = rotate_all(batch)
    for turns in range(4):
        block = rotated[3 * turns : 3 * turns + 3]
        assert torch.equal(block, torch.rot90(batch, turns, (2, 3)))
        assert torch.equal(block, torch.stack([turned(image, turns) for image in batch]))


def test_rotate_all__corner__moves_counter_clockwise():
    corner = torch.zeros(1, 1, 2, 2)
    corner[0, 0, 0, 1] = 1  # top right
    assert rotate_all(corner)[1, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]  # top left


@pytest.mark.parametrize("side", [1, 4, 5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_rotate__four_quarter_turns__are_none(side, dtype):
    batch = images(side=side, dtype=dtype)
    once = torch.ones(3, dtype=torch.int64)
    result = batch
    for _ in range(4):
        result = rotate_each(result, once)
        assert result.dtype == dtype
    assert torch.equal(result, batch)
    assert torch.equal(rotate_all(rotate_all(batch)[9:])[3:6], batch)  # three and one


def test_rotate_each__own_turns__equals_image_by_image():
    batch = images(count=16)
    turns = torch.arange(4).repeat(4)
    rotated = rotate_each(batch, turns)
    for image, quarter_turns, result in zip(batch, turns.tolist(), rotated, strict=True):
        assert torch.equal(result, turned(image, quarter_turns))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_rotate__memory_format__is_kept(memory_format):
    batch = images().contiguous(memory_format=memory_format)
    assert rotate_all(batch).is_contiguous(memory_format=memory_format)
    assert rotate_each(batch, torch.tensor([0, 1, 2])).is_contiguous(memory_format=memory_format)


def test_rotate__not_square__is_refused():
    oblong = torch.zeros(2, 3, 4, 5)
    for rotate in (rotate_all, lambda batch: rotate_each(batch, torch.zeros(2, dtype=torch.int64))):
        with pytest.raises(
            ShapeError, match=r"square images for quarter turns, got 4x5 pixels: pass --data\.image-size"
        ):
            rotate(oblong)


def test_make__expand__is_make_all_and_draws_nothing():
    generator = named_generator(0, "rotation")
    state = generator.get_state()
    made, everything = Rotation("expand").make(images(), draws=Draws(generator)), Rotation("expand").make_all(images())
    assert torch.equal(generator.get_state(), state)
    for ours, theirs in zip(made, everything, strict=True):
        assert torch.equal(ours, theirs)
    assert made.targets.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert made.sources.tolist() == [0, 1, 2] * 4
    for inputs, target, source in zip(*made, strict=True):
        assert torch.equal(inputs, turned(images()[int(source)], int(target)))


@pytest.mark.parametrize("seed", range(8))
def test_make__random__equals_a_slow_rendering_of_its_draws(seed):
    batch = images(count=12)
    made = Rotation("random").make(batch, draws=draws(seed))
    assert torch.equal(made.targets, draws(seed).integers(4, 12))
    assert made.sources.tolist() == list(range(12))
    expected = torch.stack([turned(image, turns) for image, turns in zip(batch, made.targets.tolist(), strict=True)])
    assert torch.equal(made.inputs, expected)


def test_make__random__repeats_with_the_seed_and_uses_every_turn():
    batch = images(count=64)
    first, again, other = (Rotation("random").make(batch, draws=draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.targets, again.targets)
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.targets, other.targets)
    assert set(first.targets.tolist()) == {0, 1, 2, 3}


def test_make__random_in_two_processes__is_the_joined_batchs():
    batch = images(count=10)
    whole = Rotation("random").make(batch, draws=draws())
    parts = [
        Rotation("random").make(batch[first:last], draws=Draws(named_generator(0, "rotation"), first=first, total=10))
        for first, last in ((0, 4), (4, 10))
    ]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)


def test_loss__four_copies_of_a_batch__is_the_mean_of_the_four_cross_entropies():
    batch = images(count=5)
    torch.manual_seed(0)
    head = torch.nn.Linear(3 * 16, 4, dtype=torch.float64)

    def answer(inputs):
        return head(inputs.flatten(1) / 100)

    pretext = Rotation("expand")
    made = pretext.make_all(batch)
    losses = pretext.loss(answer(made.inputs), made.targets)
    assert losses.shape == (20,)
    expected = [cross_entropy(answer(torch.rot90(batch, turns, (2, 3))), torch.full((5,), turns)) for turns in range(4)]
    torch.testing.assert_close(losses.mean(), torch.stack(expected).mean(), rtol=0, atol=1e-12)
    for turns in range(4):
        block = losses[5 * turns : 5 * turns + 5]
        torch.testing.assert_close(block.mean(), expected[turns], rtol=0, atol=1e-12)


def test_num_outputs__is_the_number_of_turns():
    assert Rotation().num_outputs == 4
