"""What every registered gate must do, whatever it is."""

import importlib
import importlib.util
from typing import get_args

import pytest
import torch
from torch.nn.functional import cross_entropy

from auxo.gates import AbstractGate, GateConfig, GateStep
from auxo.gates._softmax import GateForm
from auxo.gates.torchjd import Aggregator, TorchJDGate
from auxo.options import find_member
from auxo.registry import entries
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

NUM_OUTPUTS = (2, 16, 6)
COUNT, NUM_FEATURES = 10, 7
VARIANTS = {name: find_member(GateConfig, name)() for name in entries("gates")}
VARIANTS |= {
    f"{name}-{form}": find_member(GateConfig, name)(form=form)
    for name in ("frozen", "learned")
    for form in get_args(GateForm)
}
VARIANTS |= {f"torchjd-{name}": TorchJDGate.Config(aggregator=name) for name in get_args(Aggregator)}


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


@pytest.fixture
def runtime():
    return Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


def make(config, seed=0):
    return config.build(num_features=NUM_FEATURES, num_outputs=NUM_OUTPUTS, seed=seed)


def tasks(dtype=torch.float32):
    """Features that need a gradient, and the losses of three tasks."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(COUNT, NUM_FEATURES, generator=generator).to(dtype).requires_grad_()
    columns = []
    for count in NUM_OUTPUTS:
        head = torch.randn(NUM_FEATURES, count, generator=generator).to(dtype)
        answers = torch.randint(count, (COUNT,), generator=generator)
        columns.append(cross_entropy((features @ head).float(), answers, reduction="none"))
    whole = torch.arange(COUNT)
    return features, torch.stack(columns, 1), Batch(torch.zeros(COUNT, 3, 2, 2), {"label": whole}, whole)


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


def test_loss__of_every_gate__is_a_finite_scalar_with_a_gradient_in_every_task(config, runtime):
    features, losses, batch = tasks()
    result = make(config)(losses, features, GateStep(batch, runtime))
    assert result.loss.shape == ()
    assert torch.isfinite(result.loss)
    assert result.weights.shape == (3,)
    assert not result.weights.requires_grad
    (gradient,) = torch.autograd.grad(result.loss, losses)
    weighs = result.weights != 0
    assert (gradient.abs().sum(0) > 0).equal(weighs)


def test_no_dead_gate__every_parameter__gets_a_gradient_that_moves_it_or_is_listed_frozen(config, runtime):
    gate = make(config)
    features, losses, batch = tasks()
    gate(losses, features, GateStep(batch, runtime)).loss.backward()
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


def test_weights__where_no_task_is_preferred__sum_to_one(config, runtime):
    gate = make(config)
    features, _, batch = tasks()
    losses = features[:, :3] * 0.01 + 1
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.zero_()
    weights = gate(losses, features, GateStep(batch, runtime)).weights
    if config != TorchJDGate.Config(aggregator="cagrad"):  # which adds a part of its own to the mean
        torch.testing.assert_close(weights, torch.full((3,), 1 / 3), rtol=1e-3, atol=1e-3)


def test_forward__twice_from_the_same_seed__gives_the_same_bits(config, runtime):
    state = torch.random.get_rng_state()
    results = []
    for _ in range(2):
        features, losses, batch = tasks()
        results.append(make(config)(losses, features, GateStep(batch, runtime)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(results[0].loss, results[1].loss)
    assert torch.equal(results[0].weights, results[1].weights)


def test_forward__features_of_lower_precision__are_taken(config, runtime):
    features, losses, batch = tasks(torch.bfloat16)
    result = make(config)(losses, features, GateStep(batch, runtime))
    assert result.loss.dtype == torch.float32
    assert torch.isfinite(result.loss)
