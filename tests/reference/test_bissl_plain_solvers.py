"""The solvers of BiSSL's plain rendering: conjugate gradients on the whole network, and layer by layer."""

from itertools import pairwise

import pytest
import torch

from .bissl_algebra import flat, relative, spd
from .bissl_plain import conjugate_gradient_global, conjugate_gradient_layerwise

pytestmark = pytest.mark.usefixtures("float64")
SIZE = 12


def products(hessian, sizes):
    """Return the map from a vector in pieces to the matrix times it, and the list that counts its calls."""
    calls = []

    def hvp(vector):
        calls.append(1)
        return (hessian @ torch.cat(list(vector))).split(sizes)

    return hvp, calls


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
