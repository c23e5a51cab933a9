"""A training step of G-SSL written out plainly, from the description of the method; nothing of auxo is used here."""

import math

import torch

from .pretexts_one_by_one import gssl_image

TASKS = {"flip": 2, "lorot": 16, "channel_shuffle": 6}


def negative_log_likelihood(scores, answer):
    """Of one sample: minus the logarithm of the softmax at the right answer."""
    highest = scores.max().detach()
    return highest + torch.log(torch.exp(scores - highest).sum()) - scores[answer]


def softmax(scores):
    """Of one vector."""
    powers = torch.exp(scores - scores.max().detach())
    return powers / powers.sum()


def gate_weights(features, layer, form):
    """(A) the mean of the samples' softmaxes, or (B) the softmax of their mean logits."""
    logits = [layer["weight"] @ vector + layer["bias"] for vector in features]
    if form == "A":
        return sum(softmax(row) for row in logits) / len(logits)
    return softmax(sum(logits) / len(logits))


def total_loss(parts, images, labels, draws, *, tasks, gate, form, ratio, entropy=0.0, by_guessing=False):
    """The loss of one batch.

    ``parts`` has the network ``backbone`` and, by name, dictionaries with weight and bias of the class head, of the
    heads and of the gate. ``draws`` are lists of quadrants, turns, flips and orders. ``gate`` is "frozen" (weights are
    numbers), "learned", "sum" (no gate) or "one" (a single task).
    """
    changed = []
    for image, quadrant, turns, flipped, order in zip(images, *draws, strict=True):
        flipped = flipped if "flip" in tasks else 0
        turns = turns if "lorot" in tasks else 0
        order = order if "channel_shuffle" in tasks else 0
        changed.append(gssl_image(image, quadrant, turns, flipped, order))
    answers = {
        "flip": draws[2],
        "lorot": [4 * quadrant + turns for quadrant, turns in zip(draws[0], draws[1], strict=True)],
        "channel_shuffle": draws[3],
    }
    features = parts["backbone"](torch.stack(changed)).pooled
    count = len(images)

    def mean_loss(head, right):
        rows = [head["weight"] @ vector + head["bias"] for vector in features]
        return sum(negative_log_likelihood(row, answer) for row, answer in zip(rows, right, strict=True)) / count

    total = mean_loss(parts["class"], labels)
    losses = [mean_loss(parts[name], answers[name]) for name in tasks]
    if gate in ("sum", "one"):
        return total + ratio * sum(losses)
    weights = gate_weights(features, parts["gate"], form)
    if gate == "frozen":
        return total + ratio * sum(weight.item() * loss for weight, loss in zip(weights, losses, strict=True))
    scales = [math.log(TASKS[name]) if by_guessing else 1.0 for name in tasks]
    gated = sum(weight * loss / scale for weight, loss, scale in zip(weights, losses, scales, strict=True))
    return total + ratio * (gated + entropy * sum(weight * torch.log(weight) for weight in weights))


def sgd_step(parameters, loss, buffers, *, lr, momentum, weight_decay):
    """Nesterov's SGD as torch defines it, by hand; a parameter that the loss does not reach stays as it is."""
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    with torch.no_grad():
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            if gradient is None:
                continue
            slope = gradient + weight_decay * parameter
            buffers[name] = momentum * buffers[name] + slope if name in buffers else slope.clone()
            parameter -= lr * (slope + momentum * buffers[name])
