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
from torch.utils.weak import WeakTensorKeyDictionary

_Context: TypeAlias = Any  # torch's type for it has no attributes of one's own
_Gradients: TypeAlias = tuple[Tensor | None, ...]

_MADE_OF = WeakTensorKeyDictionary()
"""What batch norm's gradient in its values is made of again. The convolution before it keeps these, which batch norm's
own node keeps anyway, instead of the gradient: a quarter less memory for the graph."""


_conv2d: Callable[..., Tensor] = torch.ops.aten.conv2d.default  # not a function that a surrounding mode replaces


class _Convolution(torch.autograd.Function):
    """A two-dimensional convolution; ``options`` are stride, padding, dilation and groups."""

    @staticmethod
    def forward(ctx: _Context, images: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.options, ctx.has_bias = options, bias is not None
        return _conv2d(images, weight, bias, *options)

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
        ctx.save_for_backward(images, weight, *_MADE_OF.get(gradient, (gradient,)))
        ctx.options = options
        ctx.set_materialize_grads(False)
        return _differentiate_convolution(gradient, images, weight, options, wanted)

    @staticmethod
    def backward(
        ctx: _Context, in_images: Tensor | None, in_weight: Tensor | None, in_bias: Tensor | None
    ) -> _Gradients:
        _refuse_third_derivatives()
        images, weight, *kept = ctx.saved_tensors
        # The gradient in the images is bilinear in (gradient, weight), that in the weight in (gradient, images).
        wanted = (
            ctx.needs_input_grad[1] and in_weight is not None,
            ctx.needs_input_grad[2] and in_images is not None,
            False,
        )
        second: _Gradients = (None, None, None)
        if any(wanted):
            second = _differentiate_convolution(
                kept[0] if len(kept) == 1 else _gradient_in_values(*kept),
                images if in_images is None else in_images,
                weight if in_weight is None else in_weight,
                ctx.options,
                wanted,
            )
        through: Tensor | None = None
        if ctx.needs_input_grad[0]:
            if in_images is not None:
                through = _conv2d(in_images, weight, in_bias, *ctx.options)
            if in_weight is not None:
                moved = _conv2d(images, in_weight, in_bias if in_images is None else None, *ctx.options)
                through = moved if through is None else through.add_(moved)
            if through is None and in_bias is not None:
                through = in_bias.view(1, -1, 1, 1).expand_as(kept[0])
        return through, second[0], second[1], None, None


def _differentiate_convolution(
    gradient: Tensor, images: Tensor, weight: Tensor, options: tuple[Any, ...], wanted: tuple[bool, bool, bool]
) -> _Gradients:
    """Return a convolution's gradients in its images, weight and bias; ``None`` for those that are not wanted."""
    stride, padding, dilation, groups = options
    parts: _Gradients = torch.ops.aten.convolution_backward(
        gradient, images, weight, [len(weight)], stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return parts


class _BatchNorm(torch.autograd.Function):
    """Batch norm by the batch's statistics.

    Sums are taken by kernels that add up in pairs. For channels_last on the CPU, torch's batch norm adds up one number
    after the other, which costs two of float32's seven digits in its result and four in a network's gradient.
    """

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
        mean = values.mean(_find_axes(values))
        centred = _centre_values(values, mean)
        variance = centred.square().mean(_find_axes(values))
        inverse = torch.rsqrt(variance + eps)
        running_mean, running_var = running
        if running_mean is not None and running_var is not None:
            count = values.numel() / values.shape[1]
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (count / (count - 1)), momentum)
        ctx.save_for_backward(values, weight, mean, inverse)
        return centred.mul_(_expand_channels(inverse * weight, values)).add_(_expand_channels(bias, values))

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> _Gradients:
        parts = _batch_norm_gradient(gradient, *ctx.saved_tensors)
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
        ctx: _Context, gradient: Tensor, values: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor
    ) -> _Gradients:
        ctx.set_materialize_grads(False)
        means = _take_means(gradient, _centre_values(values, mean), inverse)
        made_of = (gradient, values, weight, mean, inverse, *means)
        ctx.save_for_backward(*made_of)
        in_values = _gradient_in_values(*made_of)
        _MADE_OF[in_values] = made_of
        count = values.numel() / values.shape[1]
        return in_values, means[1] * count, means[0] * count

    @staticmethod
    def backward(
        ctx: _Context, in_values: Tensor | None, in_weight: Tensor | None, in_bias: Tensor | None
    ) -> _Gradients:
        _refuse_third_derivatives()
        gradient, values, weight, mean, inverse, *means = ctx.saved_tensors
        zero = torch.zeros_like(weight)
        in_weight, in_bias = (_expand_channels(zero if part is None else part, values) for part in (in_weight, in_bias))
        centred = _centre_values(values, mean)
        count = values.numel() / values.shape[1]
        slope = in_weight * _expand_channels(inverse, values)
        if in_values is None:
            # Only the weight's and the bias's cotangents: a z + b and a P(g).
            through = torch.addcmul(in_bias, centred, slope)
            return through, _project_cotangent(gradient, centred, inverse, *means) * in_weight, zero, None, None
        cotangent_means = _take_means(in_values, centred, inverse)
        along = _project_cotangent(in_values, centred, inverse, *cotangent_means)
        in_scale = (gradient * along).sum(_find_axes(values))  # P is symmetric, so this is sum(u P(g))
        # Multiples of P(u), of P(g), written out, and of z. Where several vectors are stacked, every tensor that is
        # changed in place is stacked too.
        scale = inverse * weight
        of_gradient = in_weight - _expand_channels(scale * cotangent_means[1], values)
        bend = _expand_channels(-scale * in_scale / count, values) - of_gradient * _expand_channels(
            inverse * means[1], values
        )
        second = along * _expand_channels(-scale * means[1], values)
        second.addcmul_(gradient, of_gradient * _expand_channels(inverse, values))
        second.addcmul_(centred, bend * _expand_channels(inverse, values))
        second.sub_(of_gradient * _expand_channels(inverse * means[0], values))
        through = along.mul_(_expand_channels(weight, values)).addcmul_(centred, slope).add_(in_bias)
        return through, second, in_scale, None, None


