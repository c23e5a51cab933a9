"""BiSSL's upper step: its gradients against dense algebra and finite differences, for every solver."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call

from auxo.layers.batch_norm import keep_running_statistics
from auxo.pretexts import Pair, loss_in_backbone
from auxo.solvers.identity import IdentitySolver
from auxo.solvers.mfac import MFACSolver
from auxo.solvers.neumann import NeumannSolver
from auxo.solvers.nystrom import NystromSolver

from .bissl_dense import (
    BASE,
    COMMON,
    RUNTIME,
    SOLVER,
    batches,
    expected_parts,
    flat,
    lower_only,
    make,
    upper_only,
    watched_step,
)


def step_above(config, **options):
    """Return the gradients of backbone and head that the upper optimiser is given, their parts, and the metrics."""
    method, state = make(config, **options)
    shown = batches(config)
    parts = expected_parts(method, {**batches(BASE), **shown})
    gradients, metrics = watched_step(method, state, upper_only(shown))
    count = len([*method.upper.backbone.parameters()])
    return flat(gradients[:count]), gradients[count:], parts, metrics


@pytest.mark.parametrize(
    ("coupling", "damping", "gamma"), [(0.5, 1000.0, 1.0), (500.0, 300.0, 0.01), (800.0, 0.0, 0.0)]
)
def test_upper_step__conjugate_gradients__is_the_dense_solution_of_the_damped_system(coupling, damping, gamma):
    config = replace(BASE, coupling=coupling, solver=replace(SOLVER, damping=damping), direct_weight=gamma)
    backbone, head, (v, h1, g2, h2, dense), metrics = step_above(config)
    z = torch.linalg.solve(torch.eye(len(v), dtype=v.dtype) + dense / (coupling + damping), v)
    assert torch.allclose(backbone, z + gamma * g2, rtol=1e-9, atol=1e-12)
    for given, first, second in zip(head, h1, h2, strict=True):
        assert torch.allclose(given, first + gamma * second, rtol=1e-9, atol=1e-12)
    assert metrics["negative_curvature"] == 0
    assert metrics["response_residual"] < 1e-9
    assert (metrics["coupling"], metrics["damping"]) == (coupling, damping)
    assert metrics["response_length"].item() == pytest.approx((z.norm() / v.norm()).item(), rel=1e-9)


def test_upper_step__neumann_given_time__is_the_same_solution():
    backbone, _, (v, _, g2, _, dense), metrics = step_above(
        replace(COMMON, solver=NeumannSolver(damping=1000.0, iterations=200))
    )
    z = torch.linalg.solve(torch.eye(len(v), dtype=v.dtype) + dense / 1000.001, v)
    assert torch.allclose(backbone - g2, z, rtol=1e-3, atol=1e-6)
    assert metrics["response_residual"] < 1e-3


def test_upper_step__nystrom_of_an_indefinite_hessian__keeps_the_gradient_and_says_so():
    backbone, _, (v, _, g2, _, dense), metrics = step_above(
        replace(COMMON, solver=NystromSolver(damping=1000.0, iterations=60))
    )
    assert torch.linalg.eigvalsh(dense).min() < -1e-4
    assert metrics["negative_curvature"] == 1
    assert torch.allclose(backbone, v + g2, rtol=1e-10)


def test_upper_step__identity__is_the_gradient_at_the_lower_solution():
    backbone, head, (v, h1, g2, h2, _), metrics = step_above(replace(COMMON, solver=IdentitySolver()))
    assert torch.allclose(backbone, v + g2, rtol=1e-12)
    assert torch.allclose(head[0], h1[0] + h2[0], rtol=1e-12)
    assert metrics["response_cosine"].item() == pytest.approx(1.0)


def test_upper_step__equal_backbones_and_identity__is_a_plain_step_times_one_plus_gamma():
    backbone, _, (v, _, g2, _, _), _ = step_above(
        replace(COMMON, solver=IdentitySolver(), direct_weight=0.25), apart=0.0
    )
    assert torch.allclose(v, g2, rtol=1e-12)
    assert torch.allclose(backbone, 1.25 * v, rtol=1e-12)


def test_upper_step__no_indirect_weight__is_the_direct_gradient_alone():
    backbone, _, (_, _, g2, _, _), _ = step_above(replace(BASE, indirect_weight=0.0))
    assert torch.allclose(backbone, g2, rtol=1e-12)


def test_upper_step__damping_without_end__is_the_identity():
    backbone, _, (v, _, g2, _, _), _ = step_above(replace(BASE, solver=replace(SOLVER, damping=1e9)))
    assert torch.allclose(backbone, v + g2, rtol=1e-8)


def test_upper_step__indefinite_system__stops_with_the_gradient_and_says_so():
    config = replace(BASE, solver=replace(SOLVER, damping=0.0), coupling=1e-4)
    method, state = make(config)
    shown = batches(config)
    *_, dense = expected_parts(method, shown)
    assert torch.linalg.eigvalsh(dense).min() < -1  # far from trained, as random weights are
    metrics = method.update(state, upper_only(shown), RUNTIME)
    assert metrics["negative_curvature"] == 1
    assert all(torch.isfinite(p).all() for p in method.parameters())


def test_hypergradient__exact_lower_solution__equals_finite_differences():
    """Along random directions, the derivative of F(theta_D) with the lower problem solved anew each time."""
    coupling = 1000.0  # random weights have curvatures of hundreds
    config = replace(BASE, coupling=coupling, solver=replace(SOLVER, damping=0.0), direct_weight=0.7)
    method, state = make(config)
    shown = batches(config)
    pair = Pair(shown["curvature_first"].images, shown["curvature_second"].images)
    names = [name for name, _ in method.backbone.named_parameters()]
    value = loss_in_backbone(method.backbone, method.pretext, pair)
    train = shown["train"]

    @keep_running_statistics(method)
    def solve(upper):
        """Newton's method to the exact lower solution of a given upper backbone."""
        sizes = [p.numel() for p in method.backbone.parameters()]
        like = [*method.backbone.parameters()]

        def total(vector):
            pieces = vector.split(sizes)
            own = {n: piece.view_as(p) for n, piece, p in zip(names, pieces, like, strict=True)}
            return value(own) + coupling / 2 * (vector - upper).square().sum()

        point = upper.clone()
        for _ in range(30):
            gradient = jacobian(total, point)
            point = point - torch.linalg.solve(hessian(total, point), gradient)
            if gradient.norm() < 1e-10:
                return point
        raise AssertionError(f"not solved: {gradient.norm()}")

    def outer(upper):
        sizes = [p.numel() for p in method.backbone.parameters()]
        like = [*method.backbone.parameters()]

        def loss(vector):
            own = {n: piece.view_as(p) for n, piece, p in zip(names, vector.split(sizes), like, strict=True)}
            features = functional_call(method.backbone, own, (train.images,)).pooled
            return nn.functional.cross_entropy(method.upper.semantic(features), train.labels)

        return loss(solve(upper)) + 0.7 * loss(upper)

    upper = flat([p.detach() for p in method.upper.backbone.parameters()])
    directions = torch.randn(3, len(upper), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    differences = [(outer(upper + 1e-5 * each) - outer(upper - 1e-5 * each)).item() / 2e-5 for each in directions]
    with torch.no_grad():
        nn.utils.vector_to_parameters(solve(upper), method.backbone.parameters())
    gradients, metrics = watched_step(method, state, upper_only(shown))
    assert metrics["response_residual"] < 1e-9
    gradient = flat(gradients[: len(names)])
    assert differences == pytest.approx((directions @ gradient).tolist(), rel=1e-6)


def test_mfac__last_lower_gradients__solve_with_their_fisher_matrix():
    config = replace(COMMON, solver=MFACSolver(), coupling=0.3)
    method, state = make(config)
    lower = lower_only(batches(config))
    gradients = []
    for step in (0, 1):
        state.step = step
        loss = method.pretext(method.backbone, Pair(lower["first"].images, lower["second"].images)).loss
        gradients.append(flat(torch.autograd.grad(loss, [*method.backbone.parameters()])))
        state.kind = "lower"
        method.update(state, lower, RUNTIME)
    state.step, state.kind = 2, "upper"
    shown = {"train": batches(BASE)["train"]}
    v, _, g2, _, _ = expected_parts(method, batches(BASE))
    fisher = torch.stack(gradients).T @ torch.stack(gradients) / 2
    given, _ = watched_step(method, state, shown)
    z = 0.3 * torch.linalg.solve(fisher + 0.3 * torch.eye(len(v), dtype=v.dtype), v)
    assert torch.allclose(flat(given[: len([*method.backbone.parameters()])]), z + g2, rtol=1e-8, atol=1e-12)
