"""Rates of parts: groups are split, schedules follow, and layers decay by their formula."""

import pytest
import torch
from torch import nn

from auxo.errors import ConfigError
from auxo.optimizers import OptimizerConfig, decay_by_layer, scale_rates


def weights(count):
    return [nn.Parameter(torch.ones(2, 2)) for _ in range(count)]


def test_scale_rates__sgd_step__moves_each_weight_by_its_factor():
    first, second, third = weights(3)
    optimizer = OptimizerConfig(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0).build([first, second, third])
    scale_rates(optimizer, {first: 0.5, third: 0.1})
    for each in (first, second, third):
        each.grad = torch.ones_like(each)
    optimizer.step()
    assert [1 - each[0, 0].item() for each in (first, second, third)] == pytest.approx([0.05, 0.1, 0.01], rel=1e-5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.05, 0.01])


def test_scale_rates__norms_that_do_not_decay__keep_their_group_options():
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = OptimizerConfig(decay_norms=False, weight_decay=0.3).build([matrix, vector])
    scale_rates(optimizer, {matrix: 0.5, vector: 0.5})
    assert [(group["weight_decay"], group["lr"]) for group in optimizer.param_groups] == [(0.3, 0.005), (0.0, 0.005)]


def test_scale_rates__factors_of_one__leave_the_groups_alone():
    parameter = weights(1)[0]
    optimizer = OptimizerConfig().build([parameter])
    before = dict(optimizer.param_groups[0])
    scale_rates(optimizer, {parameter: 1.0})
    assert optimizer.param_groups == [before]


def test_scale_rates__twice__multiply_and_the_cosine_ends_at_its_share_of_the_minimum():
    own, other = weights(2)
    config = OptimizerConfig(lr=0.2, minimum_lr=0.02, schedule="cosine")
    optimizer = config.build([own, other], rate=0.5)
    scale_rates(optimizer, {own: 0.1})
    schedule = config.build_schedule(optimizer, num_epochs=1)
    assert schedule.get_last_lr() == pytest.approx([0.1, 0.01])
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.01, 0.001])


def test_decay_by_layer__three_layers__fall_towards_the_image():
    first, second, third = weights(3)
    assert decay_by_layer([[first], [second], [third]], 0.5) == {first: 0.125, second: 0.25, third: 0.5}


@pytest.mark.parametrize("moves", ["epoch", "step"])
def test_schedule__warmup_steps__rises_with_every_step_and_goes_on_into_the_cosine(moves):
    config = OptimizerConfig(lr=0.1, schedule="cosine", moves=moves, warmup_steps=4)
    optimizer = config.build(weights(1))
    schedule = config.build_schedule(optimizer, num_epochs=3, steps_per_epoch=4)
    found = []
    for _ in range(12):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    steps = range(8) if moves == "step" else [0, 0, 0, 0, 4, 4, 4, 4]
    cosine = [0.05 * (1 + torch.tensor(torch.pi * k / 8).cos().item()) for k in steps]
    assert found == pytest.approx([0.025, 0.05, 0.075, 0.1, *cosine], rel=1e-5)


def test_config__warmup_by_steps_and_by_epochs__is_refused():
    with pytest.raises(ConfigError, match="warmup-epochs 1"):
        OptimizerConfig(warmup_steps=3, warmup_epochs=1)
