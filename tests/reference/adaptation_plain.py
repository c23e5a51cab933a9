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
