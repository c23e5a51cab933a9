"""The plain rendering of BiSSL on quadratic pretexts: closed forms of the lower solution and its derivative."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import vector_to_parameters

from .bissl_algebra import Idle, flat, relative, spd
from .bissl_plain import (
    Levels,
    Options,
    exact_derivative,
    exact_lower_solution,
    finite_differences,
    schur_complement,
    upper_step,
)

pytestmark = pytest.mark.usefixtures("float64")
STRENGTHS = (1e-3, 0.1, 10.0, 1e3)
SIZE = 12


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
