"""The entry point: what holds for every solver, and what it says when something is wrong."""

import re
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auxo.bilevel import (
    MINRES,
    SGD,
    Adam,
    BilevelProblem,
    ConjugateGradient,
    ExactHead,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    FunctionalModule,
    HypergradientWarning,
    Implicit,
    LinearHeadLoss,
    Momentum,
    Neumann,
    Nystrom,
    Penalty,
    Unrolled,
    WeightedLoss,
    hypergradient,
)
from auxo.errors import HypergradientError, NonFiniteError

SIZE = 4
SOLVERS = [
    Implicit(linear=ConjugateGradient(iterations=3)),
    Implicit(linear=MINRES(iterations=3)),
    Implicit(linear=Neumann(terms=3, scale=0.05)),
    Implicit(linear=Nystrom(rank=4, damping=20.0)),
    Unrolled(steps=3, optimizer=SGD(rate=0.2)),
    Unrolled(steps=5, optimizer=Momentum(rate=0.1), truncate=3, checkpointing=True),
    Unrolled(steps=2, optimizer=Adam(rate=0.1)),
    FiniteDifference(rate=0.2),
    ForwardMode(rate=0.2),
]
IDS = [f"{type(s).__name__}-{type(getattr(s, 'linear', None)).__name__}" for s in SOLVERS]


def data(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, SIZE, generator=generator, dtype=torch.float64), torch.randn(
        8, generator=generator, dtype=torch.float64
    )


def squared(params, batch):
    return (batch[0] @ (params["a"] * params["b"]) - batch[1]).square()


def problem(outer, weights=lambda hyper, batch: hyper["logits"].sigmoid(), **options):
    loss = WeightedLoss(
        losses=lambda params, buffers, batch: (squared(params, batch), buffers),
        weights=weights,
        rest=lambda params, buffers, batch: params["a"].square().sum() + params["b"].square().sum(),
    )
    return BilevelProblem(inner_loss=loss, outer_loss=outer, **options)


def mean_squared(params, hyper, buffers, batch):
    return squared(params, batch).mean(), buffers


def solve(chosen, solver, hyper=None, **options):
    params = {"a": torch.linspace(0.5, 1, SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    hyper = hyper or {"logits": torch.linspace(-1, 1, 8, dtype=torch.float64)}
    return hypergradient(chosen, params, hyper, inner=[data(0)], outer=data(1), solver=solver, **options)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
@settings(max_examples=5, deadline=None)
@given(left=st.floats(-3, 3), right=st.floats(-3, 3))
def test_hypergradient__outer_losses_combined__linear_in_the_outer_gradient(solver, left, right):
    if isinstance(solver, FiniteDifference) or (abs(left) < 1e-3 and abs(right) < 1e-3):
        return  # the displacement depends on the outer gradient's length

    def absolute(params, hyper, buffers, batch):
        return squared(params, batch).add(1).log().mean(), buffers

    def combined(params, hyper, buffers, batch):
        return left * mean_squared(params, hyper, buffers, batch)[0] + right * absolute(params, hyper, buffers, batch)[
            0
        ], {}

    together = solve(problem(combined), solver).grads["logits"]
    apart = [solve(problem(outer), solver).grads["logits"] for outer in (mean_squared, absolute)]
    if isinstance(solver, Implicit) and isinstance(solver.linear, (ConjugateGradient, MINRES)):
        # Krylov solvers are linear in the right-hand side only once they have converged.
        solver = type(solver)(linear=type(solver.linear)(iterations=40, tolerance=1e-13))
        together = solve(problem(combined), solver).grads["logits"]
        apart = [solve(problem(outer), solver).grads["logits"] for outer in (mean_squared, absolute)]
    torch.testing.assert_close(together, left * apart[0] + right * apart[1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
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
    if isinstance(getattr(solver, "linear", None), Nystrom):
        return  # its random directions are not those of another order of parameters
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


class Once(torch.autograd.Function):
    """A square whose backward cannot be differentiated."""

    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value)
        return value.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


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


def test_hypergradient__inference_mode__error_says_so():
    with torch.inference_mode(), pytest.raises(HypergradientError, match="inference_mode"):
        solve(problem(mean_squared), SOLVERS[0])


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


def test_hypergradient__someone_else_s_runtime_error__passes_unchanged():
    def broken(params, hyper, buffers, batch):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else") as caught:
        solve(problem(broken), SOLVERS[0])
    assert caught.value.__cause__ is None


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


def test_exact_head__cross_entropy__implicit_gradient_at_its_optimum():
    torch.manual_seed(0)
    net = FunctionalModule(nn.Sequential(nn.Linear(5, 3), nn.Tanh()).double())
    inputs, labels = torch.randn(12, 5, dtype=torch.float64), torch.randint(4, (12,))
    loss = LinearHeadLoss(
        features=lambda hyper, buffers, batch: net(hyper, buffers, batch[0]),
        targets=lambda batch: batch[1],
        weight_decay=0.05,
    )

    def outer(params, hyper, buffers, batch):
        features, buffers = net(hyper, buffers, batch[0])
        return F.cross_entropy(features @ params["weight"][:, :-1].T + params["weight"][:, -1], batch[1]), buffers

    chosen = BilevelProblem(inner_loss=loss, outer_loss=outer)
    arguments = {"inner": [(inputs, labels)], "outer": (inputs + 0.5, labels), "buffers": net.buffers}
    start = {"weight": torch.zeros(4, 4, dtype=torch.float64)}
    exact = hypergradient(chosen, start, net.params, **arguments, solver=ExactHead(tolerance=1e-8))
    assert exact.info.converged
    implicit = hypergradient(
        chosen, exact.params, net.params, **arguments, solver=Implicit(linear=MINRES(iterations=40))
    )
    for name, value in implicit.grads.items():
        torch.testing.assert_close(exact.grads[name], value, rtol=1e-5, atol=1e-8)
