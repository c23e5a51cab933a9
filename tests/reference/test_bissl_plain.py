"""The plain rendering of BiSSL on smooth networks, and its parts against torch's own, in float64."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import vector_to_parameters

from .bissl_algebra import Idle, flat, relative
from .bissl_plain import (
    LARS,
    SGD,
    Levels,
    Options,
    Views,
    alternation,
    clip,
    distance_term,
    finite_differences,
    hessian_vector_product_rebuilt,
    lower_step,
    nt_xent,
    projector,
    simclr_loss,
    upper_step,
)

pytestmark = pytest.mark.usefixtures("float64")


def smooth_net(activation, normalised):
    """Return a backbone from 5 numbers to 3 features."""
    norm = [nn.BatchNorm1d(4)] if normalised else []
    return nn.Sequential(nn.Linear(5, 4), *norm, activation(), nn.Linear(4, 3))


def smooth_levels(activation, normalised=False):
    pretext = smooth_net(activation, normalised)
    head = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    levels = Levels(pretext, head, deepcopy(pretext), nn.Linear(3, 3))
    vector = flat(levels.downstream_backbone.parameters()).detach()
    vector_to_parameters(vector + 0.1 * torch.randn_like(vector), levels.downstream_backbone.parameters())
    return levels


def views(count=8, features=5):
    images = torch.randn(count, features)
    return Views(images + 0.2 * torch.randn_like(images), images + 0.2 * torch.randn_like(images))


def settle(levels, batch, options):
    """Move theta_P to a minimum of the lower loss by Newton's method, downhill always; return how steep it is there."""
    parameters = list(levels.pretext_backbone.parameters())
    for _ in range(40):
        loss = options.pretext_loss(levels.pretext_backbone, levels.pretext_head, batch)
        slope, hessian = dense_hessian(loss + distance_term(levels, options.strength), parameters)
        if slope.norm() < 1e-12:
            break
        values, vectors = torch.linalg.eigh(hessian)
        move = vectors @ ((vectors.T @ slope) / values.abs())
        vector_to_parameters(flat(parameters).detach() - move / move.norm().clamp(min=1.0), parameters)
    return float(slope.norm())


def dense_hessian(loss, parameters):
    """Return the gradient as a vector, and the Hessian."""
    slope = flat(torch.autograd.grad(loss, parameters, create_graph=True))
    rows = torch.autograd.grad(slope, parameters, torch.eye(len(slope)), is_grads_batched=True)
    return slope.detach(), torch.cat([part.reshape(len(slope), -1) for part in rows], 1)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus])
@pytest.mark.parametrize("normalised", [False, True])
def test_upper_step__smooth_net__has_the_finite_differences_of_settled_lower_levels(activation, normalised):
    levels, batch = smooth_levels(activation, normalised), views(16)
    images, labels = torch.randn(6, 5), torch.randint(3, (6,))
    options = Options(strength=2.0, damping=0.0, direct_weight=0.5, iterations=80)
    assert settle(levels, batch, options) < 1e-12
    start = flat(levels.downstream_backbone.parameters()).detach()
    directions = torch.randn(4, len(start))

    def upper_loss(lengths):
        moved = deepcopy(levels)
        vector_to_parameters(start + lengths @ directions, moved.downstream_backbone.parameters())
        assert settle(moved, batch, options) < 1e-12
        pair = [(moved.pretext_backbone, 1.0), (moved.downstream_backbone, options.direct_weight)]
        head = moved.downstream_head
        return sum(weight * functional.cross_entropy(head(net(images)), labels).detach() for net, weight in pair)

    expected = finite_differences(upper_loss, torch.zeros(4), 1e-4)
    step = upper_step(levels, Idle(), batch, images, labels, options)
    hypergradient = flat(step.gradients)[: len(start)]
    assert relative(directions @ hypergradient, expected) < 1e-6
    assert relative(flat(step.z), flat(step.v)) > 1e-3  # the Hessian matters here


def test_product__against_the_dense_hessian__agrees_without_the_distance():
    levels, batch, options = smooth_levels(nn.Tanh, True), views(), Options(strength=100.0)
    parameters = list(levels.pretext_backbone.parameters())
    _, hessian = dense_hessian(simclr_loss(levels.pretext_backbone, levels.pretext_head, batch), parameters)
    vector = [torch.randn_like(parameter) for parameter in parameters]
    product = flat(hessian_vector_product_rebuilt(levels, batch, vector, options))
    assert relative(product, hessian @ flat(vector)) < 1e-12
    assert relative(hessian, hessian.T) < 1e-12


