"""The Neumann series against its closed form, and the power iteration against known eigenvalues."""

import pytest
import torch

from auxo.bilevel import Neumann, Operator
from auxo.bilevel.linear import largest_eigenvalue
from auxo.errors import ConfigError

from .matrices import log_spaced, symmetric


@pytest.mark.parametrize("terms", [1, 2, 7])
def test_neumann__terms__scaled_geometric_sum(terms):
    matrix = symmetric(log_spaced(6, 8))
    right = torch.ones(6, dtype=torch.float64)
    answer = Neumann(terms=terms, scale=0.1).solve(Operator(lambda x: matrix @ x), right)
    contraction = torch.eye(6, dtype=torch.float64) - 0.1 * matrix
    expected = 0.1 * sum(torch.linalg.matrix_power(contraction, i) @ right for i in range(terms))
    torch.testing.assert_close(answer.solution, expected)
    left = torch.linalg.matrix_power(contraction, terms) @ right
    torch.testing.assert_close(answer.residual, left.norm() / right.norm())
    assert answer.products == terms
    cheaper = Neumann(terms=terms, scale=0.1, measure_residual=False).solve(Operator(lambda x: matrix @ x), right)
    fewer = torch.linalg.matrix_power(contraction, terms - 1) @ right
    torch.testing.assert_close(cheaper.residual, fewer.norm() / right.norm())
    assert cheaper.products == terms - 1


def test_neumann__scale_too_large__breakdown_with_its_direction():
    diagonal = torch.tensor([1.0, 10.0], dtype=torch.float64)
    answer = Neumann(terms=5, scale=0.3).solve(Operator(lambda x: diagonal * x), torch.ones(2, dtype=torch.float64))
    assert answer.breakdown.occurred
    assert answer.breakdown.direction.abs().argmax() == 1
    assert answer.breakdown.curvature == pytest.approx(10, rel=0.01)


def test_neumann__negative_eigenvalue__breakdown_with_negative_curvature():
    diagonal = torch.tensor([1.0, -1.0], dtype=torch.float64)
    answer = Neumann(terms=20, scale=0.5).solve(Operator(lambda x: diagonal * x), torch.ones(2, dtype=torch.float64))
    assert answer.breakdown.occurred
    assert answer.breakdown.curvature < 0


def test_neumann__that_may_grow__the_same_terms_and_no_breakdown():
    matrix = torch.diag(torch.tensor([-2.0, 1.0], dtype=torch.float64))
    right = torch.ones(2, dtype=torch.float64)
    solvers = (Neumann(terms=4, scale=0.5, measure_residual=False, may_grow=grows) for grows in (False, True))
    stopped, free = (solver.solve(Operator(lambda x: matrix @ x), right) for solver in solvers)
    assert stopped.breakdown.occurred
    assert free.breakdown is None
    assert torch.equal(free.solution, stopped.solution)


def test_neumann__warm_start__the_same_sum_from_there():
    matrix = symmetric(log_spaced(6, 4))
    right = torch.ones(6, dtype=torch.float64)
    first = Neumann(terms=3, scale=0.2).solve(Operator(lambda x: matrix @ x), right)
    rest = Neumann(terms=4, scale=0.2).solve(Operator(lambda x: matrix @ x), right, initial=first.solution)
    whole = Neumann(terms=7, scale=0.2).solve(Operator(lambda x: matrix @ x), right)
    torch.testing.assert_close(rest.solution, whole.solution)
    torch.testing.assert_close(rest.residual, whole.residual)


@pytest.mark.parametrize("values", [[1.0, 2.0, 9.0], [-9.0, 1.0, 2.0]])
def test_largest_eigenvalue__many_iterations__largest_magnitude_from_below(values):
    matrix = symmetric(values)
    like = torch.zeros(3, dtype=torch.float64)
    few, many = (float(largest_eigenvalue(lambda x: matrix @ x, like, iterations=n)) for n in (2, 30))
    assert few <= many <= 9 + 1e-9
    assert many == pytest.approx(9)


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"scale": float("nan")}, {"terms": 0}])
def test_neumann__bad_option__config_error(options):
    with pytest.raises(ConfigError):
        Neumann(**options)
