"""The plain rendering of BiSSL against closed forms, finite differences and torch's own parts, in float64."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import vector_to_parameters

from .bissl_plain import (
    LARS,
    SGD,
    Levels,
    Options,
    Views,
    alternation,
    clip,
    conjugate_gradient_global,
    conjugate_gradient_layerwise,
    distance_term,
    exact_derivative,
    exact_lower_solution,
    finite_differences,
    hessian_vector_product_rebuilt,
    lower_step,
    nt_xent,
    projector,
    schur_complement,
    simclr_loss,
    upper_step,
)

STRENGTHS = (1e-3, 0.1, 10.0, 1e3)
SIZE = 12


@pytest.fixture(autouse=True)
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def spd(size, largest, smallest=0.0):
    basis, _ = torch.linalg.qr(torch.randn(size, size))
    return basis @ torch.diag(torch.linspace(smallest, largest, size)) @ basis.T


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def relative(ours, theirs):
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


def products(hessian, sizes):
    """Return the map from a vector in pieces to the matrix times it, and the list that counts its calls."""
    calls = []

    def hvp(vector):
        calls.append(1)
        return (hessian @ torch.cat(list(vector))).split(sizes)

    return hvp, calls


class Idle:
    """An optimiser that does nothing."""

    def step(self, gradients):
        pass


class Quadratic:
    """A pretext loss ``x'Hx / 2 - linear'x`` in the weights of a linear backbone from 4 pixels to 3 features."""

    def __init__(self, largest=1.0, smallest=0.0):
        self.hessian, self.linear = spd(SIZE, largest, smallest), torch.randn(SIZE)
        self.images, self.labels = torch.randn(6, 4), torch.randint(3, (6,))
        self.phi = torch.randn(3, 3)
        self.start = torch.randn(SIZE)

    def loss(self, backbone, head, views):
        weights = backbone.weight.reshape(-1)
        return weights @ self.hessian @ weights / 2 - self.linear @ weights

    def lower(self, theta_d, strength):
        return exact_lower_solution(self.hessian, self.linear, theta_d, strength)

    def upper(self, theta_d, strength, gamma):
        """Return the upper loss as a function of theta_D alone, through the exact lower solution."""

        def loss(theta):
            return functional.cross_entropy(self.images @ theta.view(3, 4).T @ self.phi.T, self.labels)

        return loss(self.lower(theta_d, strength)) + gamma * loss(theta_d)

    def levels(self, strength):
        """Return both levels, the lower one at its exact solution."""
        levels = Levels(*(nn.Linear(*sizes, bias=False) for sizes in ((4, 3), (3, 3), (4, 3), (3, 3))))
        vector_to_parameters(self.start, levels.downstream_backbone.parameters())
        vector_to_parameters(self.lower(self.start, strength), levels.pretext_backbone.parameters())
        vector_to_parameters(self.phi.reshape(-1), levels.downstream_head.parameters())
        return levels

    def step(self, strength, **options):
        levels = self.levels(strength)
        settings = {"strength": strength, "damping": 0.0, "iterations": 60, "pretext_loss": self.loss} | options
        return upper_step(levels, Idle(), None, self.images, self.labels, Options(**settings))


@pytest.mark.parametrize("strength", STRENGTHS)
def test_exact_derivative__against_autodiff_and_finite_differences__agrees(strength):
    problem = Quadratic()
    expected = torch.autograd.functional.jacobian(lambda theta: problem.lower(theta, strength), problem.start)
    moved = finite_differences(lambda theta: problem.lower(theta, strength), problem.start, 1e-4).T
    derivative = exact_derivative(problem.hessian, strength)
    assert relative(derivative, expected) < 1e-10
    assert relative(derivative, moved) < 1e-6
    assert relative(derivative, derivative.T) < 1e-10


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_upper_step__quadratic__has_the_total_derivative(strength, gamma):
    problem = Quadratic()
    theta_d = problem.start.clone().requires_grad_()
    (expected,) = torch.autograd.grad(problem.upper(theta_d, strength, gamma), theta_d)
    moved = finite_differences(lambda theta: problem.upper(theta, strength, gamma), problem.start, 1e-4)
    step = problem.step(strength, direct_weight=gamma)
    hypergradient = flat(step.gradients[:1])
    assert relative(hypergradient, expected) < 1e-10
    assert relative(hypergradient, moved) < 1e-6
    assert relative(flat(step.z), exact_derivative(problem.hessian, strength) @ flat(step.v)) < 1e-10


def test_upper_step__head__has_the_sum_of_both_gradients():
    problem = Quadratic()
    strength, gamma = 0.5, 0.3
    phi = problem.phi.clone().requires_grad_()
    thetas = (problem.lower(problem.start, strength), problem.start)
    losses = [functional.cross_entropy(problem.images @ theta.view(3, 4).T @ phi.T, problem.labels) for theta in thetas]
    (expected,) = torch.autograd.grad(losses[0] + gamma * losses[1], phi)
    assert relative(problem.step(strength, direct_weight=gamma).gradients[1], expected) < 1e-12


def test_upper_step__same_backbones_and_identity__is_a_multiple_of_the_plain_step():
    problem = Quadratic()
    problem.start = torch.linalg.solve(problem.hessian + 0.1 * torch.eye(SIZE), torch.randn(SIZE))
    problem.linear = problem.hessian @ problem.start  # stationary at theta_D already, so theta_P = theta_D
    step = problem.step(1.0, direct_weight=0.25, solver="identity")
    theta, phi = problem.start.clone().requires_grad_(), problem.phi.clone().requires_grad_()
    plain = functional.cross_entropy(problem.images @ theta.view(3, 4).T @ phi.T, problem.labels)
    expected = torch.autograd.grad(plain, (theta, phi))
    assert relative(flat(step.gradients), 1.25 * flat(expected)) < 1e-9


def test_damping__in_the_solve__is_a_larger_strength():
    problem = Quadratic()
    step = problem.step(0.001, damping=10.0)
    assert relative(flat(step.z), exact_derivative(problem.hessian, 10.001) @ flat(step.v)) < 1e-10
    assert relative(flat(step.z), exact_derivative(problem.hessian, 0.001) @ flat(step.v)) > 1


def test_limits__of_the_strength__are_the_plain_gradient_and_the_kernel():
    problem = Quadratic()
    distances = [float((problem.lower(problem.start, s) - problem.start).norm()) for s in (10.0, 1e3, 1e5)]
    assert distances[0] > distances[1] > distances[2]
    assert distances[1] / distances[2] == pytest.approx(100, rel=0.01)
    assert relative(exact_derivative(problem.hessian, 1e9), torch.eye(SIZE)) < 1e-8
    values, vectors = torch.linalg.eigh(problem.hessian)
    kernel = vectors[:, values.abs() < 1e-10]
    assert kernel.shape[1] == 1
    assert relative(exact_derivative(problem.hessian, 1e-9), kernel @ kernel.T) < 1e-6
    step = problem.step(0.1, damping=1e9)
    assert relative(flat(step.z), flat(step.v)) < 1e-8


def test_schur_complement__head_follows_the_backbone__gives_the_total_derivative():
    hessian, strength = spd(SIZE, 2.0, 0.1), 0.3
    linear, start = torch.randn(SIZE), torch.randn(7)

    def lower(theta_d):
        penalty = torch.diag(torch.cat([torch.full((7,), strength), torch.zeros(5)]))
        return torch.linalg.solve(hessian + penalty, linear + torch.cat([strength * theta_d, torch.zeros(5)]))[:7]

    moved = finite_differences(lower, start, 1e-3).T
    assert relative(exact_derivative(schur_complement(hessian, 7), strength), moved) < 1e-9
    assert relative(exact_derivative(hessian[:7, :7], strength), moved) > 1e-2


def test_conjugate_gradient__global__falls_in_the_norm_of_the_matrix_and_counts_its_products():
    hessian, v = spd(SIZE, 100.0), torch.randn(SIZE)
    matrix = torch.eye(SIZE) + hessian / 10.001
    exact = torch.linalg.solve(matrix, v)
    errors = []
    for iterations in range(SIZE + 1):
        hvp, calls = products(hessian, [5, 7])
        error = flat(conjugate_gradient_global(hvp, v.split([5, 7]), 0.001, 10.0, iterations)) - exact
        errors.append(float(error @ matrix @ error))
        assert len(calls) == iterations
    assert all(after < before for before, after in pairwise(errors[:-1]))
    assert errors[-1] < 1e-20 * errors[0]


@pytest.mark.parametrize("iterations", [1, 5])
def test_conjugate_gradient__negative_curvature__returns_what_there_is(iterations):
    v = (torch.tensor([1.0, 0.0]), torch.tensor([1.0]))
    hvp, calls = products(torch.diag(torch.tensor([-3.0, 1.0, -3.0])), [2, 1])
    assert flat(conjugate_gradient_global(hvp, v, 0.5, 0.5, iterations)).tolist() == [1.0, 0.0, 1.0]
    assert len(calls) == 1
    ignored = conjugate_gradient_global(hvp, v, 0.5, 0.5, iterations, stops_at_negative=False)
    assert torch.allclose(flat(ignored), torch.tensor([-0.5, 0.0, -0.5]))


def test_conjugate_gradient__later_negative_curvature__returns_the_solution_before():
    v = (torch.tensor([2.0, 0.5]),)
    hvp, _ = products(torch.diag(torch.tensor([1.0, -3.0])), [2])
    assert torch.equal(
        flat(conjugate_gradient_global(hvp, v, 0.5, 0.5, 5)), flat(conjugate_gradient_global(hvp, v, 0.5, 0.5, 1))
    )


def test_conjugate_gradient__tolerance__stops_early():
    hessian, v = spd(SIZE, 10.0), torch.randn(SIZE)
    hvp, calls = products(hessian, [SIZE])
    solution = flat(conjugate_gradient_global(hvp, [v], 1.0, 0.0, 50, tolerance=1e-3))
    assert 1 < len(calls) < SIZE
    assert relative(solution + hessian @ solution, v) <= 1e-3


def test_layerwise__one_tensor_or_block_diagonal__is_right():
    hessian, v = spd(SIZE, 10.0), torch.randn(SIZE)
    hvp, _ = products(hessian, [SIZE])
    system = ([v], 0.5, 0.5, 4)
    assert relative(conjugate_gradient_layerwise(hvp, *system)[0], conjugate_gradient_global(hvp, *system)[0]) < 1e-9
    blocks = torch.block_diag(spd(5, 10.0), spd(7, 3.0))
    hvp, _ = products(blocks, [5, 7])
    solved = flat(conjugate_gradient_layerwise(hvp, v.split([5, 7]), 0.5, 0.5, 7))
    assert relative(solved, torch.linalg.solve(torch.eye(SIZE) + blocks, v)) < 1e-8


def test_layerwise__ten_coupled_blocks__stalls_where_the_global_solver_does_not():
    sizes, errors = [6] * 10, {}
    for largest in (1.0, 10.0, 100.0):
        hessian, v = spd(60, largest), torch.randn(60)
        exact = torch.linalg.solve(torch.eye(60) + hessian / 10.001, v)
        hvp, _ = products(hessian, sizes)
        for solve, iterations in (
            (conjugate_gradient_global, 5),
            (conjugate_gradient_layerwise, 5),
            (conjugate_gradient_layerwise, 60),
        ):
            solved = flat(solve(hvp, v.split(sizes), 0.001, 10.0, iterations))
            errors[largest, solve.__name__[19:], iterations] = relative(solved, exact)
    for largest, limit in ((1.0, 1e-7), (10.0, 1e-3), (100.0, 0.2)):
        assert errors[largest, "global", 5] < limit
        assert errors[largest, "layerwise", 5] > 10 * errors[largest, "global", 5]
        assert errors[largest, "layerwise", 60] > 0.2 * errors[largest, "layerwise", 5]  # more do not help
    layerwise = [errors[largest, "layerwise", 5] for largest in (1.0, 10.0, 100.0)]
    assert layerwise[0] < 0.01 < 1 > layerwise[1]
    assert layerwise[0] < layerwise[1] < layerwise[2]


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
