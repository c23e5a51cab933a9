"""Inpaint: the hole, the answers, the loss."""

import pytest
import torch

from auxo.errors import ConfigError, ShapeError
from auxo.pretexts.inpaint import Inpaint
from auxo.random import Draws, named_generator


def test_make_all__center__empties_the_middle_and_asks_for_its_quarters():
    image = torch.arange(64.0).view(1, 1, 8, 8) + 1
    made = Inpaint("center", cells=2, channels=1).make_all(image)
    expected = image.clone()
    expected[:, :, 2:6, 2:6] = 0
    assert torch.equal(made.inputs, expected)
    quarters = [float(image[0, 0, r : r + 2, c : c + 2].mean()) for r in (2, 4) for c in (2, 4)]
    assert made.targets.tolist() == [quarters]


def test_make__random__hole_can_lie_anywhere_and_is_as_large_as_said():
    made = Inpaint(cells=4).make(torch.ones(2000, 3, 18, 18), draws=Draws(named_generator(0)))
    empty = (made.inputs == 0).all(1)
    assert (empty.flatten(1).sum(1) == 64).all()
    assert empty.any(0).all()
    assert torch.equal(made.targets, torch.ones(2000, 48))


def test_loss__numbers__is_the_mean_squared_error():
    pretext = Inpaint(cells=1, channels=2)
    outputs, targets = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    assert pretext.loss(outputs, targets).tolist() == [2.5, 2.0]


def test_loss__zeros_for_normalised_noise__is_the_mean_square_to_stay_below():
    pretext = Inpaint(cells=1)
    images = torch.randn(500, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    made = pretext.make_all(images)
    losses = pretext.loss(torch.zeros(len(made.inputs), 3), made.targets)
    assert abs(float(losses.mean()) - 1 / 16) < 0.01  # the variance of the mean of 4x4 pixels


def test_num_outputs__cells_and_channels__multiply():
    assert Inpaint().num_outputs == 48
    assert Inpaint(cells=2, channels=1).num_outputs == 4


def test_inpaint__what_does_not_fit__is_refused():
    with pytest.raises(ConfigError, match="cells >= 1, got 0"):
        Inpaint(cells=0)
    with pytest.raises(ShapeError, match="images of 3 channels, got 1"):
        Inpaint().make_all(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ShapeError, match="at least 8x8 pixels, got 7x20 pixels"):
        Inpaint().make_all(torch.zeros(1, 3, 7, 20))
