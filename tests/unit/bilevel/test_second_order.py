"""Convolution and batch norm with fast second derivatives, against torch's own and against finite differences."""

import pytest
import torch
import torch.nn.functional as F

from auxo.bilevel.second_order import FastSecondDerivatives

CONVOLUTIONS = {
    "plain": ((3, 2, 6, 6), (4, 2, 3, 3), True, {}),
    "strided": ((2, 2, 7, 5), (3, 2, 3, 3), False, {"stride": 2, "padding": 1}),
    "pointwise": ((2, 3, 4, 4), (5, 3, 1, 1), True, {"stride": (2, 1)}),
    "grouped and dilated": ((2, 4, 7, 7), (6, 2, 3, 3), True, {"groups": 2, "dilation": (1, 2), "padding": (1, 2)}),
    "padding by name": ((2, 2, 5, 5), (3, 2, 3, 3), True, {"padding": "same"}),
}


def leaves(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def second_derivatives(function, arguments, is_fast):
    """Value, gradients, and the gradients of a combination of the gradients."""
    if is_fast:
        with FastSecondDerivatives():
            result = function(*arguments)
    else:
        result = function(*arguments)
    first = torch.autograd.grad(result.pow(3).sum(), arguments, create_graph=True)
    weights = leaves(*[value.shape for value in first])
    pairing = sum((value * weight.detach()).sum() for value, weight in zip(first, weights, strict=True))
    return [result, *first, *torch.autograd.grad(pairing, arguments, allow_unused=True, materialize_grads=True)]


def assert_same(function, arguments):
    ours, theirs = (second_derivatives(function, arguments, is_fast) for is_fast in (True, False))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution__second_derivatives__those_of_torch(name):
    images, weight, has_bias, options = CONVOLUTIONS[name]
    arguments = leaves(images, weight, *([(weight[0],)] if has_bias else []))
    assert_same(lambda *values: F.conv2d(*values, **options), arguments)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_convolution__memory_formats__second_derivatives_those_of_torch(memory_format):
    images, weight = leaves((3, 4, 6, 6), (4, 4, 3, 3))
    images = images.detach().contiguous(memory_format=memory_format).requires_grad_()
    assert_same(lambda *values: F.conv2d(*values, padding=1), [images, weight])


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (3, 3, 4, 5)], ids=["1d", "sequence", "2d"])
def test_batch_norm__second_derivatives__those_of_torch(shape):
    arguments = leaves(shape, (3,), (3,))

    def normalise(values, weight, bias):
        return F.batch_norm(values, torch.zeros(3).double(), torch.ones(3).double(), weight, bias, training=True)

    assert_same(normalise, arguments)


