"""The hypergradient gate: quadratics in closed form, its networks by hand, what moves when, and what it refuses."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call

from auxo.errors import ConfigError, NonFiniteError, OptionError, ShapeError
from auxo.gates import GateStep, TaskLosses
from auxo.gates.combinations.conv import ConvCombination
from auxo.gates.combinations.deep_linear import DeepLinearCombination
from auxo.gates.combinations.linear import LinearCombination
from auxo.gates.combinations.nonlinear import NonlinearCombination
from auxo.gates.hypergradient import HypergradientGate
from auxo.interfaces import StepPlan
from auxo.types import Batch

SIZE = 8  # of the weights of the quadratic, and the number of its losses
EIGENVALUES = torch.logspace(math.log10(2.0), math.log10(0.05), SIZE, dtype=torch.float64)


def batch_of(count):
    return Batch(torch.zeros(count, 3, 2, 2), {}, torch.arange(count))


class Quadratic:
    """Lower losses whose mean is a quadratic of given eigenvalues; the upper loss pulls elsewhere.

    A head that no upper loss reads enters the second of them.
    """

    def __init__(self, runtime):
        draws = torch.Generator().manual_seed(0)
        self.turn = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=draws, dtype=torch.float64)).Q
        self.hessian = self.turn @ torch.diag(EIGENVALUES) @ self.turn.T
        self.centres = torch.randn(SIZE, SIZE, generator=draws, dtype=torch.float64)
        self.aim = torch.randn(SIZE, generator=draws, dtype=torch.float64)
        self.solution = nn.Parameter(self.centres.mean(0).clone())
        self.head = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        batch = batch_of(5)
        self.step = GateStep(
            batch,
            runtime,
            primary=0,
            shared={"w": self.solution},
            heads={"head": self.head},
            train=batch,
            own=batch_of(3),
            losses_at=self.losses_at,
        )

    def losses_at(self, weights, batch):
        values, head = weights.get("w", self.solution), weights.get("head", self.head)
        away = values - self.centres
        losses = (away @ self.hessian * away).sum(1) / 2
        losses = losses + torch.eye(SIZE, dtype=torch.float64)[1] * head.square().sum()
        primary = (values - self.aim).square().sum() / 2
        return TaskLosses(losses.expand(len(batch), -1), primary.expand(len(batch)))

    def closed_form(self, inverse):
        """The gradient in linear weights that start at 1, at the solution, with a given inverse of the Hessian."""
        slope = self.solution.detach() - self.aim
        own = (self.solution.detach() - self.centres) @ self.hessian / len(self.centres)
        return -(own @ inverse @ slope)


def build(num_tasks=SIZE, **options):
    return HypergradientGate.Config(**options).build(num_features=2, num_outputs=(2,) * num_tasks, seed=0).double()


def series(hessian, *, alpha, terms):
    """The truncated inverse, term by term."""
    step = torch.eye(SIZE, dtype=torch.float64) - alpha * hessian
    return alpha * sum(torch.linalg.matrix_power(step, power) for power in range(terms + 1))


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


@pytest.mark.parametrize("terms", [0, 3, 30])
@pytest.mark.parametrize("alpha", [0.5, 1e-3])
def test_differentiate__quadratic__is_the_truncated_series(runtime, terms, alpha):
    world = Quadratic(runtime)
    found = build(terms=terms, scale=alpha).differentiate(world.step)["layer.weight"][0]
    torch.testing.assert_close(found, world.closed_form(series(world.hessian, alpha=alpha, terms=terms)))


def test_differentiate__scale_of_the_largest_eigenvalue__tends_to_the_closed_form(runtime):
    world = Quadratic(runtime)
    exact = world.closed_form(torch.linalg.inv(world.hessian))
    found = {k: build(terms=k, scale=0.5).differentiate(world.step)["layer.weight"][0] for k in (0, 3, 30, 500)}
    torch.testing.assert_close(found[500], exact, rtol=1e-4, atol=0)
    cosines = [cosine(gradient, exact) for gradient in found.values()]
    assert cosines[:3] == pytest.approx([0.7248, 0.9120, 0.9861], abs=1e-4)
    slow = {k: build(terms=k, scale=1e-3).differentiate(world.step)["layer.weight"][0] for k in (0, 3, 30)}
    assert [cosine(gradient, exact) for gradient in slow.values()] == pytest.approx([0.7248, 0.7253, 0.7301], abs=1e-4)
    assert cosine(slow[3], slow[0]) > 1 - 1e-6  # with a small scale a few terms only rescale the first


def test_differentiate__released_factor__is_larger_by_one_over_the_scale(runtime):
    world = Quadratic(runtime)
    ours, released = (
        build(scale=0.25, released_factor=is_released).differentiate(world.step) for is_released in (False, True)
    )
    assert torch.equal(released["layer.weight"], ours["layer.weight"] * 4)


def test_differentiate__head_that_the_primary_loss_does_not_read__has_zeros(runtime):
    world = Quadratic(runtime)
    without = replace(world.step, heads={})
    found, expected = (build().differentiate(step)["layer.weight"] for step in (world.step, without))
    torch.testing.assert_close(found, expected)


def test_differentiate__primary_loss_beside_the_gate__is_part_of_the_lower_loss(runtime):
    world = Quadratic(runtime)
    step = replace(world.step, primary=None, scale=0.5)
    found = build(terms=400, scale=0.4).differentiate(step)["layer.weight"][0]
    hessian = torch.eye(SIZE, dtype=torch.float64) + world.hessian / 2
    torch.testing.assert_close(found, 0.5 * world.closed_form(torch.linalg.inv(hessian)))


def test_forward__linear__starts_at_the_mean_of_the_losses(tasks, runtime):
    for skip, factors in ((False, [1, 1, 1]), (True, [2, 1, 1])):
        gate = build(3, network=LinearCombination.Config(skip=skip))
        result = gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime, learns=False, primary=0))
        means = tasks.losses.mean(0)
        assert result.weights.tolist() == pytest.approx([factor / 3 for factor in factors])
        torch.testing.assert_close(result.loss, (means * result.weights).sum())
    result = gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime, learns=False))
    assert result.weights.tolist() == pytest.approx([1 / 3] * 3)


NETWORKS = (
    NonlinearCombination.Config(hidden=(3, 2)),
    DeepLinearCombination.Config(hidden=(3, 2)),
    ConvCombination.Config(high=0.3),
)


@pytest.mark.parametrize("network", NETWORKS, ids=["nonlinear", "deep_linear", "conv"])
def test_weights__of_a_network__are_the_slopes_of_the_loss_in_the_mean_losses(tasks, runtime, network):
    gate, step = build(3, network=network), GateStep(tasks.batch, runtime, learns=False, primary=0)
    losses = tasks.losses.detach()
    if network.name == "conv":
        losses = losses[:, :, None, None] * torch.rand(12, 3, 8, 12, dtype=torch.float64)
    found = gate(losses.requires_grad_(), tasks.features, step).weights
    for task in range(3):
        ends = []
        for sign in (1, -1):
            moved = losses.detach().clone()
            moved[:, task] += sign * 1e-5
            ends.append(float(gate(moved.requires_grad_(), tasks.features, step).loss.detach()))
        assert found[task].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_networks__first_weights__are_between_their_bounds_and_biases_zero():
    for network in NETWORKS:
        for name, value in build(3, network=replace(network, low=0.25, high=0.5)).network.named_parameters():
            if name.endswith("bias"):
                assert not value.any()
            else:
                assert 0.25 <= value.detach().min().item() <= value.detach().max().item() <= 0.5
    assert not [name for name, _ in build(3, network=NETWORKS[1]).network.named_parameters() if "bias" in name]
    assert "layers.4.bias" not in dict(build(3, network=NETWORKS[0]).network.named_parameters())


def test_deep_linear__layers__multiply(tasks, runtime):
    gate = build(3, network=DeepLinearCombination.Config(hidden=(3, 2)))
    product = gate.network.layers[2].weight @ gate.network.layers[1].weight @ gate.network.layers[0].weight
    result = gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime, primary=1))
    expected = (product[0] + torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)) / 3
    torch.testing.assert_close(result.weights, expected.detach())


def test_conv__by_hand__is_two_smoothed_convolutions_and_one_output(tasks, runtime):
    gate = build(3, network=ConvCombination.Config())
    losses = torch.rand(12, 3, 8, 12, dtype=torch.float64)
    weights = [value.detach() for value in gate.network.parameters()]
    values = losses
    for kernel, bias in (weights[:2], weights[2:4]):
        values = nn.functional.softplus(nn.functional.conv2d(values, kernel, bias, padding=1))
        values = values.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    expected = (nn.functional.conv2d(values, weights[4]).mean() + losses[:, 2].mean()) / 3
    result = gate(losses, tasks.features, GateStep(tasks.batch, runtime, primary=2))
    torch.testing.assert_close(result.loss, expected)


def test_losses_with_places__under_a_network_without__are_their_means(tasks, runtime):
    gate, step = build(3, network=NETWORKS[0]), GateStep(tasks.batch, runtime, learns=False, primary=0)
    losses = torch.rand(12, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(
        gate(losses, tasks.features, step).loss, gate(losses.mean((2, 3)), tasks.features, step).loss
    )


def ask(gate, world, **changes):
    """The gate's answer in a world at its solution."""
    losses = world.losses_at({}, world.step.batch).weighed
    return gate(losses, torch.zeros(5, 2, dtype=torch.float64), replace(world.step, **changes))


