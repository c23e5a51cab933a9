"""What the entry point says when something is wrong, and how to get the right answer instead."""

import re

import pytest
import torch
import torch.nn.functional as F

from auxo.bilevel import (
    MINRES,
    SGD,
    BilevelProblem,
    ConjugateGradient,
    ExactHead,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    HypergradientWarning,
    Implicit,
    Penalty,
    Unrolled,
    hypergradient,
)
from auxo.errors import HypergradientError, NonFiniteError

from .once_differentiable import Once
from .weighted_regression import SIZE, SOLVERS, data, mean_squared, problem, solve, squared


@pytest.mark.parametrize("solver", [*SOLVERS, Penalty(steps=2, optimizer=SGD(rate=0.05)), FirstOrder()])
def test_hypergradient__unreached_hyper_parameter__error_names_it(solver):
    hyper = {"logits": torch.zeros(8, dtype=torch.float64), "forgotten": torch.ones(2, dtype=torch.float64)}

    def outer(params, hyper, buffers, batch):
        return squared(params, batch).mean() + hyper["logits"].sum(), buffers

    with pytest.raises(HypergradientError, match=r"no gradient for 'forgotten'.*frozen"):
        solve(problem(outer), solver, hyper)
    result = solve(problem(outer, frozen=frozenset({"forgotten"})), solver, hyper)
    assert torch.equal(result.grads["forgotten"], torch.zeros(2, dtype=torch.float64))


def test_hypergradient__first_order_for_sample_weights__error_says_what_keeps_the_term():
    with pytest.raises(HypergradientError, match=r"'logits'.*FirstOrder drops.*use FiniteDifference, ForwardMode"):
        solve(problem(mean_squared), FirstOrder())


@pytest.mark.parametrize("which", ["inner_loss", "outer_loss"])
def test_hypergradient__buffer_changed_in_place__error_names_loss_and_buffer(which):
    def spoilt(params, hyper, buffers, batch):
        buffers["running_mean"].mul_(0.9)
        return (hyper["logits"].sum() + 1) * squared(params, batch).mean(), buffers

    losses = {
        "inner_loss": lambda p, h, b, x: (h["logits"].sum() * squared(p, x).mean(), b),
        "outer_loss": mean_squared,
    }
    chosen = BilevelProblem(**{**losses, which: spoilt})
    with pytest.raises(HypergradientError, match=f"{which}.*buffer 'running_mean' changed in place.*FunctionalModule"):
        solve(chosen, Unrolled(), buffers={"running_mean": torch.ones(3)})


def indefinite(curvature):
    """An inner loss with a direction of that curvature, all of it in parameter 'saddle'."""

    def inner(params, hyper, buffers, batch):
        bowl = (params["bowl"] - hyper["h"]).square().sum() / 2
        return bowl + curvature * params["saddle"].square().sum() / 2 + hyper["h"] * params["saddle"].sum(), buffers

    def outer(params, hyper, buffers, batch):
        return (params["bowl"] - 3).square().sum() / 2 + params["saddle"].sum() ** 2 / 2, buffers

    return BilevelProblem(inner_loss=inner, outer_loss=outer)


def solve_indefinite(linear, **options):
    params = {"bowl": torch.ones(3, dtype=torch.float64), "saddle": torch.full((2,), 0.5, dtype=torch.float64)}
    hyper = {"h": torch.tensor(1.0, dtype=torch.float64)}
    return hypergradient(
        indefinite(-0.5), params, hyper, inner=[None], outer=None, solver=Implicit(linear=linear), **options
    )


def test_conjugate_gradient__indefinite_hessian__error_names_parameter_and_fix():
    with pytest.raises(HypergradientError, match=r"curvature -0\.\d+ .* in 'saddle': add damping .*MINRES") as caught:
        solve_indefinite(ConjugateGradient(iterations=4))
    assert "\n" not in str(caught.value)


def test_conjugate_gradient__indefinite_hessian__warn_returns_and_skip_returns_zeros():
    with pytest.warns(HypergradientWarning, match="'saddle'"):
        warned = solve_indefinite(ConjugateGradient(iterations=4), on_failure="warn")
    assert warned.info.breakdown.occurred
    assert not warned.info.converged
    skipped = solve_indefinite(ConjugateGradient(iterations=4), on_failure="skip")
    assert skipped.grads["h"] == 0
    assert not skipped.info.converged


def test_minres_or_damping__indefinite_hessian__the_answer_of_the_system():
    # dF/dh = -(d_h grad G)' inv(H) v with v = (-2, -2, -2, 1, 1), H = diag(1, 1, 1, -0.5, -0.5) and
    # d_h grad G = (-1, -1, -1, 1, 1)
    assert solve_indefinite(MINRES(iterations=5)).grads["h"] == pytest.approx(-6 + 4)
    damped = solve_indefinite(ConjugateGradient(iterations=5, damping=1.0)).grads["h"]
    assert damped == pytest.approx(-6 / 2 - 2 / 0.5)


def test_hypergradient__not_finite__error_names_the_gradient():
    def inner(params, hyper, buffers, batch):
        return (params["a"] * hyper["logits"].sum().log()).square().sum(), buffers

    chosen = BilevelProblem(inner_loss=inner, outer_loss=lambda p, h, b, x: (p["a"].sum(), b))
    params, hyper = {"a": torch.ones(2)}, {"logits": torch.zeros(3)}
    with pytest.raises(NonFiniteError, match=r"'logits'|outer loss"):
        hypergradient(chosen, params, hyper, inner=[None], outer=None, solver=Unrolled())