@pytest.mark.parametrize("which", [[0], [1], [2], [1, 2]], ids=["values", "weight", "bias", "both"])
def test_batch_norm__cotangents_of_some_gradients_only__those_of_torch(which):
    arguments = leaves((3, 3, 4, 5), (3,), (3,))

    def run():
        result = F.batch_norm(arguments[0], None, None, *arguments[1:], training=True)
        first = torch.autograd.grad(result.pow(3).sum(), arguments, create_graph=True)
        return torch.autograd.grad(
            sum(first[i].square().sum() for i in which), arguments, allow_unused=True, materialize_grads=True
        )

    with FastSecondDerivatives():
        ours = run()
    for mine, other in zip(ours, run(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_both__gradgradcheck__finite_differences():
    images, weight, scale, shift = leaves((3, 2, 4, 4), (3, 2, 3, 3), (3,), (3,))

    def layer(*values):
        with FastSecondDerivatives():
            hidden = F.conv2d(values[0], values[1], padding=1)
            return F.batch_norm(hidden, None, None, *values[2:], training=True)

    assert torch.autograd.gradcheck(layer, (images, weight, scale, shift))
    assert torch.autograd.gradgradcheck(layer, (images, weight, scale, shift))


def test_batch_norm__running_statistics__those_of_torch():
    values, weight, bias = leaves((5, 3, 2, 2), (3,), (3,))
    ours, theirs = ([torch.zeros(3).double(), torch.ones(3).double()] for _ in range(2))
    with FastSecondDerivatives():
        mine = F.batch_norm(values, *ours, weight, bias, training=True, momentum=0.3)
    other = F.batch_norm(values, *theirs, weight, bias, training=True, momentum=0.3)
    for left, right in zip([mine, *ours], [other, *theirs], strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    with FastSecondDerivatives():
        evaluated = F.batch_norm(values, *ours, weight, bias, training=False)
    assert torch.equal(evaluated, F.batch_norm(values, *ours, weight, bias, training=False))


@pytest.mark.parametrize("layer", ["convolution", "batch norm"])
def test_both__third_derivative__refused(layer):
    images, weight, scale = leaves((2, 1, 4, 4), (1, 1, 3, 3), (1,))
    with FastSecondDerivatives():
        if layer == "convolution":
            result = F.conv2d(images, weight).pow(4).sum()
        else:
            result = F.batch_norm(images, None, None, scale, scale, training=True).pow(4).sum()
    (first,) = torch.autograd.grad(result, images, create_graph=True)
    with pytest.raises(RuntimeError, match="third derivatives"):
        torch.autograd.grad(first.sum(), images, create_graph=True)


def test_convolution__autocast__values_and_gradients_are_torchs():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, 3, 6, 6), generator=generator)
    weight = torch.randn((4, 3, 3, 3), generator=generator, requires_grad=True)

    def run():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = F.conv2d(images, weight)
        return result, *torch.autograd.grad(result.float().square().mean(), weight)

    with FastSecondDerivatives():
        ours = run()
    assert ours[0].dtype == torch.bfloat16
    assert all(torch.equal(mine, other) for mine, other in zip(ours, run(), strict=True))


def relative_error(ours, exact):
    return float((ours.detach().double() - exact.detach()).norm() / exact.detach().norm())


def test_batch_norm__float32_in_channels_last__exact_to_seven_digits():
    generator = torch.Generator().manual_seed(0)
    values, gradient = (torch.randn((32, 4, 32, 32), generator=generator) for _ in range(2))
    values = (values + 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, bias = (torch.rand(4, generator=generator).requires_grad_() for _ in range(2))

    def run(values, weight, bias):
        result = F.batch_norm(values, None, None, weight, bias, training=True)
        return result, *torch.autograd.grad(result, [values, weight, bias], gradient.to(result.dtype))

    with FastSecondDerivatives():
        ours = run(values, weight, bias)
    exact = run(*(tensor.detach().double().requires_grad_() for tensor in (values, weight, bias)))
    for mine, other in zip(ours, exact, strict=True):
        assert relative_error(mine, other) < 5e-7


def test_graph__convolution_before_batch_norm__keeps_no_gradient_of_its_own():
    """The image, the convolution's result, the gradient that comes in: three tensors, and no fourth."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((4, 8, 16, 16), generator=generator, requires_grad=True)
    weight = torch.randn((8, 8, 3, 3), generator=generator, requires_grad=True)
    scale, shift = (torch.ones(8, requires_grad=True) for _ in range(2))
    kept = {}

    def keep(tensor):
        if tensor.shape == images.shape:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FastSecondDerivatives():
        hidden = F.conv2d(images, weight, padding=1)
        result = F.batch_norm(hidden, None, None, scale, shift, training=True)
        incoming = torch.randn(result.shape, generator=generator, requires_grad=True)
        first = torch.autograd.grad(result, [images, weight], incoming, create_graph=True)
    assert len(kept) == 3
    second = torch.autograd.grad(first[1].square().sum(), [images, weight, scale, incoming])
    plain = F.batch_norm(F.conv2d(images, weight, padding=1), None, None, scale, shift, training=True)
    first = torch.autograd.grad(plain, [images, weight], incoming, create_graph=True)
    expected = torch.autograd.grad(first[1].square().sum(), [images, weight, scale, incoming])
    for mine, other in zip(second, expected, strict=True):
        assert relative_error(mine, other.double()) < 1e-5
