"""Optimisers step by their formulas and learning rates fall when they should."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

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


def rates(config, num_epochs, steps_per_epoch=1):
    """Return the learning rate of every step."""
    optimizer = config.build([nn.Parameter(torch.zeros(1))])
    schedule = config.build_schedule(optimizer, num_epochs=num_epochs, steps_per_epoch=steps_per_epoch)
    found = []
    for _ in range(num_epochs * steps_per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def rates_of_torch(config, make, num_epochs):
    """Return the learning rate of every epoch by a schedule of torch's."""
    optimizer = config.build([nn.Parameter(torch.zeros(1))])
    schedule = make(optimizer)
    found = []
    for _ in range(num_epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.03])
def test_build_schedule__step__has_the_bits_of_torchs(decay):
    config = OptimizerConfig(lr=0.07, milestones=(0.2, 0.5, 0.5, 0.8), decay=decay)
    expected = rates_of_torch(config, lambda o: MultiStepLR(o, milestones=[4, 10, 10, 16], gamma=decay), 20)
    assert rates(config, 20) == expected
    assert rates(config, 20, steps_per_epoch=7) == [rate for rate in expected for _ in range(7)]


@pytest.mark.parametrize("low", [0.0, 0.001])
def test_build_schedule__cosine__is_torchs_to_rounding(low):
    config = OptimizerConfig(lr=0.07, schedule="cosine", minimum_lr=low)
    expected = rates_of_torch(config, lambda o: CosineAnnealingLR(o, T_max=50, eta_min=low), 50)
    assert rates(config, 50) == pytest.approx(expected, rel=1e-12)
    assert rates(config, 50, steps_per_epoch=3)[::3] == rates(config, 50)


def test_build_schedule__cosine_every_step__is_half_a_wave_down_to_the_minimum():
    config = OptimizerConfig(lr=0.1, schedule="cosine", moves="step", minimum_lr=1e-6)
    found = rates(config, 4, steps_per_epoch=5)
    expected = [1e-6 + (0.1 - 1e-6) * 0.5 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert len(set(found)) == 20


def test_build_schedule__fixmatch__ends_at_cos_7_16_pi():
    config = OptimizerConfig(lr=0.03, schedule="fixmatch", moves="step")
    found = rates(config, 8, steps_per_epoch=128)
    assert found == pytest.approx([0.03 * math.cos(7 * math.pi * k / (16 * 1024)) for k in range(1024)], rel=1e-12)


def test_build_schedule__warmup_then_milestones__are_those_of_long_tailed_cifar():
    config = OptimizerConfig(lr=0.1, milestones=(0.8, 0.9), decay=0.01, warmup_epochs=5)
    expected = [0.02, 0.04, 0.06, 0.08, 0.1] + [0.1] * 155 + [0.001] * 20 + [0.00001] * 20
    assert rates(config, 200) == pytest.approx(expected, rel=1e-12)
    assert rates(config, 200, steps_per_epoch=2)[1::2] == rates(config, 200)


def test_build_schedule__warmup_every_step__rises_in_equal_parts_before_the_cosine():
    config = OptimizerConfig(lr=0.1, schedule="cosine", moves="step", warmup_epochs=2)
    found = rates(config, 6, steps_per_epoch=3)
    assert found[:6] == pytest.approx([0.1 * k / 6 for k in range(1, 7)])
    assert found[6:] == pytest.approx([0.05 * (1 + math.cos(math.pi * k / 12)) for k in range(12)])


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "fixmatch"])
@pytest.mark.parametrize("moves", ["epoch", "step"])
def test_build_schedule__warmup_longer_than_the_stage__rises_all_through(schedule, moves):
    found = rates(OptimizerConfig(schedule=schedule, moves=moves, warmup_epochs=4), 2, steps_per_epoch=3)
    assert found == sorted(found)
    assert found[-1] == pytest.approx(0.005)


