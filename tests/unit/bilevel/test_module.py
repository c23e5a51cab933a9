"""A torch module as a pure function."""

import pytest
import torch
from torch import nn

from auxo.bilevel import BilevelProblem, FunctionalModule, Unrolled, hypergradient
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


@pytest.mark.parametrize("seed", [10**23, -1])
def test_functional_module__seed_beyond_64_bits__is_told_in_one_line(seed):
    with pytest.raises(
        HypergradientError, match=rf"a seed of 0\.\.9223372036854775807, got {seed}: choose another one"
    ):
        FunctionalModule(ConvNet(), seed=seed)


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


class Aliased(nn.Module):
    """One layer and one batch norm, each reached by two names; ``plain`` has them once."""

    def __init__(self, *, is_aliased):
        super().__init__()
        self.first, self.norm = nn.Linear(16, 16), nn.BatchNorm1d(16)
        if is_aliased:
            self.second, self.other_norm = self.first, self.norm

    def forward(self, images):
        second, norm = getattr(self, "second", self.first), getattr(self, "other_norm", self.norm)
        return norm(second(torch.tanh(self.norm(self.first(images.flatten(1)[:, :16])))))


def make_aliased(*, is_aliased):
    torch.manual_seed(0)
    return Aliased(is_aliased=is_aliased).double().train()


def test_call__module_reached_by_two_names__its_own_tensors_stay_and_the_gradient_is_that_without_aliases():
    module = make_aliased(is_aliased=True)
    before = {name: (value, value.detach().clone()) for name, value in module.state_dict(keep_vars=True).items()}
    gradients = []
    for each in (module, make_aliased(is_aliased=False), module):
        net = FunctionalModule(each)
        params = {name: (value * 1.5).requires_grad_() for name, value in net.params.items()}
        outputs, buffers = net(params, net.buffers, IMAGES)
        gradients.append(torch.autograd.grad(outputs.sin().sum(), [*params.values()]))
        assert buffers["norm.num_batches_tracked"] == 2
    for name, value in module.state_dict(keep_vars=True).items():
        assert value is before[name][0], name
        assert torch.equal(value, before[name][1]), name
    for aliased, plain, again in zip(*gradients, strict=True):
        assert torch.equal(aliased, plain)
        assert torch.equal(aliased, again)


class Counting(nn.Module):
    """Sets its buffers anew at every call: a counter, an average that is attached, and one that is first made there."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("last", None)

    def forward(self, images):
        outputs = images.flatten(1)[:, :16] * self.weight
        self.count = self.count + 1
        self.average = 0.5 * self.average + 0.5 * outputs.mean()
        self.last = outputs.mean(0)
        return outputs + self.average


def test_call__buffers_set_anew__come_back_and_the_module_keeps_its_own():
    module = Counting().double()
    net, expected = FunctionalModule(module), Counting().double()
    params, buffers = {"weight": net.params["weight"].requires_grad_()}, net.buffers
    for _ in range(3):
        outputs, buffers = net(params, buffers, IMAGES)
        torch.testing.assert_close(outputs, expected(IMAGES))
    assert buffers["count"] == 3
    for name, value in expected.named_buffers():
        torch.testing.assert_close(buffers[name], value.detach())
        assert not buffers[name].requires_grad
    assert module.count == 0
    assert module.last is None
    net.load({}, buffers)
    assert module.count == 3
    assert torch.equal(module.last, buffers["last"])


def test_unrolled__three_steps__counter_is_three():
    net = FunctionalModule(Counting().double())

    def lose(params, hyper, buffers, batch):
        outputs, buffers = net(params, buffers, batch)
        return (outputs - hyper["shift"]).square().mean(), buffers

    problem = BilevelProblem(inner_loss=lose, outer_loss=lose)
    hyper = {"shift": torch.zeros((), dtype=torch.float64)}
    result = hypergradient(
        problem,
        net.params,
        hyper,
        inner=[IMAGES] * 3,
        outer=IMAGES,
        solver=Unrolled(steps=3),
        buffers=net.buffers,
    )
    assert result.buffers["count"] == 3


@pytest.mark.parametrize("wrong", [{"nothing": torch.zeros(2)}, {"conv.weight": torch.zeros(1)}])
def test_load__of_another_module__refused_by_name(wrong):
    with pytest.raises(HypergradientError, match=next(iter(wrong))):
        FunctionalModule(ConvNet()).load(wrong)
