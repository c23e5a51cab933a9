"""A function that has a first derivative only."""

import torch


class Once(torch.autograd.Function):
    """A square whose gradient has no derivative."""

    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value)
        return value.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient
