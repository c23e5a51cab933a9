"""What every registered gate must do, whatever it is."""

import importlib
import importlib.util
from typing import get_args

import pytest
import torch

from auxo.gates import AbstractGate, GateConfig
from auxo.gates._softmax import GateForm
from auxo.gates.combinations import CombinationConfig
from auxo.gates.hypergradient import HypergradientGate
from auxo.gates.torchjd import Aggregator, TorchJDGate
from auxo.options import find_member
from auxo.registry import entries

from .gate_world import NUM_FEATURES, NUM_OUTPUTS, World

VARIANTS = {name: find_member(GateConfig, name)() for name in entries("gates")}
VARIANTS |= {
    f"{name}-{form}": find_member(GateConfig, name)(form=form)
    for name in ("frozen", "learned")
    for form in get_args(GateForm)
}
VARIANTS |= {f"torchjd-{name}": TorchJDGate.Config(aggregator=name) for name in get_args(Aggregator)}
VARIANTS["torchjd-weights"] = TorchJDGate.Config(gradients="weights")
HYPERGRADIENTS = {
    f"hypergradient-{name}": HypergradientGate.Config(network=find_member(CombinationConfig, name)())
    for name in entries("gates.combinations")
    if name != "conv"  # which takes losses with places
}
VARIANTS |= HYPERGRADIENTS


def is_missing(config):
    """Whether the variant's packages are not there."""
    needed = {"torchjd"} if config.name == "torchjd" else set()
    needed |= {"cvxpy"} if config == TorchJDGate.Config(aggregator="cagrad") else set()
    return any(importlib.util.find_spec(name) is None for name in needed)


@pytest.fixture(params=VARIANTS)
def config(request):
    if is_missing(VARIANTS[request.param]):
        pytest.skip("needs packages that are not installed")
    return VARIANTS[request.param]


def make(config, seed=0):
    return config.build(num_features=NUM_FEATURES, num_outputs=NUM_OUTPUTS, seed=seed)


def call(gate, world, **options):
    """The gate's answer to the losses of a world, and the losses."""
    found = world.answer(world.train)
    return gate(found.losses, found.features, world.step(found.primary, **options)), found.losses


@pytest.mark.parametrize("name", entries("gates"))
def test_module__of_every_gate__names_source_and_builds_a_documented_gate(name):
    entry = entries("gates")[name]
    assert entry.source
    assert entry.summary
    if not is_missing(VARIANTS[name]):
        gate = make(VARIANTS[name])
        assert isinstance(gate, AbstractGate)
        assert type(gate).__module__ == entry.module
        assert type(gate).__doc__


def test_loss__of_every_gate__is_a_finite_scalar_with_a_gradient_in_every_task(config):
    result, losses = call(make(config), World())
    assert result.loss.shape == ()
    assert torch.isfinite(result.loss)
    assert result.weights.shape == (3,)
    assert not result.weights.requires_grad
    (gradient,) = torch.autograd.grad(result.loss, losses)
    weighs = result.weights != 0
    assert (gradient.abs().sum(0) > 0).equal(weighs)


def test_no_dead_gate__every_parameter__gets_a_gradient_that_moves_it_or_is_listed_frozen(config):
    gate = make(config)
    call(gate, World())[0].loss.backward()
    frozen = gate.frozen_parameters()
    assert set(frozen) <= {name for name, _ in gate.named_parameters()}
    assert all(frozen.values())
    for name, parameter in gate.named_parameters():
        if name in frozen:
            assert parameter.grad is None, f"{name} is listed frozen and has a gradient"
        else:
            assert parameter.grad is not None, f"{name} gets no gradient and is not listed frozen"
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().max() > 1e-6, f"{name} does not move"


def test_weights__where_no_task_is_preferred__sum_to_one(config):
    gate, world = make(config), World()
    found = world.answer(world.train)
    losses = found.features[:, :3] * 0.01 + 1
    if config in HYPERGRADIENTS.values():
        if config != HypergradientGate.Config():
            pytest.skip("starts at random weights, all of them positive")
    else:
        with torch.no_grad():
            for parameter in gate.parameters():
                parameter.zero_()
    weights = gate(losses, found.features, world.step(losses.mean(1))).weights
    prefers = [  # cagrad adds a part of its own to the mean; in the first weight the tasks' gradients differ
        TorchJDGate.Config(aggregator="cagrad"),
        TorchJDGate.Config(gradients="weights"),
    ]
    if config not in prefers:
        torch.testing.assert_close(weights, torch.full((3,), 1 / 3), rtol=1e-3, atol=1e-3)


def test_forward__twice_from_the_same_seed__gives_the_same_bits(config):
    state = torch.random.get_rng_state()
    results = [call(make(config), World())[0] for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(results[0].loss, results[1].loss)
    assert torch.equal(results[0].weights, results[1].weights)


def test_forward__features_of_lower_precision__are_taken(config):
    result, _ = call(make(config), World(torch.bfloat16))
    assert result.loss.dtype == torch.float32
    assert torch.isfinite(result.loss)


def take_steps(gate, world, steps):
    """The weights of each step; the world moves along the gate's loss, the gate's parameters along their own."""
    seen = []
    for number in steps:
        result, _ = call(gate, world, number=number, epoch=number // 2, progress=number / 8)
        moved = [*world.shared.values(), *world.heads.values(), *gate.parameters()]
        gradients = torch.autograd.grad(result.loss, moved, allow_unused=True)
        with torch.no_grad():
            for value, gradient in zip(moved, gradients, strict=True):
                if gradient is not None:
                    value.sub_(0.1 * gradient)
        seen.append(result.weights)
    return seen


def test_state__saved_and_read_between_two_steps__goes_on_to_the_bit(config):
    whole, first, second = make(config), make(config), make(config, seed=1)
    expected = take_steps(whole, World(), range(8))
    world = World()
    take_steps(first, world, range(3))
    second.load_state_dict(first.state_dict())
    if config == TorchJDGate.Config(aggregator="pcgrad"):
        second.seed = first.seed  # of the run, and no state
    found = take_steps(second, world, range(3, 8))
    assert all(torch.equal(one, other) for one, other in zip(expected[3:], found, strict=True))


def test_state__of_a_gate_that_is_only_asked__stays(config):
    gate, world = make(config), World()
    take_steps(gate, world, range(5))
    before = {name: tensor.clone() for name, tensor in gate.state_dict().items()}
    call(gate, world, number=6, epoch=3, learns=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in gate.state_dict().items())