@pytest.mark.parametrize("schedule", ["step", "cosine", "fixmatch"])
@pytest.mark.parametrize("moves", ["epoch", "step"])
def test_schedule__state_through_plain_values__goes_on_to_the_same_bits(schedule, moves):
    config = OptimizerConfig(lr=0.07, schedule=schedule, moves=moves, warmup_epochs=1, milestones=(0.3, 0.7))
    whole = rates(config, 5, steps_per_epoch=4)
    first, second = (config.build([nn.Parameter(torch.zeros(1))]) for _ in range(2))
    schedule = config.build_schedule(first, num_epochs=5, steps_per_epoch=4)
    for _ in range(9):
        first.step()
        schedule.step()
    restored = config.build_schedule(second, num_epochs=5, steps_per_epoch=4)
    second.load_state_dict(first.state_dict())
    restored.load_state_dict({k: v for k, v in schedule.state_dict().items() if isinstance(v, int | float | list)})
    found = []
    for _ in range(9, 20):
        found.append(second.param_groups[0]["lr"])
        second.step()
        restored.step()
    assert found == whole[9:]


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_build__without_decay_of_norms__leaves_vectors_alone(name):
    layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 2))
    optimizer = OptimizerConfig(name=name, weight_decay=0.1, decay_norms=False).build(layers.parameters())
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decays[id(p)] for p in layers.parameters()] == [0.1, 0.0, 0.0, 0.0, 0.1, 0.0]
    before = [parameter.detach().clone() for parameter in layers.parameters()]
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, layers.parameters(), strict=True)]
    assert moved == [True, False, False, False, True, False]


def test_build__lars_without_decay_of_norms__scales_matrices_only():
    layers = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    optimizer = OptimizerConfig(name="lars", lr=4.8, trust_coefficient=0.02, decay_norms=False).build(
        layers.parameters()
    )
    before = [parameter.detach().clone() for parameter in layers.parameters()]
    for parameter in layers.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    optimizer.step()
    steps = [(old - new.detach()) / 4.8 for old, new in zip(before, layers.parameters(), strict=True)]
    assert float(steps[0].norm()) == pytest.approx(0.02 * float(before[0].norm()), rel=1e-5)
    for step in steps[1:]:
        torch.testing.assert_close(step, torch.full_like(step, 0.25), rtol=1e-5, atol=0)


def test_build__without_decay_of_norms_and_vectors_only__is_one_group():
    optimizer = OptimizerConfig(decay_norms=False).build([nn.Parameter(torch.zeros(3))])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


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
        ({"lr": 0.0}, r"lr > 0, got 0\.0"),
        ({"lr": float("nan")}, r"lr > 0, got nan"),
        ({"lr": 1e39}, r"lr > 0, and at most .*, got 1e\+39"),
        ({"lr": math.inf}, r"lr > 0, and at most .*, got inf"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\), got 1\.0"),
        ({"momentum": -0.1}, r"momentum in \[0, 1\)"),
        ({"weight_decay": -1e-4}, r"weight-decay >= 0, got -0\.0001"),
        ({"weight_decay": 1e39}, r"weight-decay >= 0, and at most .*, got 1e\+39"),
        ({"decay": 0.0}, r"decay in \(0, 1\], got 0\.0"),
        ({"milestones": (0.5, 1.0)}, r"milestones in \(0, 1\)"),
        ({"minimum_lr": 0.02}, r"minimum-lr in \[0, 0\.01\], the lr, got 0\.02"),
        ({"minimum_lr": float("nan")}, r"minimum-lr >= 0 and finite, got nan"),
        ({"warmup_epochs": -1}, r"warmup-epochs >= 0, got -1"),
        ({"momentum": 0.0}, r"momentum > 0 with nesterov, got 0"),
        ({"name": "lars", "trust_coefficient": 0.0}, r"trust-coefficient in \(0, 1\], got 0\.0"),
        ({"name": "sgd", "trust_coefficient": 0.02}, r"trust-coefficient for lars only, got 0\.02 with sgd"),
    ],
)
def test_config__value_out_of_range__is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        OptimizerConfig(**options)


@pytest.mark.parametrize("name", ["adamw", "lars"])
def test_config__no_momentum_for_an_optimiser_without_nesterov__is_no_contradiction(name):
    assert OptimizerConfig(name=name, momentum=0.0).momentum == 0.0
