"""Layer-wise conjugate gradients: where they are the global ones, and where they go astray."""

import pytest
import torch

from auxo.bilevel import (
    BilevelProblem,
    ConjugateGradient,
    Implicit,
    LayerwiseConjugateGradient,
    Operator,
    hypergradient,
)
from auxo.errors import ConfigError, ShapeError

from .matrices import log_spaced, symmetric

SIZES = (1, 5, 2, 4)


def right_hand_side(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative_error(answer, exact):
    return float((answer.solution - exact).norm() / exact.norm())


def plain(matrix, right, sizes, damping, iterations):
    """The recursion on slices, one tensor at a time."""
    ends = torch.tensor(sizes).cumsum(0).tolist()
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    solution, rest, direction = torch.zeros_like(right), right.clone(), right.clone()
    for _ in range(iterations):
        image = matrix @ direction + damping * direction
        for part in parts:
            before = float(rest[part] @ rest[part])
            alpha = before / (float(direction[part] @ image[part]) + 1e-12)
            solution[part] += alpha * direction[part]
            rest[part] -= alpha * image[part]
            beta = float(rest[part] @ rest[part]) / (before + 1e-12)
            direction[part] = rest[part] + beta * direction[part]
    return solution


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_layerwise__several_tensors__the_recursion_on_slices(iterations):
    matrix, right = symmetric(torch.linspace(-0.3, 4, 12)), right_hand_side(12)
    solver = LayerwiseConjugateGradient(iterations=iterations, damping=1.5)
    answer = solver.solve(Operator(lambda x: matrix @ x, sizes=SIZES), right)
    torch.testing.assert_close(answer.solution, plain(matrix, right, SIZES, 1.5, iterations), rtol=1e-10, atol=1e-12)
    assert answer.products == iterations + 1
    assert answer.breakdown is None


@pytest.mark.parametrize("sizes", [None, (12,)])
@pytest.mark.parametrize("iterations", [1, 4, 9])
def test_layerwise__one_tensor__global_conjugate_gradients(sizes, iterations):
    matrix, right = symmetric(log_spaced(12, 50)), right_hand_side(12)
    operator = Operator(lambda x: matrix @ x, sizes=sizes)
    ours = LayerwiseConjugateGradient(iterations=iterations, damping=0.5).solve(operator, right)
    theirs = ConjugateGradient(iterations=iterations, damping=0.5).solve(operator, right)
    torch.testing.assert_close(ours.solution, theirs.solution, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(ours.residual, theirs.residual, rtol=1e-5, atol=1e-10)


def test_layerwise__block_diagonal_matrix__converges_in_as_many_iterations_as_the_largest_block():
    matrix = torch.block_diag(*(symmetric(log_spaced(size, 20), seed=size) for size in SIZES))
    right = right_hand_side(12)
    answer = LayerwiseConjugateGradient(iterations=5).solve(Operator(lambda x: matrix @ x, sizes=SIZES), right)
    assert relative_error(answer, torch.linalg.solve(matrix, right)) < 1e-8
    assert answer.residual < 1e-8


def published_case(largest):
    """Ten tensors, ``I + H / 10.001`` with the eigenvalues of ``H`` in 0..largest; errors of the solution."""
    matrix = symmetric(torch.linspace(0, largest, 100), seed=1) / 10.001
    right = right_hand_side(100)
    exact = torch.linalg.solve(matrix + torch.eye(100, dtype=torch.float64), right)
    operator = Operator(lambda x: matrix @ x, sizes=(10,) * 10)
    solvers = [
        ConjugateGradient(iterations=5, damping=1.0),
        LayerwiseConjugateGradient(iterations=5, damping=1.0),
        LayerwiseConjugateGradient(iterations=60, damping=1.0),
    ]
    return [relative_error(solver.solve(operator, right), exact) for solver in solvers]


@pytest.mark.parametrize(
    ("largest", "bounds"),
    [
        (1, ((1e-9, 1e-7), (1e-4, 1e-3))),
        (10, ((1e-5, 1e-3), (5e-3, 5e-2))),
        (100, ((1e-2, 0.2), (0.5, 50.0))),
    ],
)
def test_layerwise__coupled_tensors__stalls_far_above_global_conjugate_gradients(largest, bounds):
    few, layerwise_few, layerwise_many = published_case(largest)
    (low, high), (layerwise_low, layerwise_high) = bounds
    assert low < few < high
    assert layerwise_low < layerwise_few < layerwise_high
    assert layerwise_many > 0.9 * layerwise_few


def test_layerwise__diverged__the_residual_is_the_true_one():
    matrix, right = symmetric(torch.linspace(0, 10, 100), seed=1), right_hand_side(100)
    solver = LayerwiseConjugateGradient(iterations=5, damping=1.0)
    answer = solver.solve(Operator(lambda x: matrix @ x, sizes=(10,) * 10), right)
    left = (matrix @ answer.solution + answer.solution - right).norm() / right.norm()
    assert left > 1
    torch.testing.assert_close(answer.residual, left, rtol=1e-10, atol=0)


def test_layerwise__initial__goes_on_from_there_for_one_more_product():
    matrix, right = torch.block_diag(*(symmetric(log_spaced(size, 20)) for size in SIZES)), right_hand_side(12)
    exact = torch.linalg.solve(matrix, right)
    operator = Operator(lambda x: matrix @ x, sizes=SIZES)
    answer = LayerwiseConjugateGradient(iterations=2).solve(operator, right, initial=exact + 1e-6)
    assert relative_error(answer, exact) < 1e-5
    assert answer.products == 4


def test_layerwise__tensor_without_gradient__stays_zero_without_nan():
    right = torch.tensor([1.0, 2.0, 0.0, 0.0])
    answer = LayerwiseConjugateGradient(iterations=6).solve(Operator(lambda x: 2 * x, sizes=(2, 2)), right)
    torch.testing.assert_close(answer.solution, right / 2)
    nothing = LayerwiseConjugateGradient().solve(Operator(lambda x: 2 * x, sizes=(2, 2)), torch.zeros(4))
    assert torch.equal(nothing.solution, torch.zeros(4))
    assert nothing.residual == 0


def test_implicit__layerwise__goes_inner_parameter_by_inner_parameter():
    curvatures = {"a": torch.tensor([1.0, 2.0]).double(), "b": torch.tensor([[3.0], [50.0]]).double()}

    def inner(params, hyper, buffers, batch):
        parts = [(curvatures[name] * (value - hyper["h"]).square()).sum() / 2 for name, value in params.items()]
        return torch.stack(parts).sum(), buffers

    problem = BilevelProblem(inner_loss=inner, outer_loss=lambda p, h, b, x: (p["a"].sum() + p["b"].pow(2).sum(), b))
    params, hyper = {name: torch.ones_like(value) for name, value in curvatures.items()}, {"h": torch.ones(()).double()}

    def error(linear):
        solver = Implicit(linear=linear)
        return abs(float(hypergradient(problem, params, hyper, inner=[0], outer=0, solver=solver).grads["h"]) - 6)

    assert error(LayerwiseConjugateGradient(iterations=2)) < 1e-9
    assert error(ConjugateGradient(iterations=2)) > 1e-2


def test_layerwise__sizes_of_another_vector__shape_error():
    with pytest.raises(ShapeError, match="right-hand side's 4 entries, got 5"):
        LayerwiseConjugateGradient().solve(Operator(lambda x: x, sizes=(2, 3)), torch.ones(4))


def test_layerwise__no_iterations__config_error():
    with pytest.raises(ConfigError, match="iterations >= 1"):
        LayerwiseConjugateGradient(iterations=0)
