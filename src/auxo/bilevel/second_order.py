"""Convolution and batch norm whose second derivatives are made of the same fast kernels as their first.

torch differentiates the gradient of a convolution's weight by another convolution whose kernel is as large as the
image, and the gradient of batch norm by some fifty passes over memory. Here both are written out.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["FastSecondDerivatives"]

_Context: TypeAlias = Any  # torch's type for it has no attributes of one's own
_Gradients: TypeAlias = tuple[Tensor | None, ...]


class _Convolution(torch.autograd.Function):
    """A two-dimensional convolution; ``options`` are stride, padding, dilation and groups."""

    @staticmethod
    def forward(ctx: _Context, images: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.options, ctx.has_bias = options, bias is not None
        return torch.conv2d(images, weight, bias, *options)

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> _Gradients:
        images, weight = ctx.saved_tensors
        wanted = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.has_bias and ctx.needs_input_grad[2])
        parts = _convolution_gradient(gradient, images, weight, ctx.options, wanted)
        return (*(part if is_wanted else None for part, is_wanted in zip(parts, wanted, strict=True)), None)


class _ConvolutionGradient(torch.autograd.Function):
    """The gradients of a convolution in its images, weight and bias, each bilinear in what it is made of."""

    @staticmethod
    def forward(
        ctx: _Context,
        gradient: Tensor,
        images: Tensor,
        weight: Tensor,
        options: tuple[Any, ...],
        wanted: tuple[bool, bool, bool],
    ) -> _Gradients:
        ctx.save_for_backward(gradient, images, weight)
        ctx.options = options
        ctx.set_materialize_grads(False)
        return _gradients(gradient, images, weight, options, wanted)

    @staticmethod
    def backward(
        ctx: _Context, in_images: Tensor | None, in_weight: Tensor | None, in_bias: Tensor | None
    ) -> _Gradients:
        _refuse_third_derivatives()
        gradient, images, weight = ctx.saved_tensors
        through: Tensor | None = None
        if ctx.needs_input_grad[0]:
            if in_images is not None:
                through = torch.conv2d(in_images, weight, in_bias, *ctx.options)
            if in_weight is not None:
                moved = torch.conv2d(images, in_weight, in_bias if in_images is None else None, *ctx.options)
                through = moved if through is None else through.add_(moved)
            if through is None and in_bias is not None:
                through = in_bias.view(1, -1, 1, 1).expand_as(gradient)
        # The gradient in the images is bilinear in (gradient, weight), that in the weight in (gradient, images).
        wanted = (
            ctx.needs_input_grad[1] and in_weight is not None,
            ctx.needs_input_grad[2] and in_images is not None,
            False,
        )
        if not any(wanted):
            return through, None, None, None, None
        parts = _gradients(
            gradient,
            images if in_images is None else in_images,
            weight if in_weight is None else in_weight,
            ctx.options,
            wanted,
        )
        return through, parts[0], parts[1], None, None


def _gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, options: tuple[Any, ...], wanted: tuple[bool, bool, bool]
) -> _Gradients:
    """Return a convolution's gradients in its images, weight and bias; ``None`` for those that are not wanted."""
    stride, padding, dilation, groups = options
    parts: _Gradients = torch.ops.aten.convolution_backward(
        gradient, images, weight, [len(weight)], stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return parts


class _BatchNorm(torch.autograd.Function):
    """Batch norm by the batch's statistics, which are returned with its result: ``(normalised, mean, 1 / std)``."""

    @staticmethod
    def forward(
        ctx: _Context,
        values: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor | None, Tensor | None],
        momentum: float,
        eps: float,
    ) -> Tensor:
        result, mean, inverse = torch.native_batch_norm(values, weight, bias, *running, True, momentum, eps)
        ctx.save_for_backward(values, weight, mean, inverse)
        ctx.eps = eps
        return result

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> _Gradients:
        values, weight, mean, inverse = ctx.saved_tensors
        parts = _batch_norm_gradient(gradient, values, weight, mean, inverse, ctx.eps)
        return (*parts, None, None, None)