@pytest.mark.parametrize("every", [1, 3])
def test_forward__every_so_many_steps__moves_the_network_alone(runtime, every):
    world, gate = Quadratic(runtime), build(every=every)
    kept = [value.detach().clone() for value in (world.solution, world.head)]
    moved = []
    for number in range(7):
        before = gate.network.layer.weight.detach().clone()
        ask(gate, world, number=number)
        moved.append(not torch.equal(before, gate.network.layer.weight))
    assert moved == [number > 0 and number % every == 0 for number in range(7)]
    assert all(torch.equal(value, old) for value, old in zip((world.solution, world.head), kept, strict=True))


@pytest.mark.parametrize(("every", "due"), [(1, [1, 2, 3, 4]), (3, [3])])
def test_plan__of_the_gates_view__reads_and_names_the_steps_with_an_upper_one(every, due):
    config = HypergradientGate.Config(every=every)
    plans = [config.plan_view(StepPlan({"train": step, "gate": step}), step) for step in range(5)]
    assert [step for step, plan in enumerate(plans) if "gate" in plan.batches] == due
    assert [step for step, plan in enumerate(plans) if plan.kind == "step, gate"] == due
    assert all(plan.batches["train"] == step for step, plan in enumerate(plans))


def test_loss__of_the_gate__has_no_gradient_in_its_network(runtime):
    world, gate = Quadratic(runtime), build()
    ask(gate, world).loss.backward()
    assert gate.network.layer.weight.grad is None
    assert list(gate.frozen_parameters()) == ["network.layer.weight"]


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_upper_step__rules__are_those_of_torch(runtime, rule):
    world = Quadratic(runtime)
    gate = build(rule=rule, lr=0.03, momentum=0.8, weight_decay=0.01, clip=0.02, monotone=False)
    twin = nn.Parameter(gate.network.layer.weight.detach().clone())
    optimizer = (
        torch.optim.Adam([twin], lr=0.03, betas=(0.8, 0.999), weight_decay=0.01)
        if rule == "adam"
        else torch.optim.SGD([twin], lr=0.03, momentum=0.8, weight_decay=0.01)
    )
    for number in range(4):
        world.solution.data.add_(0.1 * number)
        gradient = gate.differentiate(world.step)["layer.weight"]
        assert gradient.norm() > 0.02
        twin.grad = gradient * (0.02 / gradient.norm())
        optimizer.step()
        gate.take_upper_step(world.step)
        torch.testing.assert_close(gate.network.layer.weight, twin)


