"""MINRES against direct solutions, the least residual of its Krylov space, and SciPy's own."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import minres as scipy_minres

from auxo.bilevel import MINRES, Operator

from .matrices import symmetric

INDEFINITE = [-5.0, -2.0, -0.5, 0.3, 1.0, 2.5, 4.0, 7.0]


@pytest.mark.parametrize("values", [INDEFINITE, [abs(value) for value in INDEFINITE]], ids=["indefinite", "definite"])
def test_minres__as_many_iterations_as_unknowns__equals_direct_solution(values):
    matrix = symmetric(values)
    right = torch.linspace(-1, 2, 8, dtype=torch.float64)
    answer = MINRES(iterations=8).solve(Operator(lambda x: matrix @ x), right)
    torch.testing.assert_close(answer.solution, torch.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_minres__few_iterations__least_residual_in_the_krylov_space(iterations):
    matrix = symmetric(INDEFINITE)
    right = torch.linspace(-1, 2, 8, dtype=torch.float64)
    answer = MINRES(iterations=iterations).solve(Operator(lambda x: matrix @ x), right)
    krylov = torch.stack([torch.linalg.matrix_power(matrix, i) @ right for i in range(iterations)], dim=1)
    best = krylov @ torch.linalg.lstsq(matrix @ krylov, right.unsqueeze(1), driver="gelsd").solution.squeeze(1)
    least = (right - matrix @ best).norm() / right.norm()
    torch.testing.assert_close(answer.residual, least, rtol=1e-8, atol=1e-12)
    actual = (right - matrix @ answer.solution).norm() / right.norm()
    torch.testing.assert_close(actual, least, rtol=1e-8, atol=1e-12)


def test_minres__larger_system__scipy_s_iterate():
    matrix = symmetric(torch.linspace(-1, 3, 60) + 0.013)
    right = torch.sin(torch.arange(60, dtype=torch.float64))
    theirs, _ = scipy_minres(matrix.numpy(), right.numpy(), rtol=0.0, maxiter=12)
    answer = MINRES(iterations=12).solve(Operator(lambda x: matrix @ x), right)
    np.testing.assert_allclose(answer.solution.numpy(), theirs, rtol=1e-8, atol=1e-10)


def test_minres__start_and_damping__solves_the_damped_system():
    matrix = symmetric(INDEFINITE)
    right = torch.ones(8, dtype=torch.float64)
    exact = torch.linalg.solve(matrix + 0.7 * torch.eye(8, dtype=torch.float64), right)
    solver = MINRES(iterations=8, damping=0.7)
    answer = solver.solve(Operator(lambda x: matrix @ x), right, initial=exact + 0.1)
    torch.testing.assert_close(answer.solution, exact, rtol=1e-9, atol=1e-10)
    assert answer.products == 10


def test_minres__tolerance_reached_or_nothing_to_solve__later_iterations_change_nothing():
    matrix = symmetric(INDEFINITE)
    right = torch.ones(8, dtype=torch.float64)
    early, late = (MINRES(iterations=n, tolerance=0.3).solve(Operator(lambda x: matrix @ x), right) for n in (7, 30))
    assert torch.equal(early.solution, late.solution)
    assert early.residual <= 0.3
    nothing = MINRES(iterations=3).solve(Operator(lambda x: matrix @ x), torch.zeros(8, dtype=torch.float64))
    assert torch.equal(nothing.solution, torch.zeros(8, dtype=torch.float64))
    assert nothing.residual == 0
