"""The gate of TorchJD: its Gramian, its weightings, what is missing."""

import importlib.util
import itertools
import sys
from typing import get_args

import pytest
import torch

from auxo.errors import ConfigError
from auxo.gates import GateStep
from auxo.gates.torchjd import Aggregator, TorchJDGate, project_onto_dual_cone
from auxo.types import Batch

needs_torchjd = pytest.mark.skipif(importlib.util.find_spec("torchjd") is None, reason="needs the extra torchjd")
WITHOUT_MORE_PACKAGES = [name for name in get_args(Aggregator) if name != "cagrad"]


def gramian_of(tasks):
    """The Gramian of the tasks' gradients in the features, with trace 1."""
    rows = [torch.autograd.grad(mean, tasks.features, retain_graph=True)[0].flatten() for mean in tasks.losses.mean(0)]
    gramian = torch.stack(rows) @ torch.stack(rows).T
    return gramian / gramian.trace()


def in_conflict(count=3):
    """Features whose tasks pull in opposite directions, and their losses."""
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    directions = torch.tensor([[1.0, 0, 0, 0], [-0.9, 0.3, 0, 0], [-0.2, -1.0, 0.5, 0]], dtype=torch.float64)
    return features, features @ directions[:count].T


@needs_torchjd
@pytest.mark.parametrize("aggregator", WITHOUT_MORE_PACKAGES)
def test_weights__of_every_weighting__are_finite_and_weight_the_means(build, tasks, runtime, aggregator):
    gate = build(name="torchjd", aggregator=aggregator)
    result = gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))
    assert torch.isfinite(result.weights).all()
    expected = (result.weights * tasks.losses.mean(0)).sum().item()
    assert result.loss.item() == pytest.approx(expected, rel=1e-12)
    assert not list(gate.parameters())


@needs_torchjd
def test_weights__mgda__give_the_shortest_combination(build, tasks, runtime):
    gate = build(name="torchjd", aggregator="mgda")
    weights = gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime)).weights
    gramian = gramian_of(tasks)
    grid = torch.tensor([p for p in itertools.product(range(101), repeat=3) if sum(p) == 100], dtype=torch.float64)
    lengths = ((grid / 100) @ gramian * (grid / 100)).sum(1)
    assert weights @ gramian @ weights <= lengths.min() * 1.01


@needs_torchjd
@pytest.mark.parametrize("aggregator", ["upgrad", "dualproj"])
def test_weights__in_conflict__combine_to_a_direction_that_hurts_no_task(build, tasks, runtime, aggregator):
    features, losses = in_conflict()
    gate = build(name="torchjd", aggregator=aggregator)
    weights = gate(losses, features, GateStep(tasks.batch, runtime)).weights
    rows = [torch.autograd.grad(mean, features, retain_graph=True)[0].flatten() for mean in losses.mean(0)]
    products = torch.stack(rows) @ (torch.stack(rows).T @ weights)
    mean_products = torch.stack(rows) @ torch.stack(rows).mean(0)
    assert mean_products.min() < -0.1 * mean_products.abs().max()
    assert products.min() > -1e-2 * products.abs().max()  # TorchJD's regularisation allows a little


@needs_torchjd
@pytest.mark.parametrize("aggregator", ["upgrad", "dualproj", "pcgrad"])
def test_weights__without_conflict__are_equal(build, tasks, runtime, aggregator):
    features = torch.eye(4, dtype=torch.float64, requires_grad=True)
    losses = features[:, :3] + features[:, 3:]
    weights = build(name="torchjd", aggregator=aggregator)(losses, features, GateStep(tasks.batch, runtime)).weights
    assert weights.tolist() == pytest.approx([1 / 3] * 3, abs=1e-9)


@needs_torchjd
@pytest.mark.parametrize("aggregator", WITHOUT_MORE_PACKAGES)
def test_weights__gradients_a_million_times_smaller__are_the_same(build, tasks, runtime, aggregator):
    one, other = (build(name="torchjd", aggregator=aggregator) for _ in range(2))
    plain = one(tasks.losses, tasks.features, GateStep(tasks.batch, runtime)).weights
    small = other(tasks.losses * 1e-6, tasks.features, GateStep(tasks.batch, runtime)).weights
    torch.testing.assert_close(plain, small, rtol=1e-6, atol=1e-9)


@needs_torchjd
def test_weights__no_gradient__are_equal(build, tasks, runtime):
    losses = 0 * tasks.features[:, :3] + 1
    result = build(name="torchjd")(losses, tasks.features, GateStep(tasks.batch, runtime))
    assert result.weights.tolist() == pytest.approx([1 / 3] * 3)


@needs_torchjd
def test_pcgrad__order__comes_from_a_stream_that_the_state_remembers(build, tasks, runtime):
    features, losses = in_conflict()

    def weights(gate, count):
        drawn = [gate(losses, features, GateStep(tasks.batch, runtime)).weights for _ in range(count)]
        return torch.stack(drawn)

    gate, again = (build(name="torchjd", aggregator="pcgrad") for _ in range(2))
    state = torch.random.get_rng_state()
    whole = weights(gate, 8)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(whole.unique(dim=0)) > 1
    first = weights(again, 3)
    resumed = build(name="torchjd", aggregator="pcgrad")
    resumed.load_state_dict(again.state_dict())
    assert torch.equal(torch.cat([first, weights(resumed, 5)]), whole)


@pytest.mark.parametrize("seed", range(5))
def test_projection__random_gramian__meets_the_conditions_of_the_optimum(seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    gramian = rows @ rows.T
    gramian = gramian / gramian.trace()
    weights = torch.eye(4, dtype=torch.float64) / 4
    projected = project_onto_dual_cone(weights, gramian)
    slopes = projected @ (gramian + 1e-4 * torch.eye(4, dtype=torch.float64))
    assert (projected >= weights - 1e-12).all()
    assert (slopes >= -1e-10).all()
    assert ((projected - weights) * slopes).abs().max() < 1e-10


@needs_torchjd
@pytest.mark.skipif(importlib.util.find_spec("cvxpy") is not None, reason="cvxpy is installed")
def test_cagrad__without_its_package__is_one_line_that_names_it(build):
    with pytest.raises(ConfigError, match=r"cvxpy.*torchjd\[cagrad\]"):
        build(name="torchjd", aggregator="cagrad")


def test_build__without_torchjd__is_one_line_that_names_the_extra(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ConfigError, match=r"auxo\[torchjd\]"):
        build(name="torchjd")


@needs_torchjd
def test_weights__in_the_shared_weights__are_those_of_their_gramian(runtime):
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)  # of their own for each task
    shared = torch.nn.Parameter(torch.randn(5, generator=generator, dtype=torch.float64))
    losses = torch.stack([(each @ shared - 1).square() for each in inputs], 1)
    batch = Batch(torch.zeros(6, 3, 2, 2), {}, torch.arange(6))
    step = GateStep(batch, runtime, shared={"w": shared})
    features = inputs[0] * shared
    config = TorchJDGate.Config(aggregator="mgda", gradients="weights")
    weights = config.build(num_features=5, num_outputs=(2, 2), seed=0)(losses, features, step).weights
    one, other = (torch.autograd.grad(mean, shared, retain_graph=True)[0] for mean in losses.mean(0))
    share = float(((other - one) @ other / (other - one).square().sum()).clamp(0, 1))  # the shortest on the segment
    assert weights.tolist() == pytest.approx([share, 1 - share], abs=1e-2)
