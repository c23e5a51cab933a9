"""Counting operations while the gradient in the input of a module is taken."""

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
