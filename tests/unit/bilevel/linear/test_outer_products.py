"""The mean of outer products plus damping, inverted in closed form, against dense and recursive solutions."""

import pytest
import torch

from auxo.bilevel import solve_outer_products
from auxo.bilevel.linear import outer_products
from auxo.errors import ConfigError, NonFiniteError, ShapeError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def recursive(vectors, right, damping):
    """The solution by Sherman and Morrison's formula, one vector added after the other, in float64."""
    count = len(vectors)
    steps = []  # every vector's image under the inverse before it was added, and the denominator of adding it

    def through(vector):
        answer = vector / damping
        for image, denominator in steps:
            answer = answer - image * (image @ vector) / denominator
        return answer

    for vector in vectors:
        image = through(vector)
        steps.append((image, count + vector @ image))
    return through(right)


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("damping", [1e-3, 1.0, 100.0])
def test_solve_outer_products__small__the_dense_solution(count, damping):
    vectors, right = draw(count, 7), draw(7, seed=1)
    matrix = vectors.T @ vectors / count + damping * torch.eye(7, dtype=torch.float64)
    answer = solve_outer_products(vectors, right, damping=damping)
    torch.testing.assert_close(answer.solution, torch.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11)
    assert answer.residual < 1e-10
    assert answer.products == 0


@pytest.mark.parametrize("largest", [1.0, 1e3])
def test_solve_outer_products__twenty_long_float32_vectors__float32_digits_of_the_recursion(largest):
    scales = torch.logspace(0, torch.tensor(largest).log10().item(), 20).double().unsqueeze(1)
    vectors = (scales * (draw(20, 100_000) + draw(100_000, seed=2))).float()
    right = (draw(100_000, seed=1) + 0.1 * vectors.double().mean(0)).float()
    exact = recursive(vectors.double(), right.double(), 1e-3)
    answer = solve_outer_products(vectors, right, damping=1e-3)
    assert answer.solution.dtype == torch.float32
    assert float((answer.solution.double() - exact).norm() / exact.norm()) < 1e-7
    assert answer.residual.dtype == torch.float32


def test_solve_outer_products__columns_in_turn__the_same_answer_however_many_at_once(monkeypatch):
    vectors, right = draw(3, 50), draw(50, seed=1)
    whole = solve_outer_products(vectors, right, damping=0.1)
    monkeypatch.setattr(outer_products, "_COLUMNS", 7)
    parts = solve_outer_products(vectors, right, damping=0.1)
    torch.testing.assert_close(parts.solution, whole.solution, rtol=1e-12, atol=1e-13)


def test_solve_outer_products__equal_and_zero_vectors__the_dense_solution():
    vectors = torch.stack([draw(6), draw(6), torch.zeros(6, dtype=torch.float64)])
    right = draw(6, seed=1)
    matrix = vectors.T @ vectors / 3 + 0.01 * torch.eye(6, dtype=torch.float64)
    answer = solve_outer_products(vectors, right, damping=0.01)
    torch.testing.assert_close(answer.solution, torch.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11)


def test_solve_outer_products__nothing_to_solve__zero():
    answer = solve_outer_products(draw(2, 3), torch.zeros(3, dtype=torch.float64), damping=0.1)
    assert torch.equal(answer.solution, torch.zeros(3, dtype=torch.float64))
    assert answer.residual == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_solve_outer_products__vector_that_is_not_finite__error_says_so(bad):
    vectors = draw(2, 3)
    vectors[1, 2] = bad
    with pytest.raises(NonFiniteError, match="finite vectors"):
        solve_outer_products(vectors, draw(3), damping=0.1)


def test_solve_outer_products__misfit__is_refused():
    with pytest.raises(ShapeError, match=r"\(count, 4\), at least one, got \(2, 3\)"):
        solve_outer_products(draw(2, 3), draw(4), damping=0.1)
    with pytest.raises(ShapeError, match="at least one"):
        solve_outer_products(draw(0, 3), draw(3), damping=0.1)
    with pytest.raises(ConfigError, match="damping > 0, got 0"):
        solve_outer_products(draw(2, 3), draw(3), damping=0.0)
