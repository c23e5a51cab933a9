"""The identity in place of a linear solver."""

import pytest
import torch

from auxo.bilevel import BilevelProblem, Identity, Implicit, Operator, hypergradient
from auxo.errors import ConfigError

from .matrices import symmetric


def test_identity__any_matrix__the_right_hand_side_without_a_product():
    def refuse(vector):
        raise AssertionError("no product is wanted")

    right = torch.tensor([1.0, -2.0])
    answer = Identity(damping=1.0).solve(Operator(refuse), right, initial=torch.ones(2))
    assert torch.equal(answer.solution, right)
    assert answer.solution is not right
    assert answer.residual is None
    assert answer.products == 0


def test_identity__residual_measured__the_true_one_for_one_product():
    matrix, right = symmetric([0.1, 0.5, -0.2]), torch.ones(3, dtype=torch.float64)
    answer = Identity(damping=1.0, measure_residual=True).solve(Operator(lambda x: matrix @ x), right)
    torch.testing.assert_close(answer.residual, (matrix @ right).norm() / right.norm())
    assert answer.products == 1


def test_implicit__identity__takes_the_hessian_for_the_identity():
    problem = BilevelProblem(
        inner_loss=lambda p, h, b, x: (((p["w"] - h["h"]).square() * torch.tensor([0.5, 4.0])).sum(), b),
        outer_loss=lambda p, h, b, x: ((p["w"] * torch.tensor([3.0, 5.0])).sum(), b),
    )
    at = {"w": torch.zeros(2)}, {"h": torch.zeros(2)}
    result = hypergradient(problem, *at, inner=[0], outer=0, solver=Implicit(linear=Identity()))
    assert result.grads["h"].tolist() == [3.0, 40.0]  # the exact answer is 3 and 5
    assert result.info.residual is None
    assert result.info.converged
    assert result.info.hessian_products == 0


def test_identity__tolerance_without_residual__config_error():
    with pytest.raises(ConfigError, match="measure_residual=True"):
        Identity(tolerance=0.1)
    assert Identity(tolerance=0.1, measure_residual=True).tolerance == 0.1
