"""Hypergradients in some parameters of a module: against the closed form, and what they leave alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from auxo.bilevel import ConjugateGradient, Implicit, Neumann, differentiate_parameters
from auxo.errors import HypergradientError

from .linear.matrices import log_spaced, symmetric

SIZE = 6


class Quadratic(nn.Module):
    """Lower loss ``w'Aw/2 - w'(Bh + s)`` with ``s = 0``, ``w* = A^-1 B h``; the upper loss does not reach ``head``."""

    def __init__(self):
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.matrix = symmetric(log_spaced(SIZE, 20))
        self.mixed = torch.randn(SIZE, 3, generator=draws, dtype=torch.float64)
        self.goal = torch.randn(SIZE, generator=draws, dtype=torch.float64)
        self.hyper = nn.Parameter(torch.randn(3, generator=draws, dtype=torch.float64))
        self.head = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.shift = nn.Parameter(torch.zeros(SIZE, dtype=torch.float64))
        self.weight = nn.Parameter(torch.linalg.solve(self.matrix, self.mixed @ self.hyper.detach()))

    def inner(self):
        right = self.mixed @ self.hyper + self.shift
        system = self.weight @ self.matrix @ self.weight / 2 - self.weight @ right
        return system + (self.head - 1).square().sum()

    def outer(self):
        return (self.weight - self.goal).square().sum() / 2

    def exact(self):
        """``B' A^-1 (w* - goal)``."""
        return self.mixed.T @ torch.linalg.solve(self.matrix, self.weight.detach() - self.goal)


def differentiate(module, hyper, solver, **options):
    return differentiate_parameters(
        module, hyper, inner_loss=module.inner, outer_loss=module.outer, solver=solver, **options
    )


def test_differentiate_parameters__quadratic_and_a_long_series__closed_form():
    module = Quadratic()
    module.shift.requires_grad_(False)
    scale = 1 / float(torch.linalg.eigvalsh(module.matrix).max())
    found = differentiate(module, [module.hyper], Implicit(linear=Neumann(terms=400, scale=scale, may_grow=True)))
    assert [*found.grads] == ["hyper"]
    assert float((found.grads["hyper"] - module.exact()).norm() / module.exact().norm()) < 1e-4
    short = differentiate(module, [module.hyper], Implicit(linear=Neumann(terms=4, scale=scale, may_grow=True)))
    assert float((short.grads["hyper"] - module.exact()).norm() / module.exact().norm()) > 1e-2


def test_differentiate_parameters__several__in_their_order_and_the_others_stay_inner():
    module = Quadratic()
    solver = Implicit(linear=ConjugateGradient(iterations=20))
    found = differentiate(module, [module.shift, module.hyper], solver)
    assert [*found.grads] == ["shift", "hyper"]
    assert set(found.params) == {"weight", "head"}
    expected = torch.linalg.solve(module.matrix, module.weight.detach() - module.goal)
    torch.testing.assert_close(found.grads["shift"], expected)
    torch.testing.assert_close(found.grads["hyper"], module.exact())


class Normalised(nn.Module):
    """A network with batch norm, dropout and a weight for its second output."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
        self.factor = nn.Parameter(torch.tensor(0.3))
        self.inputs = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))

    def inner(self):
        main, other = self.layers(self.inputs).square().mean(0)
        return main + self.factor * other

    def outer(self):
        return self.layers(self.inputs + 1)[:, 0].square().mean()


def test_differentiate_parameters__batch_norm_and_dropout__module_as_it_was_and_equal_seeds_equal():
    torch.manual_seed(0)
    module = Normalised().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    solver = Implicit(linear=Neumann(terms=3, scale=0.1, may_grow=True))
    grads = [differentiate(module, [module.factor], solver, seed=seed).grads["factor"] for seed in (1, 1, 2)]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert grads[0] == grads[1] != grads[2]
    assert grads[0] != 0


def test_differentiate_parameters__one_that_is_not_trained_there__refused():
    module = Quadratic()
    with pytest.raises(HypergradientError, match="trained parameters of the module as hyper, got 'another'"):
        differentiate(module, [nn.Parameter(torch.ones(1))], Implicit())
    module.hyper.requires_grad_(False)
    with pytest.raises(HypergradientError, match="got 'hyper'"):
        differentiate(module, [module.hyper], Implicit())


def test_differentiate_parameters__inner_loss_without_the_parameter__refused():
    module = Quadratic()
    module.inner = lambda: functional.mse_loss(module.weight, module.goal)
    with pytest.raises(HypergradientError, match=r"no gradient for 'module\.hyper'"):
        differentiate(module, [module.hyper], Implicit(linear=ConjugateGradient(iterations=2)))
