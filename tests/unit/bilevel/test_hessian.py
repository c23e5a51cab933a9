"""Products with the Hessian of one loss, all from one graph."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxo.bilevel import ConjugateGradient, FunctionalModule, HessianOperator, LayerwiseConjugateGradient
from auxo.errors import HypergradientError

from .networks import NETWORKS, images_and_labels
from .once_differentiable import Once


def make(name, dtype=torch.float64, count=6, seed=0):
    """A loss of a small network's parameters, and those."""
    torch.manual_seed(0)
    net = FunctionalModule(NETWORKS[name]().to(dtype).train())
    images, labels = images_and_labels(count, seed, dtype)
    buffers = net.buffers

    def loss(params):
        return F.cross_entropy(net(params, buffers, images)[0], labels)

    return loss, net.params


def direction(size, seed=0, dtype=torch.float64):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_product__small_networks__torch_s_own_second_derivative(name):
    loss, params = make(name)
    hessian = HessianOperator(loss, params)
    vector = direction(hessian.layout.size)
    points = {key: value.clone().requires_grad_() for key, value in params.items()}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        found = torch.autograd.grad(loss(points), [*points.values()], create_graph=True, materialize_grads=True)
    weights = [*hessian.layout.split(vector).values()]
    pairing = sum((value * weight).sum() for value, weight in zip(found, weights, strict=True))
    expected = torch.autograd.grad(pairing, [*points.values()], allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(hessian.product(vector), hessian.layout.flatten(expected), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(hessian.gradient(), hessian.layout.flatten([g.detach() for g in found]))
    assert not hessian.gradient().requires_grad


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product__from_one_graph__has_the_bits_of_graphs_built_anew(name, dtype):
    loss, params = make(name, dtype)
    kept = HessianOperator(loss, params)
    for seed in range(4):
        vector = direction(kept.layout.size, seed, dtype)
        product = kept.product(vector)
        assert torch.equal(product, HessianOperator(loss, params).product(vector))
        assert torch.equal(product, kept.product(vector))


def test_products__several_vectors__the_products_one_by_one():
    hessian = HessianOperator(*make("conv"))
    vectors = torch.stack([direction(hessian.layout.size, seed) for seed in range(3)])
    expected = torch.stack([hessian.product(vector) for vector in vectors])
    torch.testing.assert_close(hessian.products(vectors), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(hessian.operator(0.5).together(vectors), expected / 2, rtol=1e-10, atol=1e-12)


def test_layout__unreached_and_linear_parameters__are_in_it_with_zeros():
    params = {
        "reached": torch.tensor([1.0, 2.0]),
        "idle": torch.ones(3),
        "linear": torch.tensor([4.0]),
        "last": torch.tensor([[0.5]]),
    }
    hessian = HessianOperator(lambda p: p["reached"].pow(3).sum() * p["last"].sum() + 7 * p["linear"].sum(), params)
    assert hessian.layout.names == ("reached", "idle", "linear", "last")
    assert hessian.operator().sizes == (2, 3, 1, 1)
    assert hessian.gradient().tolist() == [1.5, 6.0, 0, 0, 0, 7.0, 9.0]
    assert hessian.product(torch.ones(7)).tolist() == [3.0 + 3.0, 6.0 + 12.0, 0, 0, 0, 0, 15.0]
    rows = hessian.products(torch.eye(7))
    torch.testing.assert_close(rows, rows.T)
    assert not rows[2:6].any()


def test_product__loss_linear_in_everything__is_zero():
    hessian = HessianOperator(lambda p: 2 * p["w"].sum(), {"w": torch.ones(3)})
    assert hessian.gradient().tolist() == [2.0] * 3
    assert hessian.product(torch.ones(3)).tolist() == [0.0] * 3


def test_operator__several_right_hand_sides__systems_solved_from_one_graph():
    loss, params = make("conv")
    hessian = HessianOperator(loss, params)
    size = hessian.layout.size
    dense = torch.stack([hessian.product(row) for row in torch.eye(size, dtype=torch.float64)])
    matrix = dense / 10 + torch.eye(size, dtype=torch.float64)
    for seed in range(2):
        right = direction(size, seed)
        for solver in (ConjugateGradient, LayerwiseConjugateGradient):
            answer = solver(iterations=30, damping=1.0).solve(hessian.operator(0.1), right)
            left = (matrix @ answer.solution - right).norm() / right.norm()
            torch.testing.assert_close(answer.residual, left, rtol=1e-3, atol=1e-11)
            assert answer.residual < (1e-9 if solver is ConjugateGradient else 0.1)


def test_mean__of_two_halves__is_the_joined_batch():
    images, labels = images_and_labels(8, 0)
    torch.manual_seed(0)
    net = FunctionalModule(nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 3)).double())

    def part(rows):
        return lambda params: F.cross_entropy(net(params, net.buffers, images[rows])[0], labels[rows])

    whole = HessianOperator(part(slice(8)), net.params)
    other = HessianOperator(part(slice(4, 8)), net.params)
    vector = direction(whole.layout.size)
    theirs = iter([other.product(vector), other.gradient()])
    ours = HessianOperator(part(slice(4)), net.params, mean=lambda mine: (mine + next(theirs)) / 2)
    torch.testing.assert_close(ours.product(vector), whole.product(vector), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(ours.gradient(), whole.gradient(), rtol=1e-10, atol=1e-13)


def test_product__within_autocast_and_no_grad__has_the_bits_of_outside():
    loss, params = make("conv", torch.float32)
    outside = HessianOperator(loss, params)
    vector = direction(outside.layout.size, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        inside = HessianOperator(loss, params)
        product, gradient = inside.product(vector), inside.gradient()
    assert product.dtype == torch.float32
    assert torch.equal(product, outside.product(vector))
    assert torch.equal(gradient, outside.gradient())


def test_hessian__bfloat16_parameters__products_in_float32():
    hessian = HessianOperator(lambda p: p["w"].pow(4).sum(), {"w": torch.tensor([1.0, 2.0]).bfloat16()})
    product = hessian.product(torch.tensor([1.0, 1.001]))
    assert product.dtype == torch.float32
    assert product.tolist() == pytest.approx([12.0, 48.048])


def test_hessian__parameters_and_buffers__are_left_as_they_were():
    torch.manual_seed(0)
    module = NETWORKS["conv"]().double().train()
    net = FunctionalModule(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    images, labels = images_and_labels(6, 0)
    hessian = HessianOperator(lambda p: F.cross_entropy(net(p, net.buffers, images)[0], labels), net.params)
    hessian.product(direction(hessian.layout.size))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_product__parameters_changed_in_place_since__error():
    params = {"w": torch.ones(3)}
    hessian = HessianOperator(lambda p: p["w"].pow(3).sum(), params)
    params["w"].add_(1)
    with pytest.raises(HypergradientError, match="change nothing in place for HessianOperator"):
        hessian.product(torch.ones(3))


def test_free__then_a_product__error_and_no_graph_left():
    hessian = HessianOperator(lambda p: torch.tanh(p["w"]).square().sum(), {"w": torch.ones(3)})
    hessian.product(torch.ones(3))
    gc.disable()
    try:
        graph = weakref.ref(hessian._graph)
        hessian.free()
        assert graph() is None
    finally:
        gc.enable()
    with pytest.raises(HypergradientError, match=r"one after free\(\)"):
        hessian.product(torch.ones(3))
    with pytest.raises(HypergradientError, match=r"one after free\(\)"):
        hessian.gradient()


def test_hessian__out_of_scope__gives_its_graph_back_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        hessian = HessianOperator(*make("conv"))
        hessian.operator().together(torch.ones(2, hessian.layout.size, dtype=torch.float64))
        graph = weakref.ref(hessian._graph)
        del hessian
        assert graph() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("loss", "params", "message"),
    [
        (lambda p: p["w"].square(), {"w": torch.ones(2)}, "the loss to return a scalar"),
        (
            lambda p: p["w"].detach().sum(),
            {"w": torch.ones(2)},
            "a loss that depends on its parameters, got a constant",
        ),
        (lambda p: Once.apply(p["w"]).exp().sum(), {"w": torch.ones(2)}, "differentiated twice"),
        (lambda p: torch.zeros(()), {}, "at least one parameter"),
        (lambda p: p["w"].sum(), {"w": torch.ones(2, dtype=torch.int64)}, "floating-point parameters"),
    ],
)
def test_hessian__loss_without_a_hessian__is_refused(loss, params, message):
    with pytest.raises(HypergradientError, match=message):
        HessianOperator(loss, params)
