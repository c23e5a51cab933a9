"""Every solver against hypergradients worked out by hand, in float64."""

import itertools
import math
import re

import pytest
import torch

from auxo.bilevel import (
    MINRES,
    SGD,
    Adam,
    BilevelProblem,
    CompositeLoss,
    ConjugateGradient,
    ExactHead,
    FirstOrder,
    Implicit,
    LinearHeadLoss,
    Momentum,
    Neumann,
    Nystrom,
    Penalty,
    Unrolled,
    hypergradient,
)

from .bilevel_closed_forms import quadratic, ridge

PROBLEMS = {
    "ridge": ridge,
    "condition 1": lambda: quadratic(1),
    "condition 1e2": lambda: quadratic(1e2),
    "condition 1e4": lambda: quadratic(1e4),
}


@pytest.fixture(params=PROBLEMS)
def closed_form(request):
    return PROBLEMS[request.param]()


def run(case, solver, **options):
    return hypergradient(
        case.problem, case.params, case.hyper, inner=case.inner, outer=case.outer, solver=solver, **options
    )


def relative_error(result, exact):
    error = torch.cat([(result.grads[name] - value).reshape(-1) for name, value in exact.items()]).norm()
    return float(error / torch.cat([value.reshape(-1) for value in exact.values()]).norm())


@pytest.mark.parametrize(
    "linear",
    [
        ConjugateGradient(iterations=60, tolerance=2e-11),
        ConjugateGradient(iterations=60, tolerance=2e-11, damping=0.1),
        ConjugateGradient(
            iterations=40, tolerance=2e-11, preconditioner=lambda v: v / torch.linspace(1, 2, len(v)).to(v)
        ),
        MINRES(iterations=60, tolerance=2e-11),
        MINRES(iterations=60, tolerance=2e-11, damping=0.1),
        Nystrom(rank=12, damping=1e-3),
        Nystrom(rank=12, damping=1e-3, sampling="columns", batch_size=5),
    ],
    ids=lambda linear: re.sub(r" at 0x\w+", "", repr(linear)),
)
def test_implicit__exact_linear_solver__closed_form_to_1e_8(closed_form, linear):
    result = run(closed_form, Implicit(linear=linear))
    assert relative_error(result, closed_form.exact(linear.damping)) < 1e-8
    assert result.info.converged
    assert result.info.residual < 1e-9


@pytest.mark.parametrize(
    "linear", [ConjugateGradient(iterations=2), MINRES(iterations=2), Nystrom(rank=4, damping=1e-2)]
)
def test_implicit__warm_start_at_the_solution__keeps_it(closed_form, linear):
    exact = run(closed_form, Implicit(linear=ConjugateGradient(iterations=60, damping=linear.damping, tolerance=1e-14)))
    result = run(closed_form, Implicit(linear=linear), warm_start=exact.info.adjoint)
    assert relative_error(result, closed_form.exact(linear.damping)) < 1e-8
    assert result.info.hessian_products == {"Nystrom": 4 + 2}.get(type(linear).__name__, 4)


@pytest.mark.parametrize("condition", [1, 1e2, 1e4])
@pytest.mark.parametrize("terms", [5, 40])
def test_neumann__terms__error_in_the_adjoint_is_the_power_of_the_contraction(condition, terms):
    case = quadratic(condition)
    result = run(case, Implicit(linear=Neumann(terms=terms, scale=0.9)))
    size = len(case.hessian)
    solution = torch.cat([case.params["head"], case.params["tail"]])
    right = solution - case.outer
    adjoint = torch.cat([result.info.adjoint["head"], result.info.adjoint["tail"]])
    left = torch.linalg.matrix_power(torch.eye(size, dtype=torch.float64) - 0.9 * case.hessian, terms) @ right
    torch.testing.assert_close(right - case.hessian @ adjoint, left, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.info.residual, left.norm() / right.norm(), rtol=1e-6, atol=1e-15)


def test_neumann__automatic_scale__within_its_bounds_and_convergent():
    case = quadratic(10)
    result = run(case, Implicit(linear=Neumann(terms=300, tolerance=1e-6)))
    assert result.info.converged
    assert result.info.hessian_products == 305
    assert relative_error(result, case.exact()) < 1e-5


@pytest.mark.parametrize("condition", [1e2, 1e4])
def test_conjugate_gradient__fewer_iterations__error_below_chebyshev_bound_and_falling(condition):
    case = quadratic(condition)
    root = math.sqrt(condition)
    right = torch.cat([case.params["head"], case.params["tail"]]) - case.outer
    exact = torch.linalg.solve(case.hessian, right)
    norms = []
    for iterations in range(1, 10):
        adjoint = run(case, Implicit(linear=ConjugateGradient(iterations=iterations))).info.adjoint
        error = torch.cat([adjoint["head"], adjoint["tail"]]) - exact
        norms.append(float((error @ case.hessian @ error).sqrt() / (exact @ case.hessian @ exact).sqrt()))
        assert norms[-1] <= 2 * ((root - 1) / (root + 1)) ** iterations
    assert norms == sorted(norms, reverse=True)