class _BatchNormGradient(torch.autograd.Function):
    r"""The gradients of batch norm in its values, weight and bias.

    With ``z`` the normalised values, ``s = 1 / std``, ``[.]`` the mean over a channel and
    ``P(g) = s (g - [g] - z [g z])``, they are ``weight P(g)``, ``sum(g z)`` and ``sum(g)``. For cotangents ``u, a, b``
    of the three, with ``w`` the weight,

    .. math:: w P(u) + a z + b, \quad a P(g) - s w ([g z] P(u) + [u z] P(g) + [u P(g)] z), \quad \sum u P(g)

    are the gradients in ``g``, in the values and in the weight.
    """

    @staticmethod
    def forward(
        ctx: _Context, gradient: Tensor, values: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, eps: float
    ) -> _Gradients:
        ctx.save_for_backward(gradient, values, weight, mean, inverse)
        ctx.eps = eps
        ctx.set_materialize_grads(False)
        parts: _Gradients = torch.ops.aten.native_batch_norm_backward(
            gradient, values, weight, None, None, mean, inverse, True, eps, [True, True, True]
        )
        return parts

    @staticmethod
    def backward(
        ctx: _Context, in_values: Tensor | None, in_weight: Tensor | None, in_bias: Tensor | None
    ) -> _Gradients:
        _refuse_third_derivatives()
        gradient, values, weight, mean, inverse = ctx.saved_tensors
        shape = (1, -1, *(1,) * (values.dim() - 2))
        count = values.numel() / values.shape[1]
        zero = torch.zeros_like(weight)
        in_weight, in_bias = (zero if part is None else part for part in (in_weight, in_bias))

        def project(cotangent: Tensor) -> tuple[Tensor, Tensor]:
            """Return ``P`` of a cotangent and the mean of its product with the normalised values."""
            parts = torch.ops.aten.native_batch_norm_backward(
                cotangent, values, None, None, None, mean, inverse, True, ctx.eps, [True, True, False]
            )
            return parts[0], parts[1] / count

        along_gradient, gradient_mean = project(gradient)
        if in_values is None:
            # Only the weight's and the bias's cotangents: a z + b and a P(g).
            slope = in_weight * inverse
            through = (values * slope.view(shape)).add_((in_bias - slope * mean).view(shape))
            return through, along_gradient.mul_(in_weight.view(shape)), zero, None, None, None
        along, cotangent_mean = project(in_values)
        axes = [0, *range(2, values.dim())]
        paired = (in_values * along_gradient).sum(axes)
        scale = inverse * weight
        slope = -scale * paired / count * inverse
        second = values * slope.view(shape)
        second.add_((-slope * mean).view(shape))
        second.addcmul_(along, (-scale * gradient_mean).view(shape))
        second.addcmul_(along_gradient, (in_weight - scale * cotangent_mean).view(shape))
        slope = in_weight * inverse
        through = along.mul_(weight.view(shape)).addcmul_(values, slope.view(shape))
        through.add_((in_bias - slope * mean).view(shape))
        return through, second, paired, None, None, None


_convolution: Callable[..., Any] = _Convolution.apply
_convolution_gradient: Callable[..., _Gradients] = _ConvolutionGradient.apply
_batch_norm: Callable[..., Any] = _BatchNorm.apply
_batch_norm_gradient: Callable[..., _Gradients] = _BatchNormGradient.apply


def _refuse_third_derivatives() -> None:
    """Raise if a graph of a second derivative is being built: nothing here could be differentiated again."""
    if torch.is_grad_enabled():
        raise RuntimeError("third derivatives are not implemented within FastSecondDerivatives")


class FastSecondDerivatives(TorchFunctionMode):
    """Within the block, ``conv2d`` and ``batch_norm`` in training have fast second derivatives; third ones are refused.

    Values and first derivatives are those of torch's own kernels; on the CPU convolutions run in channels_last. Calls
    with arguments that are not covered (padding by name, images without a batch, no weight or bias in batch norm,
    normalisation by running statistics) go their usual way.
    """

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Replace the two functions where the tensor to act on comes first by position, pass on all other calls."""
        if function is torch.conv2d and args:
            return _convolve(*args, **(kwargs or {}))
        if function is functional.batch_norm and args:
            return _normalise(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve as :func:`torch.conv2d` does."""
    if isinstance(padding, str) or images.dim() != 4 or images.dtype != weight.dtype:
        return torch.conv2d(images, weight, bias, stride, padding, dilation, groups)
    if images.device.type == "cpu":
        # The kernels are up to twice as fast with a pixel's channels side by side; what follows keeps the format.
        images = images.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)
    pairs = [[value, value] if isinstance(value, int) else list(value) for value in (stride, padding, dilation)]
    result: Tensor = _convolution(images, weight, bias, (*pairs, groups))
    return result


def _normalise(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise as :func:`torch.nn.functional.batch_norm` does."""
    is_covered = training and weight is not None and bias is not None and values.dtype == weight.dtype
    if not is_covered or values.numel() // values.shape[1] < 2:
        return functional.batch_norm(values, running_mean, running_var, weight, bias, training, momentum, eps)
    result: Tensor = _batch_norm(values, weight, bias, (running_mean, running_var), momentum, eps)
    return result
