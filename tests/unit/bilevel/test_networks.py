"""Every solver against finite differences on networks with batch norm, attention, tied and unused weights."""

import pytest
import torch

from auxo.bilevel import (
    MINRES,
    SGD,
    Adam,
    CompositeLoss,
    ConjugateGradient,
    FiniteDifference,
    ForwardMode,
    Implicit,
    Momentum,
    Nystrom,
    Penalty,
    Unrolled,
    hypergradient,
)

from .networks import NETWORKS, Case, central_difference, directional

DIRECTION = {
    "logits": torch.tensor([0.3, -1.0, 0.7, 0.2, -0.4, 1.1], dtype=torch.float64),
    "log_pull": torch.tensor(0.6, dtype=torch.float64),
}


@pytest.fixture(params=NETWORKS)
def case(request):
    return Case(request.param)


def steps_by_hand(case, hyper, optimizer, steps):
    """The outer loss after inner steps of torch's own optimiser."""
    leaves = {name: value.clone().requires_grad_() for name, value in case.params.items()}
    rate = float(hyper["rate"]) if "rate" in hyper else optimizer.rate
    torch_optimizer = {
        SGD: lambda: torch.optim.SGD(leaves.values(), lr=rate),
        Momentum: lambda: torch.optim.SGD(leaves.values(), lr=rate, momentum=0.9),
        Adam: lambda: torch.optim.Adam(leaves.values(), lr=rate),
    }[type(optimizer)]()
    buffers = case.buffers
    for _ in range(steps):
        loss, buffers = case.inner_loss(leaves, hyper, buffers, case.inner[0])
        torch_optimizer.zero_grad()
        loss.backward()
        torch_optimizer.step()
    with torch.no_grad():
        return case.outer_loss(leaves, hyper, buffers, case.outer)[0]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("optimizer", [SGD(rate=0.1), Momentum(rate=0.05), Adam(rate=0.01)], ids=repr)
