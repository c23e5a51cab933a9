"""The lower level's optimum and its derivative, against autograd and finite differences in float64."""

import pytest
import torch
import torch.nn.functional as F

from auxo.bilevel import SoftmaxHeadProblem

PROXIMAL = 0.3


@pytest.fixture
def problem_parts():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (9,), generator=generator)
    anchor = 0.1 * torch.randn(3, 5, generator=generator, dtype=torch.float64)
    other = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    other_labels = torch.randint(3, (6,), generator=generator)
    return features, labels, anchor, other, other_labels


def objective(weight, features, labels, anchor):
    logits = features @ weight[:, :-1].T + weight[:, -1]
    return F.cross_entropy(logits, labels) + PROXIMAL / 2 * (weight - anchor).square().sum()


def solve(features, labels, anchor):
    problem = SoftmaxHeadProblem(features=features, labels=labels, anchor=anchor, proximal=PROXIMAL)
    return problem, problem.solve(newton_steps=8, iterations=16)


def test_solve__enough_steps__gradient_of_objective_vanishes(problem_parts):
    features, labels, anchor, *_ = problem_parts
    _, solution = solve(features, labels, anchor)
    weight = solution.weight.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(weight, features, labels, anchor), weight)
    assert gradient.norm() < 1e-10
    torch.testing.assert_close(solution.residual, gradient.norm(), rtol=0.5, atol=1e-11)


def test_solve__optimum__no_neighbour_is_better(problem_parts):
    features, labels, anchor, *_ = problem_parts
    _, solution = solve(features, labels, anchor)
    best = objective(solution.weight, features, labels, anchor)
    for seed in range(5):
        step = 0.01 * torch.randn(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert objective(solution.weight + step, features, labels, anchor) > best


def test_response__gradient_in_features__equals_finite_differences(problem_parts):
    features, labels, anchor, other, other_labels = problem_parts

    def outer(weight):
        return F.cross_entropy(other @ weight[:, :-1].T + weight[:, -1], other_labels)

    def outer_at_optimum(inputs):
        return outer(solve(inputs, labels, anchor)[1].weight)

    attached = features.clone().requires_grad_()
    problem, solution = solve(attached, labels, anchor)
    weight = solution.weight.clone().requires_grad_()
    (outer_gradient,) = torch.autograd.grad(outer(weight), weight)
    (gradient,) = torch.autograd.grad(problem.response(solution, outer_gradient, iterations=30), attached)

    step = 1e-5
    numeric = torch.zeros_like(features)
    for place in range(features.numel()):
        change = torch.zeros(features.numel(), dtype=torch.float64)
        change[place] = step
        change = change.view_as(features)
        difference = outer_at_optimum(features + change) - outer_at_optimum(features - change)
        numeric.view(-1)[place] = difference / (2 * step)
    assert numeric.norm() > 1e-3
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-9)


def test_response__same_loss_at_both_levels_without_anchor_pull__vanishes(problem_parts):
    """The envelope theorem: at the optimum the lower level's own gradient is zero, so nothing flows through it."""
    features, labels, anchor, *_ = problem_parts
    attached = features.clone().requires_grad_()
    problem, solution = solve(attached, labels, anchor)
    weight = solution.weight.clone().requires_grad_()
    (own_gradient,) = torch.autograd.grad(objective(weight, features, labels, anchor), weight)
    (gradient,) = torch.autograd.grad(problem.response(solution, own_gradient, iterations=30), attached)
    assert gradient.abs().max() < 1e-10