@pytest.mark.parametrize("moved", [False, True])
def test_alternation__trains_each_level_in_its_turn__and_statistics_move_as_asked(moved):
    levels, calls = smooth_levels(nn.ReLU, True), []
    levels.pretext_head.insert(1, nn.BatchNorm1d(3))

    def loss(backbone, head, batch):
        calls.append(batch)
        return simclr_loss(backbone, head, batch)

    options = Options(damping=100.0, iterations=3, moves_statistics=moved, pretext_loss=loss)
    lower, upper = SGD(levels.lower_parameters(), lr=0.1), SGD(levels.upper_parameters(), lr=0.1)
    before = deepcopy(levels)
    lower_batches, curvature = [views() for _ in range(4)], views()
    upper_batches = [(torch.randn(6, 5), torch.randint(3, (6,))) for _ in range(2)]
    alternation(levels, lower, upper, lower_batches, curvature, [], options)
    middle = deepcopy(levels)
    for name in ("downstream_backbone", "downstream_head"):
        assert same(getattr(before, name), getattr(levels, name))
    assert not same(before.pretext_head, levels.pretext_head)
    _, steps = alternation(levels, lower, upper, [], curvature, upper_batches, options)
    assert calls[:4] == lower_batches
    assert all(batch is curvature for batch in calls[4:])
    assert len(calls) == 4 + len(steps) * 3
    assert (lower.count, upper.count) == (4, 2)
    for name in ("pretext_backbone", "pretext_head"):
        pair = getattr(middle, name), getattr(levels, name)
        assert all(map(torch.equal, *(module.parameters() for module in pair)))
        assert same(*pair) != moved
    assert not same(middle.downstream_backbone, levels.downstream_backbone)


def same(left, right):
    return all(map(torch.equal, left.state_dict().values(), right.state_dict().values()))


def test_lower_step__loss__has_the_distance_with_theta_d_held():
    levels, batch, options = smooth_levels(nn.Tanh), views(), Options(strength=3.0)
    theta_p, theta_d = (flat(net.parameters()).detach() for net in nets(levels))
    plain = lower_step(deepcopy(levels), Idle(), batch, replace(options, strength=0.0))
    held = lower_step(levels, Idle(), batch, options)
    count = len(list(levels.pretext_backbone.parameters()))
    change = flat(held.gradients[:count]) - flat(plain.gradients[:count])
    assert relative(change, 3.0 * (theta_p - theta_d)) < 1e-10
    assert torch.equal(flat(held.gradients[count:]), flat(plain.gradients[count:]))
    assert distance_term(levels, 3.0).item() == pytest.approx(1.5 * (theta_p - theta_d).square().sum().item())


def nets(levels):
    return levels.pretext_backbone, levels.downstream_backbone


def test_nt_xent__against_single_logarithms__agrees():
    z1, z2, temperature = torch.randn(4, 3), torch.randn(4, 3), 0.3
    rows = [row / row.norm() for row in (*z1, *z2)]
    losses = []
    for i, row in enumerate(rows):
        scores = {j: torch.exp(row @ other / temperature) for j, other in enumerate(rows) if j != i}
        losses.append(-torch.log(scores[(i + 4) % 8] / sum(scores.values())))
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(float(sum(losses) / 8), rel=1e-12)
    assert nt_xent(5 * z1, z2, temperature).item() == pytest.approx(nt_xent(z2, z1, temperature).item(), rel=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd__against_torch__agrees(nesterov):
    start = [torch.randn(3, 2), torch.randn(2)]
    ours, theirs = ([tensor.clone().requires_grad_() for tensor in start] for _ in range(2))
    options = {"momentum": 0.9, "weight_decay": 0.05, "nesterov": nesterov}
    plain, torchs = SGD(ours, lr=lambda count: 0.1 / (count + 1), **options), torch.optim.SGD(theirs, lr=0.1, **options)
    for count in range(4):
        torchs.param_groups[0]["lr"] = 0.1 / (count + 1)
        gradients = [torch.randn_like(tensor) for tensor in start]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        plain.step(gradients)
        torchs.step()
    assert relative(flat(ours), flat(theirs)) < 1e-14


def test_lars__first_steps__have_eta_times_the_length_of_each_tensor():
    start = [torch.randn(3, 2), torch.randn(2), torch.zeros(4)]
    ours = [tensor.clone().requires_grad_() for tensor in start]
    optimizer = LARS(ours, lr=2.0, momentum=0.5, weight_decay=0.1, eta=0.01)
    gradients = [torch.randn_like(tensor) for tensor in start]
    optimizer.step(gradients)
    for before, after, gradient in zip(start[:2], ours, gradients, strict=False):
        slope = gradient + 0.1 * before
        assert relative(before - after.detach(), 2.0 * 0.01 * before.norm() * slope / slope.norm()) < 1e-12
    assert relative(-ours[2].detach(), 2.0 * gradients[2]) < 1e-12  # no length, no scaling
    first = [tensor.detach().clone() for tensor in ours]
    optimizer.step([torch.zeros_like(tensor) for tensor in start])
    slope = first[0] / first[0].norm() * 0.01 * first[0].norm()
    assert relative(first[0] - ours[0].detach(), 0.5 * (start[0] - first[0]) + 2.0 * slope) < 1e-12


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clip__against_torch__agrees(limit):
    gradients = [torch.randn(3, 2), torch.randn(4)]
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_(parameters, limit)
    assert relative(flat(clip(gradients, limit)), flat([parameter.grad for parameter in parameters])) < 1e-14


def test_projector__of_the_release__has_these_tensors():
    shapes = [tuple(parameter.shape) for parameter in projector(64, 32, 16).parameters()]
    hidden = [(32,), (32,), (32,)]
    assert shapes == [(32, 64), *hidden, (32, 32), *hidden, (16, 32)]
    loss = partial(simclr_loss, temperature=0.1)(nn.Identity(), projector(64, 32, 16), views(features=64))
    assert loss.isfinite()