def test_unrolled__three_steps__finite_differences_of_torch_s_optimiser(case, optimizer, checkpointing):
    solver = Unrolled(steps=3, optimizer=optimizer, checkpointing=checkpointing)
    result = hypergradient(case.problem, case.params, case.hyper, **case.arguments(), solver=solver)
    expected = central_difference(lambda h: steps_by_hand(case, h, optimizer, 3), case.hyper, DIRECTION, 1e-5)
    torch.testing.assert_close(directional(result.grads, DIRECTION), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", [SGD, Momentum, Adam])
def test_unrolled__learnt_rate__finite_differences(kind):
    case = Case("conv")
    hyper = {**case.hyper, "rate": torch.tensor(0.05, dtype=torch.float64)}
    solver = Unrolled(steps=3, optimizer=kind(rate="rate"))
    result = hypergradient(case.problem, case.params, hyper, **case.arguments(), solver=solver)
    direction = {
        **{name: torch.zeros_like(value) for name, value in hyper.items()},
        "rate": hyper["rate"] / hyper["rate"],
    }
    expected = central_difference(lambda h: steps_by_hand(case, h, kind(rate=1.0), 3), hyper, direction, 1e-6)
    torch.testing.assert_close(result.grads["rate"], expected, rtol=1e-5, atol=1e-8)


def test_unrolled__a_rate_for_each_parameter__their_sum_is_the_common_rate_s_gradient():
    case = Case("conv")
    one = torch.tensor(0.05, dtype=torch.float64)
    common = {**case.hyper, "rate": one}
    own = {**case.hyper, **{f"rate.{name}": one.clone() for name in case.params}}
    results = [
        hypergradient(
            case.problem, case.params, hyper, **case.arguments(), solver=Unrolled(steps=2, optimizer=SGD(rate="rate"))
        )
        for hyper in (common, own)
    ]
    total = sum(results[1].grads[f"rate.{name}"] for name in case.params)
    torch.testing.assert_close(total, results[0].grads["rate"])
    torch.testing.assert_close(results[1].grads["logits"], results[0].grads["logits"])


@pytest.mark.parametrize(
    "solver", [FiniteDifference(rate=0.2, epsilon=1e-4), Unrolled(optimizer=SGD(rate=0.2))], ids=repr
)
def test_one_step__every_network__finite_differences(case, solver):
    result = hypergradient(case.problem, case.params, case.hyper, **case.arguments(), solver=solver)
    expected = central_difference(lambda h: steps_by_hand(case, h, SGD(rate=0.2), 1), case.hyper, DIRECTION, 1e-5)
    torch.testing.assert_close(directional(result.grads, DIRECTION), expected, rtol=1e-5, atol=1e-9)


def test_forward_mode__every_network__one_unrolled_step(case):
    results = [
        hypergradient(case.weighted(), case.params, case.hyper, **case.arguments(), solver=solver)
        for solver in (ForwardMode(rate=0.2), Unrolled(optimizer=SGD(rate=0.2)))
    ]
    torch.testing.assert_close(results[0].grads["logits"], results[1].grads["logits"], rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(results[0].outer_loss, results[1].outer_loss)


def minimum(case, hyper):
    """The inner minimum near the start, by Newton's method with the dense Hessian."""
    names = list(case.params)
    shapes = [case.params[name].shape for name in names]
    sizes = [shape.numel() for shape in shapes]

    def loss(vector):
        pieces = vector.split(sizes)
        params = {n: piece.view(shape) for n, piece, shape in zip(names, pieces, shapes, strict=True)}
        return case.inner_loss(params, hyper, case.buffers, case.inner[0])[0]

    vector = torch.cat([value.reshape(-1) for value in case.params.values()])
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for _ in range(6):
            vector = vector.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(vector), vector, create_graph=True)
            eye = torch.eye(len(vector), dtype=vector.dtype)
            (hessian,) = torch.autograd.grad(gradient, vector, eye, is_grads_batched=True)
            vector = vector - torch.linalg.solve(hessian, gradient.detach())
    assert gradient.norm() < 1e-10
    return {n: p.view(s) for n, p, s in zip(names, vector.detach().split(sizes), shapes, strict=True)}


LINEAR = [
    ConjugateGradient(iterations=400, tolerance=1e-11),
    MINRES(iterations=400, tolerance=1e-11),
]


@pytest.mark.parametrize("linear", LINEAR, ids=["cg", "minres"])
def test_implicit__at_the_minimum__finite_differences_of_the_minimum(case, linear):
    at = minimum(case, case.hyper)
    result = hypergradient(case.problem, at, case.hyper, **case.arguments(), solver=Implicit(linear=linear))
    assert result.info.converged

    def outer(hyper):
        return case.outer_loss(minimum(case, hyper), hyper, case.buffers, case.outer)[0]

    expected = central_difference(outer, case.hyper, DIRECTION, 1e-4)
    torch.testing.assert_close(directional(result.grads, DIRECTION), expected.detach(), rtol=1e-5, atol=1e-8)


def test_nystrom__full_rank_through_batch_norm__conjugate_gradients():
    case = Case("conv")
    solvers = [Nystrom(rank=60, damping=0.1), ConjugateGradient(iterations=200, damping=0.1, tolerance=1e-12)]
    results = [
        hypergradient(case.problem, case.params, case.hyper, **case.arguments(), solver=Implicit(linear=linear))
        for linear in solvers
    ]
    torch.testing.assert_close(results[0].grads["logits"], results[1].grads["logits"], rtol=1e-7, atol=1e-10)


def test_penalty__large_weight__implicit_gradient():
    case = Case("conv")
    at = minimum(case, case.hyper)
    solver = Penalty(weight=1e3, steps=80, optimizer=SGD(rate=0.4))
    penalty = hypergradient(case.problem, at, case.hyper, **case.arguments(), solver=solver)
    exact = hypergradient(case.problem, at, case.hyper, **case.arguments(), solver=Implicit(linear=LINEAR[0]))
    torch.testing.assert_close(penalty.grads["logits"], exact.grads["logits"], rtol=2e-2, atol=1e-5)


def test_gauss_newton__network__dense_generalised_gauss_newton_matrix():
    case = Case("conv")

    def outputs(params, hyper, buffers, batch):
        return case.net(params, buffers, batch[0])

    def criterion(logits, hyper, batch):
        losses = torch.nn.functional.cross_entropy(logits, batch[1], reduction="none")
        return (hyper["logits"].sigmoid() * losses).mean()

    loss = CompositeLoss(
        outputs=outputs,
        criterion=criterion,
        penalty=lambda params, hyper: hyper["log_pull"].exp() * sum(v.square().sum() for v in params.values()),
    )
    names = list(case.params)

    def logits_of(*values):
        return outputs(dict(zip(names, values, strict=True)), case.hyper, case.buffers, case.inner[0])[0]

    blocks = torch.autograd.functional.jacobian(logits_of, tuple(case.params.values()))
    jacobian = torch.cat([block.reshape(18, -1) for block in blocks], dim=1)
    probs = logits_of(*case.params.values()).softmax(1).detach()
    weights = case.hyper["logits"].sigmoid() / 6
    curvature = torch.block_diag(*(w * (p.diag() - p.outer(p)) for w, p in zip(weights, probs, strict=True)))
    matrix = jacobian.T @ curvature @ jacobian
    matrix = matrix + 2 * case.hyper["log_pull"].exp() * torch.eye(len(matrix), dtype=torch.float64)
    problem = type(case.problem)(inner_loss=loss, outer_loss=case.outer_loss)
    leaves = {name: value.clone().requires_grad_() for name, value in case.params.items()}
    slope = torch.autograd.grad(case.outer_loss(leaves, {}, case.buffers, case.outer)[0], [*leaves.values()])
    expected = torch.linalg.solve(matrix, torch.cat([value.reshape(-1) for value in slope]))
    for linear in (ConjugateGradient(iterations=200, tolerance=1e-12), Nystrom(rank=60, damping=1e-6)):
        solver = Implicit(linear=linear, curvature="gauss_newton")
        adjoint = hypergradient(problem, case.params, case.hyper, **case.arguments(), solver=solver).info.adjoint
        flat = torch.cat([adjoint[name].reshape(-1) for name in names])
        torch.testing.assert_close(flat, expected, rtol=1e-4, atol=1e-7)
