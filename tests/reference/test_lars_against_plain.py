"""LARS with grouped kernels against LARS one tensor at a time, in float64."""

import pytest
import torch
from torch import nn

from auxo.optimizers import OptimizerConfig

from .lars_plain import descend

SHAPES = [(4, 3, 3, 3), (4,), (4,), (5, 4), (5,), (2, 2)]


def start():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
    return [*weights[:-1], torch.zeros(SHAPES[-1], dtype=torch.float64)]


def gradients_at(step):
    """Gradients of many sizes, all zero for one tensor now and then."""
    generator = torch.Generator().manual_seed(1 + step)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
    gradients = [10.0 ** (number - 2) * gradient for number, gradient in enumerate(drawn)]
    return [torch.zeros_like(g) if (number + step) % 5 == 0 else g for number, g in enumerate(gradients)]


@pytest.mark.parametrize("decay_norms", [True, False])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_lars__twelve_steps_on_six_tensors__are_those_of_the_plain_rendering(decay_norms, momentum, weight_decay):
    options = {"lr": 4.8, "momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": 0.01}
    is_adapted = [decay_norms or len(shape) > 1 for shape in SHAPES]
    expected = descend(start(), [gradients_at(step) for step in range(12)], is_adapted=is_adapted, **options)
    parameters = [nn.Parameter(weight) for weight in start()]
    optimizer = OptimizerConfig(name="lars", decay_norms=decay_norms, **options).build(parameters)
    for step, weights in enumerate(expected):
        for parameter, gradient in zip(parameters, gradients_at(step), strict=True):
            parameter.grad = gradient
        optimizer.step()
        for parameter, weight in zip(parameters, weights, strict=True):
            torch.testing.assert_close(parameter.detach(), weight, rtol=1e-11, atol=1e-12)
