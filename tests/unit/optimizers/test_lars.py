"""LARS against values worked out by hand."""

import copy
import math

import pytest
import torch
from torch import nn

from auxo.errors import ConfigError
from auxo.optimizers import Lars, OptimizerConfig


def parameter(*values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def test_step__two_steps_by_hand__the_share_of_the_norm_and_then_with_momentum():
    weight = parameter(3.0, 4.0)
    optimizer = Lars([weight], lr=2.0, momentum=0.5, weight_decay=0.1, trust_coefficient=0.01)
    # u = (0.3, 0.4) + 0.1 (3, 4) = (0.6, 0.8) has length 1 and w length 5: q u = 0.05 u = (0.03, 0.04).
    weight.grad = torch.tensor([0.3, 0.4], dtype=torch.float64)
    optimizer.step()
    assert weight.tolist() == pytest.approx([3 - 2 * 0.03, 4 - 2 * 0.04], abs=1e-15)
    # w = (2.94, 3.92) has length 4.9; u = (-0.294, 0.098) + (0.294, 0.392) = (0, 0.49): q u = (0, 0.049),
    # and v = 0.5 (0.03, 0.04) + (0, 0.049) = (0.015, 0.069).
    weight.grad = torch.tensor([-0.294, 0.098], dtype=torch.float64)
    optimizer.step()
    assert weight.tolist() == pytest.approx([2.94 - 2 * 0.015, 3.92 - 2 * 0.069], abs=1e-15)


def test_step__gradient_a_thousandfold__the_same_step_without_decay():
    weights = [parameter(1.0, -2.0), parameter(1.0, -2.0)]
    for weight, scale in zip(weights, (1.0, 1e3), strict=True):
        weight.grad = scale * torch.tensor([0.5, 0.25], dtype=torch.float64)
        Lars([weight], lr=1.0, trust_coefficient=0.1).step()
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-14, atol=0)
    moved = (weights[0].detach() - torch.tensor([1.0, -2.0], dtype=torch.float64)).norm()
    assert float(moved) == pytest.approx(0.1 * math.sqrt(5))


def test_step__zero_weight_or_zero_update__a_ratio_of_one():
    zero, still = parameter(0.0, 0.0), parameter(1.0, -2.0)
    zero.grad = torch.tensor([0.5, -1.0], dtype=torch.float64)
    still.grad = -0.1 * still.detach()  # cancels the decay
    Lars([zero, still], lr=0.2, weight_decay=0.1).step()
    assert zero.tolist() == pytest.approx([-0.1, 0.2])
    assert still.tolist() == [1.0, -2.0]


def test_step__no_gradient__left_alone_without_a_velocity():
    moving, idle = parameter(1.0), parameter(1.0)
    moving.grad = torch.ones(1, dtype=torch.float64)
    optimizer = Lars([moving, idle], lr=0.1, weight_decay=0.1)
    optimizer.step()
    assert idle.item() == 1.0
    assert idle not in optimizer.state
    assert torch.equal(moving.grad, torch.ones(1, dtype=torch.float64))


def test_step__closure__is_evaluated_with_gradients_and_returned():
    weight = parameter(2.0)
    optimizer = Lars([weight], lr=0.1, trust_coefficient=0.5, momentum=0.0)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert weight.item() == pytest.approx(2 - 0.1 * 0.5 * 2)


def test_state_dict__loaded_into_another__goes_on_to_the_same_bits():
    generator = torch.Generator().manual_seed(0)
    gradients = [[torch.randn(shape, generator=generator) for shape in ((3, 4), (3,))] for _ in range(6)]
    config = OptimizerConfig(name="lars", lr=4.8, weight_decay=1e-2)

    def steps(parameters, optimizer, numbers):
        for number in numbers:
            for weight, gradient in zip(parameters, gradients[number], strict=True):
                weight.grad = gradient.clone()
            optimizer.step()

    whole = [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3))]
    first = config.build(whole)
    steps(whole, first, range(3))
    resumed = [nn.Parameter(weight.detach().clone()) for weight in whole]
    second = config.build(resumed)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(whole, first, range(3, 6))
    steps(resumed, second, range(3, 6))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(whole, resumed, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, "lr >= 0, got -0.1"),
        ({"lr": 0.1, "momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"lr": 0.1, "weight_decay": float("nan")}, "weight_decay >= 0, got nan"),
        ({"lr": 0.1, "trust_coefficient": 0.0}, "trust_coefficient > 0"),
    ],
)
def test_lars__option_out_of_range__is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Lars([parameter(1.0)], **options)