def _find_axes(values: Tensor) -> list[int]:
    """Return the axes that batch norm averages over."""
    return [0, *range(2, values.dim())]


def _expand_channels(channels: Tensor, values: Tensor) -> Tensor:
    """Return a number for each channel in a shape that goes with values."""
    return channels.view(1, -1, *(1,) * (values.dim() - 2))


def _centre_values(values: Tensor, mean: Tensor) -> Tensor:
    """Return ``z / s``. Everything is made of it and not of the values, whose mean may be far larger than they vary."""
    return values - _expand_channels(mean, values)


def _take_means(cotangent: Tensor, centred: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``[u]`` and ``[u z]`` of a cotangent ``u``, a number for each channel."""
    return cotangent.mean(_find_axes(centred)), (cotangent * centred).mean(_find_axes(centred)) * inverse


def _project_cotangent(cotangent: Tensor, centred: Tensor, inverse: Tensor, mean: Tensor, paired: Tensor) -> Tensor:
    """Return ``P(u)`` from ``[u]`` and ``[u z]``."""
    result = _centre_values(cotangent, mean).mul_(_expand_channels(inverse, centred))
    return result.addcmul_(centred, _expand_channels(-inverse.square() * paired, centred))


def _gradient_in_values(
    gradient: Tensor, values: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, *means: Tensor
) -> Tensor:
    """Return batch norm's gradient in its values from what its node keeps."""
    return _project_cotangent(gradient, _centre_values(values, mean), inverse, *means).mul_(
        _expand_channels(weight, values)
    )


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

    On the CPU convolutions run in channels_last. Values and first derivatives are torch's but for rounding, which is
    smaller here for batch norm in channels_last. Calls with arguments that are not covered (padding by name, images
    without a batch, no weight or bias in batch norm, normalisation by running statistics), and convolutions under
    autocast, go their usual way.
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
            return _convolve_images(*args, **(kwargs or {}))
        if function is functional.batch_norm and args:
            return _normalise_batch(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _convolve_images(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve as :func:`torch.conv2d` does."""
    is_covered = not isinstance(padding, str) and images.dim() == 4 and images.dtype == weight.dtype
    if not is_covered or torch.is_autocast_enabled(images.device.type):
        return torch.conv2d(images, weight, bias, stride, padding, dilation, groups)
    if images.device.type == "cpu":
        # The kernels are up to twice as fast with a pixel's channels side by side; what follows keeps the format.
        images = images.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)
    pairs = [[value, value] if isinstance(value, int) else list(value) for value in (stride, padding, dilation)]
    result: Tensor = _convolution(images, weight, bias, (*pairs, groups))
    return result


def _normalise_batch(
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
