"""The entry point: what holds for every solver."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auxo.bilevel import (
    MINRES,
    SGD,
    Adam,
    BilevelProblem,
    ConjugateGradient,
    FiniteDifference,
    Implicit,
    Momentum,
    Penalty,
    Unrolled,
    WeightedLoss,
    hypergradient,
)
from auxo.errors import HypergradientError

from .weighted_regression import IDS, NYSTROM, SIZE, SOLVERS, data, mean_squared, problem, solve, squared

EXACT_KRYLOV = [Implicit(linear=kind(iterations=40, tolerance=1e-13)) for kind in (ConjugateGradient, MINRES)]
# Krylov solvers are linear in the right-hand side once converged; the finite difference's length depends on it.
LINEAR = [s for s in SOLVERS if not isinstance(s, FiniteDifference) and s not in SOLVERS[:2]] + EXACT_KRYLOV


@pytest.mark.parametrize("solver", LINEAR, ids=repr)
@settings(max_examples=5, deadline=None)
@given(left=st.floats(-3, 3), right=st.floats(-3, 3))
def test_hypergradient__outer_losses_combined__linear_in_the_outer_gradient(solver, left, right):
    assume(abs(left) > 1e-3 or abs(right) > 1e-3)

    def absolute(params, hyper, buffers, batch):
        return squared(params, batch).add(1).log().mean(), buffers

    def combined(params, hyper, buffers, batch):
        mixed = left * mean_squared(params, hyper, buffers, batch)[0]
        return mixed + right * absolute(params, hyper, buffers, batch)[0], buffers

    together = solve(problem(combined), solver).grads["logits"]
    apart = [solve(problem(outer), solver).grads["logits"] for outer in (mean_squared, absolute)]
    torch.testing.assert_close(together, left * apart[0] + right * apart[1], rtol=1e-7, atol=1e-9)


# The random directions of Nystrom are not those of another order of parameters.
@pytest.mark.parametrize("solver", [s for s in SOLVERS if s is not NYSTROM], ids=repr)
def test_hypergradient__parameters_renamed__same_numbers(solver):
    names = {"a": "zeta.weight", "b": "alpha"}

    def renamed(level):
        def call(params, *others):
            return level({old: params[new] for old, new in names.items()}, *others)

        return call

    plain = problem(mean_squared)
    loss = WeightedLoss(
        losses=renamed(plain.inner_loss.losses), weights=plain.inner_loss.weights, rest=renamed(plain.inner_loss.rest)
    )
    other = BilevelProblem(inner_loss=loss, outer_loss=renamed(mean_squared))
    params = {names["b"]: torch.ones(SIZE).double(), names["a"]: torch.linspace(0.5, 1, SIZE, dtype=torch.float64)}
    hyper = {"logits": torch.linspace(-1, 1, 8, dtype=torch.float64)}
    result = hypergradient(other, params, hyper, inner=[data(0)], outer=data(1), solver=solver)
    expected = solve(plain, solver)
    torch.testing.assert_close(result.grads["logits"], expected.grads["logits"], rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore::auxo.bilevel.HypergradientWarning")  # this Hessian is not every solver's
@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_hypergradient__hyper_parameter_without_effect__zero(solver):
    chosen = problem(mean_squared, weights=lambda hyper, batch: 1.0 + 0.0 * hyper["logits"])
    result = solve(chosen, solver, on_failure="warn")
    assert torch.equal(result.grads["logits"], torch.zeros(8, dtype=torch.float64))


@pytest.mark.parametrize("solver", [*SOLVERS, Penalty(weight=10.0, steps=3, optimizer=SGD(rate=0.05))])
def test_hypergradient__any_solver__leaves_its_arguments_as_they_are(solver):
    params = {"a": torch.linspace(0.5, 1, SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    hyper = {"logits": torch.linspace(-1, 1, 8, dtype=torch.float64, requires_grad=True)}
    before = {name: value.clone() for name, value in (params | hyper).items()}
    hypergradient(problem(mean_squared), params, hyper, inner=[data(0)], outer=data(1), solver=solver)
    for name, value in (params | hyper).items():
        assert torch.equal(value, before[name])
        assert value.grad is None


def test_hypergradient__under_autocast__float32_products():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = solve(problem(mean_squared), SOLVERS[0])
    assert torch.equal(inside.grads["logits"], solve(problem(mean_squared), SOLVERS[0]).grads["logits"])


def test_hypergradient__bfloat16_tensors__widened_inside_and_returned_in_their_dtype():
    params = {"a": torch.linspace(0.5, 1, SIZE).bfloat16(), "b": torch.ones(SIZE).bfloat16()}
    hyper = {"logits": torch.linspace(-1, 1, 8).bfloat16()}
    batches = [[tensor.bfloat16() for tensor in data(seed)] for seed in (0, 1)]
    wide = [[tensor.float() for tensor in batch] for batch in batches]
    narrow = hypergradient(
        problem(mean_squared), params, hyper, inner=[batches[0]], outer=batches[1], solver=SOLVERS[0]
    )
    floats = ({name: value.float() for name, value in group.items()} for group in (params, hyper))
    exact = hypergradient(problem(mean_squared), *floats, inner=[wide[0]], outer=wide[1], solver=SOLVERS[0])
    assert narrow.grads["logits"].dtype == torch.bfloat16
    assert torch.equal(narrow.grads["logits"], exact.grads["logits"].bfloat16())


class Pair(NamedTuple):
    inputs: torch.Tensor
    targets: torch.Tensor


def test_hypergradient__named_tuple_of_bfloat16__widened_too():
    params = {"a": torch.linspace(0.5, 1, SIZE).bfloat16(), "b": torch.ones(SIZE).bfloat16()}
    hyper = {"logits": torch.linspace(-1, 1, 8).bfloat16()}
    batch = Pair(*(tensor.bfloat16() for tensor in data(0)))
    result = hypergradient(problem(mean_squared), params, hyper, inner=[batch], outer=batch, solver=SOLVERS[0])
    assert result.outer_loss.dtype == torch.float32


@pytest.mark.parametrize(
    "solver", [SOLVERS[0], Unrolled(steps=1, optimizer=SGD(rate=0.1))], ids=["implicit", "unrolled"]
)
def test_hypergradient__any_point__inner_slope_is_the_norm_of_the_inner_gradient(solver):
    params = {"a": torch.linspace(0.5, 1, SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    chosen = problem(mean_squared)
    loss, _ = chosen.inner_loss(leaves, {"logits": torch.linspace(-1, 1, 8, dtype=torch.float64)}, {}, data(0))
    gradients = torch.autograd.grad(loss, [*leaves.values()])
    expected = torch.cat(gradients).norm()
    torch.testing.assert_close(solve(chosen, solver).info.inner_slope, expected)


def test_unrolled__two_inner_batches__taken_in_turn():
    chosen = problem(mean_squared)
    params = {"a": torch.ones(SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    hyper = {"logits": torch.zeros(8, dtype=torch.float64)}

    def run(solver, start, inner, **options):
        return hypergradient(chosen, start, hyper, inner=inner, outer=data(1), solver=solver, **options)

    whole = run(Unrolled(steps=2, optimizer=Momentum(rate=0.05)), params, [data(0), data(2)])
    first = run(Unrolled(steps=1, optimizer=Momentum(rate=0.05)), params, [data(0)])
    second = run(
        Unrolled(steps=1, optimizer=Momentum(rate=0.05)), first.params, [data(2)], inner_state=first.inner_state
    )
    torch.testing.assert_close(second.params["a"], whole.params["a"])
    torch.testing.assert_close(second.outer_loss, whole.outer_loss)


def test_unrolled__state_of_another_inner_optimiser__is_refused():
    params = {"a": torch.ones(SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    hyper = {"logits": torch.zeros(8, dtype=torch.float64)}

    def run(optimizer, **options):
        solver = Unrolled(steps=1, optimizer=optimizer)
        chosen = problem(mean_squared)
        return hypergradient(chosen, params, hyper, inner=[data(0)], outer=data(1), solver=solver, **options)

    state = run(Momentum(rate=0.05)).inner_state
    with pytest.raises(HypergradientError, match=r"inner_state of Adam .*'first\.a' missing: pass result\.inner_state"):
        run(Adam(rate=0.05), inner_state=state)
    with pytest.raises(HypergradientError, match=r"inner_state of SGD .*'momentum\.a' unknown"):
        run(SGD(rate=0.05), inner_state=state)


def test_implicit__two_inner_batches__products_of_their_mean():
    joined = tuple(torch.cat(pair) for pair in zip(data(0), data(2), strict=True))
    chosen = problem(mean_squared, weights=lambda hyper, batch: hyper["logits"][:1].sigmoid().expand(len(batch[0])))
    params = {"a": torch.ones(SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    hyper = {"logits": torch.zeros(8, dtype=torch.float64)}
    solver = Implicit(linear=ConjugateGradient(iterations=8, damping=0.1))
    results = [
        hypergradient(chosen, params, hyper, inner=inner, outer=data(1), solver=solver).grads["logits"]
        for inner in ([data(0), data(2)], [joined])
    ]
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


def test_hypergradient__local_hyper_parameters__are_not_averaged_over_the_processes():
    torch.manual_seed(0)
    features, weights = torch.randn(4, 3, dtype=torch.float64), {"w": torch.randn(3, dtype=torch.float64)}

    def differentiate(local, mean):
        chosen = BilevelProblem(
            inner_loss=lambda params, hyper, buffers, x: ((x @ params["w"] - hyper["labels"]).square().mean(), buffers),
            outer_loss=lambda params, hyper, buffers, x: ((x @ params["w"]).mean(), buffers),
            local=local,
        )
        hyper = {"labels": torch.ones(4, dtype=torch.float64)}
        solver = Unrolled(optimizer=SGD(rate=0.3))
        result = hypergradient(chosen, weights, hyper, inner=[features], outer=features, solver=solver, mean=mean)
        return result.grads["labels"]

    alone = differentiate(frozenset(), None)
    # As if another process had zeros everywhere: its part halves the outer gradient, which is a factor here.
    torch.testing.assert_close(differentiate(frozenset({"labels"}), lambda vector: vector / 2), alone / 2)
    torch.testing.assert_close(differentiate(frozenset(), lambda vector: vector / 2), alone / 4)
