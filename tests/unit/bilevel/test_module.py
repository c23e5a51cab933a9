"""A torch module as a pure function."""

import pytest
import torch
from torch import nn

from auxo.bilevel import FunctionalModule
from auxo.errors import HypergradientError

from .networks import ConvNet, Tied, images_and_labels

IMAGES, _ = images_and_labels(6, 0)


def test_call__batch_norm_in_training__module_untouched_and_new_buffers_those_of_torch():
    torch.manual_seed(0)
    module = ConvNet().double().train()
    net = FunctionalModule(module)
    outputs, buffers = net(net.params, net.buffers, IMAGES)
    assert module.norm.num_batches_tracked == 0
    expected = module(IMAGES)
    assert torch.equal(outputs, expected)
    for name, value in module.named_buffers():
        assert torch.equal(buffers[name], value), name


def test_call__dropout__same_buffers_same_mask_and_next_buffers_another():
    torch.manual_seed(0)
    net = FunctionalModule(ConvNet(dropout=0.5).double().train(), seed=3)
    state = torch.get_rng_state()
    first, buffers = net(net.params, net.buffers, IMAGES)
    again, _ = net(net.params, net.buffers, IMAGES)
    other, _ = net(net.params, buffers, IMAGES)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_params__tied_weights__one_parameter_under_its_first_name():
    net = FunctionalModule(Tied().double())
    assert "second.weight" not in net.params
    changed = {name: torch.zeros_like(value) for name, value in net.params.items()}
    outputs, _ = net(changed, net.buffers, IMAGES)
    assert torch.equal(outputs, torch.zeros_like(outputs))


def test_buffers__frozen_parameter__held_as_a_buffer():
    module = nn.Linear(16, 2).double()
    module.bias.requires_grad_(False)
    net = FunctionalModule(module)
    assert set(net.params) == {"weight"}
    assert torch.equal(net.buffers["bias"], module.bias)


@pytest.mark.parametrize("missing", ["conv.weight", "norm.running_mean", "random_seed"])
def test_call__something_missing__error_names_it(missing):
    net = FunctionalModule(ConvNet().double())
    params = {name: value for name, value in net.params.items() if name != missing}
    buffers = {name: value for name, value in net.buffers.items() if name != missing}
    with pytest.raises(HypergradientError, match=missing):
        net(params, buffers, IMAGES)


def test_load__parameters_and_buffers__module_holds_them():
    torch.manual_seed(0)
    module = ConvNet().double().train()
    net = FunctionalModule(module)
    params = {name: value + 1 for name, value in net.params.items()}
    _, buffers = net(params, net.buffers, IMAGES)
    net.load(params, buffers)
    assert torch.equal(module.conv.weight, params["conv.weight"])
    assert module.norm.num_batches_tracked == 1
