"""AuxiLearn in plain torch, written from a description of the paper and its released code; imports nothing of auxo."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus


class Net:
    """A tanh layer with three linear heads, the first of the primary task; float64."""

    def __init__(self, seed=0):
        draws = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return nn.Parameter(0.5 * torch.randn(*shape, generator=draws, dtype=torch.float64))

        self.weights = {"trunk": normal(6, 5), "head 0": normal(5, 3), "head 1": normal(5, 4), "head 2": normal(5, 2)}

    def losses(self, weights, inputs, answers):
        """The losses of every sample, shape (samples, 3)."""
        features = torch.tanh(inputs @ weights["trunk"])
        columns = [cross_entropy(features @ weights[f"head {k}"], answers[:, k], reduction="none") for k in range(3)]
        return torch.stack(columns, 1)


def draw_batches(count, size, seed):
    """Inputs and an answer for each task."""
    draws = torch.Generator().manual_seed(seed)
    for _ in range(count):
        inputs = torch.randn(size, 6, generator=draws, dtype=torch.float64)
        yield inputs, torch.stack([torch.randint(k, (size,), generator=draws) for k in (3, 4, 2)], 1)


def combine_linear(phi, losses, *, skip=False):
    """mean(l w), and the mean primary loss."""
    (weights,) = phi
    combined = (losses @ weights.T).mean()
    return combined + losses[:, 0].mean() if skip else combined


def combine_nonlinear(phi, losses):
    """The mean of a perceptron with softplus, whose last layer has no bias, and the mean primary loss."""
    *inner, last = phi
    values = losses
    for weight, bias in zip(inner[::2], inner[1::2], strict=True):
        values = softplus(values @ weight.T + bias)
    return (values @ last.T).mean() + losses[:, 0].mean()


def differentiate(upper, lower, weights, phi, *, terms, alpha):
    """-(dG/dphi)^T p with p from the series without its leading alpha; weights that upper does not reach have zeros."""
    vector = [*torch.autograd.grad(upper, weights, allow_unused=True, materialize_grads=True)]
    slopes = torch.autograd.grad(lower, weights, create_graph=True)
    total = [value.clone() for value in vector]
    for _ in range(terms):
        bent = torch.autograd.grad(slopes, weights, vector, retain_graph=True)
        vector = [value - alpha * product for value, product in zip(vector, bent, strict=True)]
        total = [value + part for value, part in zip(total, vector, strict=True)]
    return [-value for value in torch.autograd.grad(slopes, phi, total)]


def train(phi, combine, *, steps, every, terms, alpha, weight_rate, rate, momentum, decay, clip):
    """Alternate: a step of the weights on every batch; after every so many one of phi, on the batch that comes next.

    Returns:
        The net's weights and phi.
    """
    net, phi = Net(), [value.detach().clone().requires_grad_() for value in phi]
    weights, velocities = [*net.weights.values()], [torch.zeros_like(value) for value in phi]
    train_batches, upper_batches = draw_batches(steps, 12, seed=1), draw_batches(steps, 8, seed=2)
    for number, (batch, upper_batch) in enumerate(zip(train_batches, upper_batches, strict=True)):
        if number and number % every == 0:
            upper = net.losses(net.weights, *upper_batch)[:, 0].mean()
            lower = combine(phi, net.losses(net.weights, *batch))
            gradients = differentiate(upper, lower, weights, phi, terms=terms, alpha=alpha)
            length = torch.cat([value.flatten() for value in gradients]).norm()
            with torch.no_grad():
                for value, gradient, velocity in zip(phi, gradients, velocities, strict=True):
                    velocity.mul_(momentum).add_(gradient * min(1.0, clip / float(length)) + decay * value)
                    value.sub_(rate * velocity)
                    if value.dim() > 1:
                        value.clamp_(min=0)
        slopes = torch.autograd.grad(combine(phi, net.losses(net.weights, *batch)), weights)
        with torch.no_grad():
            for value, slope in zip(weights, slopes, strict=True):
                value.sub_(weight_rate * slope)
    return weights, phi
