"""Optimisers step by their formulas and learning rates fall when they should."""

import math

import pytest
import torch
from torch import nn

from auxo.errors import ConfigError
from auxo.optimizers import OptimizerConfig

GRADIENTS = (0.5, -0.25, 1.0)


def steps(config):
    """Return a parameter's values after each of three given gradients."""
    parameter = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = config.build([parameter])
    values = []
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        values.append(parameter.item())
    return values


@pytest.mark.parametrize("nesterov", [True, False])
def test_build__sgd__follows_momentum_with_weight_decay(nesterov):
    config = OptimizerConfig(lr=0.1, momentum=0.8, nesterov=nesterov, weight_decay=0.01)
    value, velocity, expected = 2.0, 0.0, []
    for gradient in GRADIENTS:
        decayed = gradient + 0.01 * value
        velocity = 0.8 * velocity + decayed
        value -= 0.1 * (decayed + 0.8 * velocity if nesterov else velocity)
        expected.append(value)
    assert steps(config) == pytest.approx(expected, abs=1e-14)


def test_build__adamw__follows_its_formula_with_decoupled_decay():
    config = OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.01)
    value, first, second, expected = 2.0, 0.0, 0.0, []
    for number, gradient in enumerate(GRADIENTS, start=1):
        value *= 1 - 0.1 * 0.01
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        value -= 0.1 * (first / (1 - 0.9**number)) / (math.sqrt(second / (1 - 0.999**number)) + 1e-8)
        expected.append(value)
    assert steps(config) == pytest.approx(expected, abs=1e-12)


def rates(config, num_epochs):
    """Return the learning rate of every epoch."""
    optimizer = config.build([nn.Parameter(torch.zeros(1))])
    schedule = config.build_schedule(optimizer, num_epochs=num_epochs)
    found = []
    for _ in range(num_epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_build_schedule__defaults_over_250_epochs__fall_at_130_and_200():
    expected = [0.01] * 130 + [0.001] * 70 + [0.0001] * 50
    assert rates(OptimizerConfig(), 250) == pytest.approx(expected, rel=1e-12)


def test_build_schedule__milestone_within_the_first_epoch__falls_after_it():
    assert rates(OptimizerConfig(milestones=(0.1,)), 3) == pytest.approx([0.01, 0.001, 0.001])
    assert rates(OptimizerConfig(milestones=(0.1, 0.2)), 1) == [0.01]


def test_build_schedule__constant__stays():
    assert rates(OptimizerConfig(schedule="constant"), 5) == [0.01] * 5


def test_build_schedule__cosine__is_half_a_wave():
    expected = [0.02 * (1 + math.cos(math.pi * epoch / 8)) / 2 for epoch in range(8)]
    assert rates(OptimizerConfig(lr=0.02, schedule="cosine"), 8) == pytest.approx(expected, rel=1e-9)


def test_build_schedule__milestones_in_one_epoch__both_count():
    config = OptimizerConfig(milestones=(0.5, 0.5), decay=0.5)
    assert rates(config, 4) == pytest.approx([0.01, 0.01, 0.0025, 0.0025])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, r"optimizer\.lr in \(0, 3\.4e\+38\], got 0\.0"),
        ({"lr": float("nan")}, r"optimizer\.lr in .*, got nan"),
        ({"lr": 1e39}, r"optimizer\.lr in .*, got 1e\+39"),
        ({"lr": math.inf}, r"optimizer\.lr in .*, got inf"),
        ({"momentum": 1.0}, r"optimizer\.momentum in \[0, 1\), got 1\.0"),
        ({"momentum": -0.1}, r"optimizer\.momentum in \[0, 1\)"),
        ({"weight_decay": -1e-4}, r"optimizer\.weight-decay in \[0, 3\.4e\+38\], got -0\.0001"),
        ({"weight_decay": 1e39}, r"optimizer\.weight-decay in .*, got 1e\+39"),
        ({"decay": 0.0}, r"optimizer\.decay in \(0, 1\], got 0\.0"),
        ({"milestones": (0.5, 1.0)}, r"optimizer\.milestones in \(0, 1\)"),
        ({"momentum": 0.0}, r"momentum > 0 with nesterov, got momentum 0"),
    ],
)
def test_config__value_out_of_range__is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        OptimizerConfig(**options)


def test_config__adamw_without_momentum__is_no_contradiction():
    assert OptimizerConfig(name="adamw", momentum=0.0).momentum == 0.0
