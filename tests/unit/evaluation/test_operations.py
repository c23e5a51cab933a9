"""Counting operations while the gradient in the input of a module is taken."""

from math import prod

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from auxo.evaluation.operations import OperationCounter


def test_counter__gradient_in_a_modules_input__counts_both_products():
    layer = nn.Linear(3, 4, bias=False)
    inputs = torch.ones(2, 3, requires_grad=True)
    with OperationCounter() as counter:
        torch.autograd.grad(layer(inputs).sum(), inputs)
    assert counter.get_total_flops() == 2 * (2 * 2 * 3 * 4)


def test_counter__a_training_step__counts_what_torch_counts():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    images = torch.randn(4, 3, 8, 8)
    counters = OperationCounter(), FlopCounterMode(display=False)
    for counter in counters:
        with counter:
            network(images).square().sum().backward()
    assert counters[0].get_total_flops() == counters[1].get_total_flops() > 0


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("is_first", [True, False])
def test_counter__convolutions_of_groups__each_gradient_takes_as_many_as_the_convolution(
    kind: type[nn.Conv2d | nn.ConvTranspose2d], groups: int, is_first: bool
):
    layer = kind(8, 16, 3, stride=2, groups=groups, bias=False)
    images = torch.randn(2, 8, 9, 9, requires_grad=not is_first)
    with OperationCounter() as counter:
        answers = layer(images)
        answers.sum().backward()
    # Every place that a filter is laid on, times its weights, whichever way the filter reads.
    places = prod((images if kind is nn.ConvTranspose2d else answers).shape[2:])
    once = 2 * len(images) * places * layer.weight.numel()
    assert counter.get_total_flops() == (2 if is_first else 3) * once


@pytest.mark.parametrize("keys", [7, 5])
def test_counter__attention_on_the_cpu__counts_what_the_products_one_by_one_take(keys):
    def count(attend):
        query, key, value = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (7, keys, keys))
        with OperationCounter() as forward:
            answers = attend(query, key, value)
        with OperationCounter() as backward:
            answers.square().sum().backward()
        return forward.get_total_flops(), backward.get_total_flops()

    def attend_plainly(query, key, value):
        return torch.softmax(query @ key.transpose(-1, -2) / 8**0.5, -1) @ value

    fused, plain = count(nn.functional.scaled_dot_product_attention), count(attend_plainly)
    assert fused[0] == plain[0] == 2 * 2 * 3 * 7 * keys * (8 + 8)
    assert fused[1] == plain[1] + plain[0] // 2  # the scores are computed again


def test_counter__vision_transformer__counts_its_attention():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    with OperationCounter() as counter:
        layer(torch.randn(2, 5, 16))
    linear = 2 * 2 * 5 * (16 * 48 + 16 * 16 + 2 * 16 * 32)
    assert counter.get_total_flops() == linear + 2 * 2 * 5 * 5 * (16 + 16)
