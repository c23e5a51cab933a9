"""Conjugate gradients against direct solutions and their published rate."""

import pytest
import torch

from auxo.bilevel import ConjugateGradient, Operator
from auxo.errors import ConfigError

from .matrices import log_spaced, symmetric


def test_conjugate_gradient__as_many_iterations_as_unknowns__equals_direct_solution():
    matrix = symmetric(log_spaced(12, 50))
    right = torch.linspace(-1, 2, 12, dtype=torch.float64)
    answer = ConjugateGradient(iterations=16).solve(Operator(lambda x: matrix @ x), right)
    torch.testing.assert_close(answer.solution, torch.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11)
    assert answer.residual < 1e-10
    assert not answer.breakdown.occurred


@pytest.mark.parametrize("condition", [4.0, 100.0])
@pytest.mark.parametrize("iterations", [3, 8])
def test_conjugate_gradient__few_iterations__error_below_theory_bound(condition, iterations):
    matrix = symmetric(log_spaced(40, condition), seed=1)
    right = torch.ones(40, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, right)
    answer = ConjugateGradient(iterations=iterations).solve(Operator(lambda x: matrix @ x), right)
    error = answer.solution - exact
    root = condition**0.5
    bound = 2 * ((root - 1) / (root + 1)) ** iterations
    assert (error @ matrix @ error).sqrt() <= bound * (exact @ matrix @ exact).sqrt()
    left = (right - matrix @ answer.solution).norm() / right.norm()
    torch.testing.assert_close(answer.residual, left, rtol=1e-9, atol=0)


def test_conjugate_gradient__exact_preconditioner__one_iteration():
    matrix = symmetric(log_spaced(20, 1000))
    right = torch.ones(20, dtype=torch.float64)
    solver = ConjugateGradient(iterations=1, preconditioner=lambda x: torch.linalg.solve(matrix, x))
    answer = solver.solve(Operator(lambda x: matrix @ x), right)
    torch.testing.assert_close(answer.solution, torch.linalg.solve(matrix, right))


def test_conjugate_gradient__tolerance_reached__later_iterations_change_nothing():
    matrix = symmetric(log_spaced(20, 10))
    right = torch.ones(20, dtype=torch.float64)
    early, late = (
        ConjugateGradient(iterations=n, tolerance=1e-3).solve(Operator(lambda x: matrix @ x), right) for n in (20, 60)
    )
    assert torch.equal(early.solution, late.solution)
    assert early.residual <= 1e-3


def test_conjugate_gradient__zero_right_hand_side__zero_without_nan():
    answer = ConjugateGradient(iterations=5).solve(Operator(lambda x: 2 * x), torch.zeros(3))
    assert torch.equal(answer.solution, torch.zeros(3))
    assert answer.residual == 0
    assert not answer.breakdown.occurred


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conjugate_gradient__many_iterations_after_convergence__no_breakdown(dtype):
    for seed in range(20):
        diagonal = torch.logspace(-3, 0, 5, dtype=dtype)
        right = torch.randn(5, generator=torch.Generator().manual_seed(seed)).to(dtype)
        answer = ConjugateGradient(iterations=100).solve(Operator(lambda x, d=diagonal: d * x), right)
        assert not answer.breakdown.occurred
        torch.testing.assert_close(answer.solution, right / diagonal, rtol=1e-3, atol=1e-3)


def test_conjugate_gradient__negative_direction__stops_before_it_and_reports_it():
    diagonal = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)
    answer = ConjugateGradient(iterations=5).solve(
        Operator(lambda x: diagonal * x), diagonal.new_tensor([1.0, 1.0, 1e-6])
    )
    assert answer.breakdown.occurred
    direction = answer.breakdown.direction
    torch.testing.assert_close(
        answer.breakdown.curvature, (direction @ (diagonal * direction)) / direction.square().sum()
    )
    assert answer.breakdown.curvature < 0
    assert direction.abs().argmax() == 2
    torch.testing.assert_close(answer.solution[:2], diagonal.new_tensor([1.0, 0.5]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"iterations": 0}, {"damping": -1.0}, {"tolerance": float("nan")}])
def test_conjugate_gradient__bad_option__config_error(options):
    with pytest.raises(ConfigError):
        ConjugateGradient(**options)
