"""Conjugate gradients against direct solutions and their published rate."""

import pytest
import torch

from auxo.bilevel import conjugate_gradient


def positive_definite(size, condition, seed=0):
    """A symmetric matrix with eigenvalues spread evenly on a log scale from 1 to ``condition``."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return (
        basis
        @ torch.diag(torch.logspace(0, torch.tensor(condition).log10().item(), size, dtype=torch.float64))
        @ basis.T
    )


def test_conjugate_gradient__as_many_iterations_as_unknowns__equals_direct_solution():
    matrix = positive_definite(12, 50.0)
    right = torch.linspace(-1, 2, 12, dtype=torch.float64)
    answer = conjugate_gradient(lambda x: matrix @ x, right, iterations=16)
    torch.testing.assert_close(answer.solution, torch.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11)
    assert answer.residual < 1e-10


@pytest.mark.parametrize("condition", [4.0, 100.0])
@pytest.mark.parametrize("iterations", [3, 8])
def test_conjugate_gradient__few_iterations__error_below_theory_bound(condition, iterations):
    matrix = positive_definite(40, condition, seed=1)
    right = torch.ones(40, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, right)
    error = conjugate_gradient(lambda x: matrix @ x, right, iterations=iterations).solution - exact
    root = condition**0.5
    bound = 2 * ((root - 1) / (root + 1)) ** iterations
    assert (error @ matrix @ error).sqrt() <= bound * (exact @ matrix @ exact).sqrt()


def test_conjugate_gradient__tolerance_reached__later_iterations_change_nothing():
    matrix = positive_definite(20, 10.0)
    right = torch.ones(20, dtype=torch.float64)
    early, late = (
        conjugate_gradient(lambda x: matrix @ x, right, iterations=n, tolerance=1e-3).solution for n in (20, 60)
    )
    assert torch.equal(early, late)


def test_conjugate_gradient__zero_right_hand_side__zero_without_nan():
    answer = conjugate_gradient(lambda x: 2 * x, torch.zeros(3), iterations=5)
    assert torch.equal(answer.solution, torch.zeros(3))
    assert answer.residual == 0
