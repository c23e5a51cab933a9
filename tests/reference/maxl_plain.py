"""The second level of MAXL in plain PyTorch, from the formulas: a trial step with its graph, and one backward pass."""

import torch
from torch.func import functional_call


def soft_focal_loss(probabilities, targets, gamma):
    return -(targets * (1 - probabilities) ** gamma * probabilities.log()).sum(1).mean()


def mask_softmax(logits, labels, counts):
    """One image after the other: a softmax over the block of its class."""
    rows, ends = [], torch.tensor(counts).cumsum(0)
    for row, label in zip(logits, labels, strict=True):
        first, last = int(ends[label]) - counts[label], int(ends[label])
        inside = torch.softmax(row[first:last], dim=0)
        rows.append(torch.cat([row.new_zeros(first), inside, row.new_zeros(len(row) - last)]))
    return torch.stack(rows)


def class_loss(network, params, images, targets, gamma, num_classes):
    logits = functional_call(network, params, (images,))
    return soft_focal_loss(torch.softmax(logits[:, :num_classes], 1), targets, gamma)


def generator_loss(network, generator, images, labels, *, counts, rate, weight, entropy_weight, gamma):
    """The loss whose gradient in the generator is the second level's; attached to the generator's parameters."""
    num_classes = len(counts)
    classes = torch.nn.functional.one_hot(labels, num_classes).to(images.dtype)
    invented = mask_softmax(generator(images), labels, counts)
    params = dict(network.named_parameters())
    logits = functional_call(network, params, (images,))
    loss = soft_focal_loss(torch.softmax(logits[:, :num_classes], 1), classes, gamma)
    loss = loss + weight * soft_focal_loss(torch.softmax(logits[:, num_classes:], 1), invented, gamma)
    slopes = torch.autograd.grad(loss, [*params.values()], create_graph=True)
    moved = {name: value - rate * slope for (name, value), slope in zip(params.items(), slopes, strict=True)}
    mean = invented.mean(0)
    entropy = (mean * mean.clamp_min(1e-30).log()).sum()
    return class_loss(network, moved, images, classes, gamma, num_classes) + entropy_weight * entropy
