"""Compose: the order of the parts, the joined head, the losses by part."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from auxo.errors import ConfigError, ShapeError
from auxo.pretexts._quadrants import make_all_quadrants
from auxo.pretexts.compose import Compose
from auxo.pretexts.flip import Flip
from auxo.pretexts.lorot import LoRot
from auxo.random import Draws, named_generator


def images(count=1):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_num_outputs__default_parts__is_two_and_sixteen_and_six():
    assert Compose().num_outputs == 2 + 16 + 6
    assert Compose(("lorot",)).num_outputs == 16


def test_parts__flip_and_rotation__do_not_commute():
    first, second = (Compose(parts).make_all(images()) for parts in (("flip", "lorot"), ("lorot", "flip")))
    turned_and_flipped = [made.inputs[row] for made, row in ((first, 5), (second, 3))]
    assert first.targets[5].tolist() == [1, 1]
    assert second.targets[3].tolist() == [1, 1]
    assert not torch.equal(*turned_and_flipped)
    half_turn = [made.inputs[row] for made, row in ((first, 6), (second, 5))]
    assert first.targets[6].tolist() == second.targets[5][[1, 0]].tolist() == [1, 2]
    assert torch.equal(*half_turn)


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_parts__flip_and_rotation_of_one_quadrant__make_eight_pictures(axis):
    made = make_all_quadrants(images(), (Flip(axis), LoRot()))
    in_first_quadrant = made.inputs[made.targets[:, 1] < 4]
    assert len(in_first_quadrant) == 8
    assert len(in_first_quadrant.flatten(1).unique(dim=0)) == 8


def test_one_part__composed__is_the_part_alone():
    whole = Compose(("lorot",)).make(images(9), draws=Draws(named_generator(4)))
    alone = LoRot().make(images(9), draws=Draws(named_generator(4)))
    assert torch.equal(whole.inputs, alone.inputs)
    assert torch.equal(whole.targets[:, 0], alone.targets)


def test_part_losses__joined_head__are_the_cross_entropies_of_its_blocks():
    pretext = Compose()
    made = pretext.make(images(5), draws=Draws(named_generator(0)))
    outputs = torch.randn(5, 24, dtype=torch.float64, requires_grad=True)
    losses = pretext.part_losses(outputs, made.targets)
    blocks = outputs[:, :2], outputs[:, 2:18], outputs[:, 18:]
    for part, block in enumerate(blocks):
        expected = cross_entropy(block, made.targets[:, part], reduction="none")
        torch.testing.assert_close(losses[:, part], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(pretext.loss(outputs, made.targets), losses.sum(1))
    (gradient,) = torch.autograd.grad(losses[:, 1].sum(), outputs)
    assert not gradient[:, :2].any()
    assert not gradient[:, 18:].any()
    assert (gradient[:, 2:18].abs().sum(1) > 0).all()


def test_split__other_width__is_refused():
    with pytest.raises(ShapeError, match="24 outputs, got 16"):
        Compose().split(torch.zeros(3, 16))


def test_compose__no_parts_or_no_quadrant__are_refused():
    with pytest.raises(ConfigError, match="parts of one pretext or more, got none"):
        Compose(())
    with pytest.raises(ConfigError, match="parts of pretexts that change one quadrant and leave the rest, got jigsaw"):
        Compose(("flip", "jigsaw"))
    with pytest.raises(ConfigError, match="parts of different pretexts, got flip twice"):
        Compose(("flip", "lorot", "flip"))
