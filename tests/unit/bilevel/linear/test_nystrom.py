"""The Nyström solver against direct solutions, an independent rendering, and the decay of the spectrum."""

import itertools

import pytest
import torch

from auxo.bilevel import Nystrom, Operator
from auxo.errors import ConfigError

from .matrices import log_spaced, symmetric


def solve(solver, matrix, right, **options):
    return solver.solve(Operator(lambda x: matrix @ x, lambda rows: rows @ matrix), right, **options)


@pytest.mark.parametrize("sampling", ["gaussian", "columns"])
def test_nystrom__rank_of_the_matrix__exact(sampling):
    matrix = symmetric([3.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    right = torch.linspace(-1, 1, 7, dtype=torch.float64)
    answer = solve(Nystrom(rank=4, damping=0.1, sampling=sampling), matrix, right)
    exact = torch.linalg.solve(matrix + 0.1 * torch.eye(7, dtype=torch.float64), right)
    torch.testing.assert_close(answer.solution, exact, rtol=1e-8, atol=1e-10)
    assert answer.residual < 1e-8
    assert answer.products == 5


def test_nystrom__columns__the_published_woodbury_formula():
    matrix = symmetric(log_spaced(9, 100) / 100)
    right = torch.ones(9, dtype=torch.float64)
    solver = Nystrom(rank=4, damping=0.05, sampling="columns", seed=3)
    test = solver._test_matrix(right)
    chosen = matrix @ test.T
    core = test @ chosen
    inner = core + chosen.T @ chosen / 0.05
    expected = right / 0.05 - chosen @ torch.linalg.solve(inner, chosen.T @ right) / 0.05**2
    torch.testing.assert_close(solve(solver, matrix, right).solution, expected, rtol=1e-8, atol=1e-9)


def test_nystrom__fast_decay__a_fifth_of_the_error_for_every_two_ranks():
    matrix = symmetric(10.0 ** -torch.arange(10, dtype=torch.float64))
    identity = torch.eye(10, dtype=torch.float64)
    exact = torch.linalg.inv(matrix + 0.01 * identity)
    errors = []
    for rank in (2, 4, 6, 8):
        inverse = torch.stack([solve(Nystrom(rank=rank, damping=0.01), matrix, row).solution for row in identity])
        errors.append(float(torch.linalg.norm(inverse - exact, 2)))
    for more, less in itertools.pairwise(errors):
        assert less < 0.2 * more


def test_nystrom__batches__the_same_answer_however_many_at_once():
    matrix = symmetric(log_spaced(12, 50))
    right = torch.ones(12, dtype=torch.float64)
    answers = [solve(Nystrom(rank=7, batch_size=size, damping=0.1), matrix, right).solution for size in (1, 3, 16)]
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-9, atol=1e-11)


def test_nystrom__warm_start__solves_for_the_rest():
    matrix = symmetric(log_spaced(12, 50))
    right = torch.ones(12, dtype=torch.float64)
    exact = torch.linalg.solve(matrix + 0.1 * torch.eye(12, dtype=torch.float64), right)
    cold = solve(Nystrom(rank=5, damping=0.1), matrix, right)
    warm = solve(Nystrom(rank=5, damping=0.1), matrix, right, initial=exact + 1e-6)
    assert warm.residual < 1e-3 * cold.residual


def test_nystrom__negative_eigenvalue_in_the_sketch__breakdown():
    answer = solve(
        Nystrom(rank=3, damping=0.1), torch.diag(torch.tensor([1.0, -2.0, 3.0])).double(), torch.ones(3).double()
    )
    assert answer.breakdown.occurred
    assert answer.breakdown.curvature == pytest.approx(-2)
    assert answer.breakdown.direction.abs().argmax() == 1


def test_nystrom__rank_too_low_for_the_damping__breakdown():
    matrix = symmetric(log_spaced(12, 10))
    answer = solve(Nystrom(rank=2, damping=1e-6), matrix, torch.ones(12, dtype=torch.float64))
    assert answer.residual > 1
    assert answer.breakdown.occurred
    assert answer.breakdown.curvature > 0


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_nystrom__shift_known__exact_at_the_rank_of_the_rest(damping):
    matrix = symmetric([3.02, 1.02, 0.52, 0.02, 0.02, 0.02, 0.02])
    right = torch.linspace(-1, 1, 7, dtype=torch.float64)
    exact = torch.linalg.solve(matrix + damping * torch.eye(7, dtype=torch.float64), right)
    answer = solve(Nystrom(rank=4, damping=damping, shift=0.02), matrix, right)
    torch.testing.assert_close(answer.solution, exact, rtol=1e-8, atol=1e-10)
    assert answer.residual < 1e-8
    without = solve(Nystrom(rank=4, damping=damping or 1e-3), matrix, right)
    assert without.residual > 0.05


def test_nystrom__shift_and_warm_start__solves_for_the_rest():
    matrix = symmetric(log_spaced(12, 50) + 0.3)
    right = torch.ones(12, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, right)
    warm = solve(Nystrom(rank=12, damping=0.0, shift=0.3), matrix, right, initial=exact + 0.5)
    torch.testing.assert_close(warm.solution, exact, rtol=1e-8, atol=1e-10)


def test_nystrom__shift_above_the_smallest_eigenvalue__breakdown_that_says_so():
    matrix = torch.diag(torch.tensor([1.0, 0.5, 3.0])).double()
    answer = solve(Nystrom(rank=3, damping=0.1, shift=0.8), matrix, torch.ones(3).double())
    assert answer.breakdown.occurred
    assert answer.breakdown.curvature == pytest.approx(0.5)
    assert answer.breakdown.fix.startswith("lower the shift of 0.8 if the curvature is below it, else use MINRES")


def test_nystrom__neither_damping_nor_shift__config_error():
    with pytest.raises(ConfigError, match="damping > 0"):
        Nystrom(damping=0.0)
    with pytest.raises(ConfigError, match="shift >= 0"):
        Nystrom(shift=-0.1)