def test_upper_step__monotone__keeps_weights_at_zero_or_above(runtime):
    for monotone in (True, False):
        world, gate = Quadratic(runtime), build(lr=0.5, monotone=monotone)
        for _ in range(8):
            gate.take_upper_step(world.step)
        assert (gate.network.layer.weight.detach().min() >= 0) == monotone


def test_clamp__of_a_perceptron__leaves_biases(runtime):
    network = build(3, network=NETWORKS[0]).network
    with torch.no_grad():
        for value in network.parameters():
            value.fill_(-1.0)
    network.clamp()
    assert all(bool((value == (0 if value.dim() > 1 else -1)).all()) for value in network.parameters())
    values = functional_call(network, dict(network.named_parameters()), (torch.rand(4, 3, dtype=torch.float64),))
    assert not values.any()


def test_upper_step__curvature_below_zero__is_cut_off_without_a_warning(runtime):
    world = Quadratic(runtime)
    world.hessian = -world.hessian
    assert torch.isfinite(build().differentiate(world.step)["layer.weight"]).all()


def test_upper_step__loss_that_is_not_finite__says_so(runtime):
    world = Quadratic(runtime)
    world.aim = world.aim * math.nan
    with pytest.raises(NonFiniteError, match="a finite hypergradient"):
        build().differentiate(world.step)


def test_view__of_the_gate__has_images_in_an_order_of_their_own():
    view = HypergradientGate.Config(split="meta", ratio=0.25).view
    assert (view.split, view.ratio, view.stream) == ("meta", 0.25, "gate")
    assert HypergradientGate.Config().view.split == "train"


@pytest.mark.parametrize("missing", [{"losses_at": None}, {"train": None}, {"own": None}, {"shared": {}}])
def test_upper_step__method_that_does_not_say_enough__is_refused(runtime, missing):
    world = Quadratic(runtime)
    with pytest.raises(ConfigError, match="says its losses as a function of its weights"):
        build().differentiate(replace(world.step, **missing))


def test_options__that_make_no_network__are_refused(tasks, runtime):
    with pytest.raises(OptionError, match="hidden of at least one layer"):
        NonlinearCombination.Config(hidden=())
    with pytest.raises(OptionError, match=r"low < 0\.1"):
        ConvCombination.Config(low=0.2)
    with pytest.raises(ShapeError, match="sides of 4 or more"):
        build(3, network=ConvCombination.Config())(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))