@pytest.mark.parametrize(
    ("optimizer", "steps", "checkpointing"),
    [(SGD(rate=0.5), 300, False), (SGD(rate=0.5), 300, True), (Momentum(rate=0.4, momentum=0.6), 150, True)],
    ids=repr,
)
@pytest.mark.parametrize("problem", [ridge, lambda: quadratic(1), lambda: quadratic(5)], ids=["ridge", "1", "5"])
def test_unrolled__until_nothing_moves__closed_form_to_1e_8(problem, optimizer, steps, checkpointing):
    case = problem()
    start = {name: torch.zeros_like(value) for name, value in case.params.items()}
    solver = Unrolled(steps=steps, optimizer=optimizer, checkpointing=checkpointing)
    result = run(case._replace(params=start), solver)
    assert relative_error(result, case.exact()) < 1e-8
    for name, value in case.params.items():
        torch.testing.assert_close(result.params[name], value, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("condition", [1e2, 1e4])
def test_unrolled__truncated__error_falls_as_the_contraction(condition):
    case = quadratic(condition)
    matrix, size = case.hessian, len(case.hessian)
    contraction = torch.eye(size, dtype=torch.float64) - 0.9 * matrix
    right = torch.cat([case.params["head"], case.params["tail"]]) - case.outer
    for kept in (1, 10, 100):
        # At the solution every step stays there, and k of them see the first k terms of the geometric series.
        series = sum(
            (torch.linalg.matrix_power(contraction, i) @ right for i in range(kept)), torch.zeros(size).double()
        )
        full = torch.linalg.solve(matrix, right) - torch.linalg.matrix_power(contraction, kept) @ torch.linalg.solve(
            matrix, right
        )
        torch.testing.assert_close(0.9 * series, full, rtol=1e-8, atol=1e-10)
        result = run(case, Unrolled(steps=120, optimizer=SGD(rate=0.9), truncate=kept))
        damped = run(case, Implicit(linear=Neumann(terms=kept, scale=0.9)))
        torch.testing.assert_close(result.grads["h"], damped.grads["h"], rtol=1e-9, atol=1e-11)


def test_penalty__ten_times_the_weight__a_tenth_of_the_error():
    case = quadratic(10)
    errors = [
        relative_error(run(case, Penalty(weight=weight, steps=400, optimizer=SGD(rate=0.9))), case.exact())
        for weight in (1e2, 1e3, 1e4)
    ]
    for more, less in itertools.pairwise(errors):
        assert less / more == pytest.approx(0.1, rel=0.15)


def test_nystrom__rank_below_the_spectrum__error_of_the_size_of_the_eigenvalues_left_out():
    case = quadratic(1e4)
    errors = [
        relative_error(run(case, Implicit(linear=Nystrom(rank=rank, damping=0.01))), case.exact(0.01))
        for rank in (2, 4, 6, 8)
    ]
    left_out = [float(torch.linalg.eigvalsh(case.hessian).flip(0)[rank]) for rank in (2, 4, 6, 8)]
    for error, value in zip(errors, left_out, strict=True):
        assert error < 10 * value / 0.01


def test_implicit__away_from_the_solution__error_proportional_to_the_inner_gradient():
    case = ridge()
    solver = Implicit(linear=ConjugateGradient(iterations=30, tolerance=2e-11))
    offset = torch.linspace(-1, 1, 6, dtype=torch.float64)
    errors = [
        relative_error(run(case._replace(params={"w": case.params["w"] + size * offset}), solver), case.exact())
        for size in (1e-2, 1e-3, 1e-4)
    ]
    for more, less in itertools.pairwise(errors):
        assert less / more == pytest.approx(0.1, rel=0.1)


def test_minres__indefinite_hessian__closed_form_of_the_saddle():
    case = quadratic(10)
    flipped = case.hessian - 0.5 * torch.eye(12, dtype=torch.float64)
    assert torch.linalg.eigvalsh(flipped)[0] < -0.1
    result = run(case._replace(inner=[flipped]), Implicit(linear=MINRES(iterations=60, tolerance=1e-12)))
    right = torch.cat([case.params["head"], case.params["tail"]]) - case.outer
    adjoint = torch.cat([result.info.adjoint["head"], result.info.adjoint["tail"]])
    torch.testing.assert_close(adjoint, torch.linalg.solve(flipped, right), rtol=1e-8, atol=1e-10)
    assert result.info.converged


def test_exact_head__least_squares__closed_form_of_ridge_regression():
    x, y = (torch.randn(20, k, dtype=torch.float64) for k in (4, 2))
    x_val, y_val = (torch.randn(15, k, dtype=torch.float64) for k in (4, 2))
    scale = torch.linspace(0.5, 1.5, 4, dtype=torch.float64)

    def with_ones(features):
        return torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], dim=1)

    def outer_value(scale, log_decay):
        inputs = with_ones(x * scale)
        matrix = inputs.T @ inputs / 20 + log_decay.exp() * torch.eye(5, dtype=torch.float64)
        head = torch.linalg.solve(matrix, inputs.T @ y / 20)
        return (with_ones(x_val * scale) @ head - y_val).square().mean()

    leaves = (scale.clone().requires_grad_(), torch.tensor(-2.0, dtype=torch.float64, requires_grad=True))
    expected = torch.autograd.grad(outer_value(*leaves), leaves)
    loss = LinearHeadLoss(
        features=lambda hyper, buffers, batch: (batch[0] * hyper["scale"], buffers),
        targets=lambda batch: batch[1],
        criterion="least_squares",
        weight_decay=lambda hyper: hyper["log_decay"].exp(),
    )

    def outer(params, hyper, buffers, batch):
        return (with_ones(batch[0] * hyper["scale"]) @ params["weight"].T - batch[1]).square().mean(), buffers

    result = hypergradient(
        BilevelProblem(inner_loss=loss, outer_loss=outer),
        {"weight": torch.zeros(2, 5, dtype=torch.float64)},
        {"scale": leaves[0], "log_decay": leaves[1]},
        inner=[(x, y)],
        outer=(x_val, y_val),
        solver=ExactHead(),
    )
    torch.testing.assert_close(result.grads["scale"], expected[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(result.grads["log_decay"], expected[1], rtol=1e-10, atol=1e-12)
    again = hypergradient(
        BilevelProblem(inner_loss=loss, outer_loss=outer),
        result.params,
        {"scale": leaves[0], "log_decay": leaves[1]},
        inner=[(x, y)],
        outer=(x_val, y_val),
        solver=Implicit(linear=ConjugateGradient(iterations=30, tolerance=2e-11)),
    )
    torch.testing.assert_close(again.grads["scale"], expected[0], rtol=1e-8, atol=1e-10)


def test_gauss_newton__linear_model__is_the_hessian():
    case = ridge()
    loss = CompositeLoss(
        outputs=lambda params, hyper, buffers, batch: (batch[0] @ params["w"], buffers),
        criterion=lambda outputs, hyper, batch: (outputs - batch[1]).square().mean() / 2,
        penalty=lambda params, hyper: (hyper["log_penalty"].exp() * params["w"].square()).sum() / 2,
    )
    composite = case._replace(problem=BilevelProblem(inner_loss=loss, outer_loss=case.problem.outer_loss))
    for linear in (ConjugateGradient(iterations=30, tolerance=2e-11), Nystrom(rank=6, damping=1e-3)):
        result = run(composite, Implicit(linear=linear, curvature="gauss_newton"))
        assert relative_error(result, case.exact(linear.damping)) < 1e-8


def test_first_order__initialisation__gradient_at_the_last_step():
    case = quadratic(10)
    problem = BilevelProblem(
        inner_loss=lambda params, hyper, buffers, batch: (params["w"] @ batch @ params["w"] / 2, buffers),
        outer_loss=lambda params, hyper, buffers, batch: ((params["w"] - batch).square().sum() / 2, buffers),
        initial=lambda params, hyper: {"w": 2 * hyper["start"]},
    )
    start = torch.linspace(-1, 1, 12, dtype=torch.float64)
    contraction = torch.linalg.matrix_power(torch.eye(12, dtype=torch.float64) - 0.5 * case.hessian, 3)
    slope = contraction @ (2 * start) - case.outer
    arguments = {"inner": case.inner, "outer": case.outer}
    params, hyper = {"w": torch.zeros(12, dtype=torch.float64)}, {"start": start}
    first = hypergradient(problem, params, hyper, **arguments, solver=FirstOrder(steps=3, optimizer=SGD(rate=0.5)))
    exact = hypergradient(problem, params, hyper, **arguments, solver=Unrolled(steps=3, optimizer=SGD(rate=0.5)))
    torch.testing.assert_close(first.grads["start"], 2 * slope)
    torch.testing.assert_close(exact.grads["start"], 2 * contraction @ slope)


@pytest.mark.parametrize("optimizer", [SGD, Momentum, Adam])
def test_inner_optimizer__five_steps__torch_s_own(optimizer):
    case = quadratic(10)
    start = {name: torch.ones_like(value) for name, value in case.params.items()}
    result = run(case._replace(params=start), Unrolled(steps=5, optimizer=optimizer(rate=0.05)))
    tensors = [value.clone().requires_grad_() for value in start.values()]
    kinds = {
        SGD: lambda: torch.optim.SGD(tensors, lr=0.05),
        Momentum: lambda: torch.optim.SGD(tensors, lr=0.05, momentum=0.9),
        Adam: lambda: torch.optim.Adam(tensors, lr=0.05),
    }
    rival = kinds[optimizer]()
    for _ in range(5):
        rival.zero_grad()
        loss, _ = case.problem.inner_loss(dict(zip(start, tensors, strict=True)), case.hyper, {}, case.hessian)
        loss.backward()
        rival.step()
    for name, value in zip(start, tensors, strict=True):
        torch.testing.assert_close(result.params[name], value.detach(), rtol=1e-10, atol=1e-12)
