"""Slips in what the entry point is given: one line that says what was meant."""

import inspect

import pytest
import torch
from torch import nn

from auxo.bilevel import (
    BilevelProblem,
    ConjugateGradient,
    FunctionalModule,
    Implicit,
    hypergradient,
)
from auxo.bilevel.derivatives import check_loss
from auxo.errors import HypergradientError

UNCHECKED = inspect.unwrap(hypergradient)  # without the types that are checked in tests only
PROBLEM = BilevelProblem(
    inner_loss=lambda p, h, b, x: (((p["w"] - x) ** 2).mean() / 2 + h["h"] * p["w"] ** 2 / 2, b),
    outer_loss=lambda p, _h, b, y: ((p["w"] - y) ** 2 / 2, b),
)
RIGHT = {
    "problem": PROBLEM,
    "params": {"w": torch.tensor(1.0)},
    "hyper": {"h": torch.tensor(1.0)},
    "inner": [torch.tensor([1.0, 3.0])],
    "outer": torch.tensor(3.0),
    "solver": Implicit(linear=ConjugateGradient(iterations=1)),
}


def with_class():
    """A solver whose linear solver is a class; a dataclass does not look at types."""
    solver = Implicit()
    object.__setattr__(solver, "linear", ConjugateGradient)
    return solver


def call(**changed):
    given = {**RIGHT, **changed}
    return UNCHECKED(given.pop("problem"), given.pop("params"), given.pop("hyper"), **given)


def test_hypergradient__right_arguments__give_the_documented_number():
    assert call().grads["h"].item() == 1.0


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"problem": BilevelProblem},
            "problem to be a BilevelProblem, got the class BilevelProblem: write BilevelProblem",
        ),
        ({"params": [torch.ones(1)]}, r"params to be tensors by name, got a list: pass dict\(module.named_parameters"),
        ({"params": nn.Linear(1, 1).parameters()}, "params to be tensors by name, got a generator"),
        ({"hyper": torch.ones(1)}, "hyper to be tensors by name, got a Tensor: pass {'name': tensor}"),
        ({"hyper": {"h": 1.0}}, "a tensor for 'h' of hyper, got a float"),
        ({"buffers": [torch.ones(1)]}, r"buffers to be tensors by name, got a list"),
        ({"solver": Implicit}, r"solver to be a solver, got the class Implicit: write Implicit\(\)"),
        ({"solver": "cg"}, "solver to be a solver, got a str: choose one"),
        ({"solver": with_class()}, r"linear solver, got the class .*: write linear=ConjugateG"),
        ({"on_failure": "wran"}, "on_failure to be one of 'raise', 'warn', 'skip', got 'wran': choose one of them"),
        ({"warm_start": {"v": torch.ones(())}}, r"warm_start to hold inner parameters, got 'v' of shape \(\)"),
        ({"warm_start": {"w": torch.ones(2)}}, r"warm_start to hold inner parameters, got 'w' of shape \(2,\)"),
        ({"mean": 3}, "mean to be a function, got a int"),
        ({"inner": torch.ones(1)}, "inner to be a list of at least one batch"),
    ],
)
def test_hypergradient__slip__is_told_in_one_line(changed, says):
    with pytest.raises(HypergradientError, match=says) as error:
        call(**changed)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("returned", [torch.ones(()), torch.ones(2), [torch.ones(()), {}], (torch.ones(()), None)])
@pytest.mark.parametrize("name", ["inner_loss", "outer_loss"])
def test_check_loss__loss_alone__says_what_to_return(name, returned):
    with pytest.raises(
        HypergradientError, match=f"{name} to return a loss and the buffers after it, got a .*: write return"
    ):
        check_loss(name, returned)


def test_hypergradient__loss_returned_alone__is_told():
    alone = BilevelProblem(
        inner_loss=lambda p, h, _b, x: h["h"] * ((p["w"] - x) ** 2).mean(), outer_loss=PROBLEM.outer_loss
    )
    with pytest.raises(HypergradientError, match="inner_loss to return a loss and the buffers after it, got a Tensor"):
        call(problem=alone)


@pytest.mark.slow
def test_hypergradient__compiled_inner_module__says_what_to_pass():
    net = FunctionalModule(torch.compile(nn.Linear(1, 1), backend="aot_eager"))
    problem = BilevelProblem(
        inner_loss=lambda p, h, b, x: (h["h"] * (net(p, b, x)[0] ** 2).mean(), b),
        outer_loss=lambda p, _h, b, x: (net(p, b, x)[0].mean(), b),
    )
    with pytest.raises(HypergradientError, match=r"modules that are not compiled.*before torch\.compile"):
        call(problem=problem, params=net.params, buffers=net.buffers, inner=[torch.ones(2, 1)], outer=torch.ones(2, 1))