def test_hypergradient__layer_without_second_derivative__error_or_first_derivatives():
    def inner(params, hyper, buffers, batch):
        return (Once.apply(params["a"]) * hyper["logits"][:SIZE].exp()).sum() + params["b"].square().sum(), buffers

    chosen = BilevelProblem(inner_loss=inner, outer_loss=mean_squared)
    with pytest.raises(HypergradientError, match=r"differentiated twice, got .* 'a': .*FiniteDifference"):
        solve(chosen, Unrolled())
    smooth = BilevelProblem(
        inner_loss=lambda p, h, b, x: ((p["a"].square() * h["logits"][:SIZE].exp()).sum() + p["b"].square().sum(), b),
        outer_loss=mean_squared,
    )
    expected = solve(smooth, Unrolled(optimizer=SGD(rate=0.1))).grads["logits"]
    torch.testing.assert_close(
        solve(chosen, FiniteDifference(rate=0.1)).grads["logits"], expected, rtol=1e-7, atol=1e-9
    )


def test_hypergradient__attention_kernel_without_second_derivative__the_right_answer():
    torch.manual_seed(0)
    inputs = torch.randn(2, 2, 5, 8)

    def inner(params, hyper, buffers, batch):
        attended = F.scaled_dot_product_attention(batch @ params["w"], batch, batch)
        return (attended.square().mean((0, 1, 2)) * hyper["h"]).sum() + params["w"].square().sum(), buffers

    def outer(params, hyper, buffers, batch):
        return F.scaled_dot_product_attention(batch, batch @ params["w"], batch).sum(), buffers

    params, hyper = {"w": torch.eye(8)}, {"h": torch.ones(8)}
    leaf = params["w"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(inner({"w": leaf}, hyper, {}, inputs)[0], leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):  # what the engine saves its users from
        torch.autograd.grad(gradient.sum(), leaf)
    chosen = BilevelProblem(inner_loss=inner, outer_loss=outer)
    solvers = [Unrolled(optimizer=SGD(rate=0.05)), FiniteDifference(rate=0.05, epsilon=1e-2)]
    results = [hypergradient(chosen, params, hyper, inner=[inputs], outer=inputs, solver=solver) for solver in solvers]
    torch.testing.assert_close(results[0].grads["h"], results[1].grads["h"], rtol=1e-2, atol=1e-4)


def test_hypergradient__inference_mode__error_says_so():
    with torch.inference_mode(), pytest.raises(HypergradientError, match="inference_mode"):
        solve(problem(mean_squared), SOLVERS[0])


def test_hypergradient__someone_else_s_runtime_error__passes_unchanged():
    def broken(params, hyper, buffers, batch):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else") as caught:
        solve(problem(broken), SOLVERS[0])
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": data(0)}, "inner to be a list"),
        ({"inner": []}, "an empty list"),
        ({"params": {}}, "at least one inner parameter"),
        ({"params": {"a": torch.ones(2, dtype=torch.int64)}}, "floating-point inner parameters"),
        ({"problem": problem(mean_squared, frozen=frozenset({"nothing"}))}, "frozen to name hyper-parameters"),
        ({"problem": BilevelProblem(inner_loss=mean_squared, outer_loss=mean_squared)}, "no gradient for 'logits'"),
        ({"solver": ForwardMode(), "inner": [data(0), data(1)]}, "one inner batch for ForwardMode"),
        ({"solver": ExactHead()}, "class LinearHeadLoss"),
        ({"solver": Implicit(curvature="gauss_newton")}, "class CompositeLoss"),
        ({"solver": Unrolled(optimizer=SGD(rate="speed"))}, "a hyper-parameter 'speed'"),
        (
            {"problem": BilevelProblem(inner_loss=lambda p, h, b, x: (squared(p, x), b), outer_loss=mean_squared)},
            "a scalar",
        ),
        (
            {"problem": BilevelProblem(inner_loss=mean_squared, outer_loss=lambda p, h, b, x: (torch.ones(()), b))},
            "constant",
        ),
        (
            {"problem": BilevelProblem(inner_loss=lambda p, h, b, x: (p["a"].sum(), b), outer_loss=mean_squared)},
            "gradient that is constant",
        ),
        (
            {
                "problem": problem(mean_squared, initial=lambda params, hyper: {"a": hyper["logits"]}),
                "solver": Unrolled(),
            },
            "initial",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hypergradient__wrong_use__one_line_that_says_what_to_do(change, message):
    arguments = {
        "problem": problem(mean_squared),
        "params": {"a": torch.ones(SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)},
        "hyper": {"logits": torch.zeros(8, dtype=torch.float64)},
        "inner": [data(0)],
        "outer": data(1),
        "solver": Implicit(),
    } | change
    first = [arguments.pop(name) for name in ("problem", "params", "hyper")]
    with pytest.raises(Exception, match=re.escape(message)) as caught:
        hypergradient(*first, **arguments)
    assert "\n" not in str(caught.value)
    assert type(caught.value).__module__ == "auxo.errors"
