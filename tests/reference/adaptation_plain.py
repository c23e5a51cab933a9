"""Renderings of adaptations in plain torch, from the papers: imports nothing of auxo."""

import torch
from torch.nn import functional


def mix_batch_norm(network, images, mixing):
    """Return the outputs of a sequential network, and its statistics, where every batch norm mixes while it is passed.

    Schneider et al. 2020, Eq. 3, with all images as the batch: mean and variance of the batch count ``mixing``, the
    source's the rest. The statistics are worked out layer by layer, from what the layer before has made.
    """
    values, statistics = images, []
    for layer in network:
        if isinstance(layer, torch.nn.BatchNorm2d):
            pixels = values.transpose(0, 1).flatten(1)
            mean = (1 - mixing) * layer.running_mean + mixing * pixels.mean(1)
            variance = (1 - mixing) * layer.running_var + mixing * pixels.var(1, correction=1)
            values = functional.batch_norm(values, mean, variance, layer.weight, layer.bias, eps=layer.eps)
            statistics.append((mean, variance))
        else:
            values = layer(values)
    return values, statistics


def entropy(logits):
    """Entropies of softmax vectors, by their definition."""
    probs = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -(probs * probs.log()).sum(1)


def minimise_entropy(network, head, images, steps, lr):
    """Tent on one batch: Adam on the scales and shifts of batch norm, written out; returns their values in order.

    Wang et al. 2021, with statistics that stay: the network is in evaluation mode.
    """
    moved = [
        each for layer in network if isinstance(layer, torch.nn.BatchNorm2d) for each in (layer.weight, layer.bias)
    ]
    first, second = ([torch.zeros_like(each) for each in moved] for _ in range(2))
    for step in range(1, steps + 1):
        gradients = torch.autograd.grad(entropy(head(network(images))).mean(), moved)
        with torch.no_grad():
            for value, gradient, mean, square in zip(moved, gradients, first, second, strict=True):
                mean.mul_(0.9).add_(0.1 * gradient)
                square.mul_(0.999).add_(0.001 * gradient**2)
                value -= lr * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
    return [each.detach() for each in moved]


def maximise_information(network, head, images, labelled, steps, lr, weight):
    """SHOT-IM on one batch beside one of labelled images: SGD with momentum 0.9 on the network; returns its values.

    Liang et al. 2020: mean entropy minus the entropy of the mean prediction; ``labelled`` is images and labels.
    """
    moved = [*network.parameters()]
    velocity = [torch.zeros_like(each) for each in moved]
    for _ in range(steps):
        logits = head(network(images))
        mean = logits.softmax(1).mean(0)
        loss = entropy(logits).mean() + (mean * mean.log()).sum()
        answers = head(network(labelled[0])).log_softmax(1)
        loss = loss - weight * answers[torch.arange(len(answers)), labelled[1]].mean()
        gradients = torch.autograd.grad(loss, moved)
        with torch.no_grad():
            for value, gradient, speed in zip(moved, gradients, velocity, strict=True):
                speed.mul_(0.9).add_(gradient)
                value -= lr * speed
    return [each.detach() for each in moved]


def learn_turns(network, head, images, steps, lr):
    """Test-time training on one batch in all four turns: plain SGD on network and head; returns their values."""
    moved = [*network.parameters(), *head.parameters()]
    for _ in range(steps):
        loss = 0.0
        for turns in range(4):
            answers = head(network(torch.rot90(images, turns, dims=(2, 3)))).log_softmax(1)
            loss = loss - answers[:, turns].mean() / 4
        gradients = torch.autograd.grad(loss, moved)
        with torch.no_grad():
            for value, gradient in zip(moved, gradients, strict=True):
                value -= lr * gradient
    return [each.detach() for each in moved]
