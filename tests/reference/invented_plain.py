"""AuxiLearn's losses and the labelling network's gradient in plain PyTorch, from the formulas."""

import torch
from torch.nn import functional

from .maxl_plain import mask_softmax


def focal_loss(logits, targets, gamma):
    """Mean focal loss with soft targets."""
    chances = torch.softmax(logits, 1)
    return -(targets * (1 - chances) ** gamma * chances.log()).sum(1).mean()


def rotation_loss(network, head, images):
    """Mean cross-entropy of all four quarter turns of every image."""
    losses = []
    for turns in range(4):
        logits = head(network(torch.rot90(images, turns, (2, 3))))
        losses.append(functional.cross_entropy(logits, torch.full((len(images),), turns)))
    return sum(losses) / 4


def combined_loss(network, heads, images, targets, invented, *, weights, gamma):
    """Primary cross-entropy, a column, rotation and the invented task, each at its weight."""
    features = network(images)
    classes = functional.cross_entropy(heads["semantic"](features), targets["label"])
    column = functional.cross_entropy(heads["column"](features), targets["fine"])
    turned = rotation_loss(network, heads["rotation"], images)
    own = focal_loss(heads["invented"](features), invented, gamma)
    return classes + weights["column"] * column + weights["rotation"] * turned + weights["invented"] * own


def label(generator, images, labels, counts):
    """The labels that the second network gives."""
    return mask_softmax(generator(images), labels, counts)


def implicit_gradient(inner_loss, outer_loss, lower, upper, *, scale, products, has_factor):
    """The gradient in the upper parameters: a mixed product with so many terms of the series."""
    starts = torch.autograd.grad(outer_loss, lower, allow_unused=True)
    vectors = [torch.zeros_like(w) if v is None else v for w, v in zip(lower, starts, strict=True)]
    total = list(vectors)
    gradients = torch.autograd.grad(inner_loss, lower, create_graph=True)
    for _ in range(products):
        images = torch.autograd.grad(gradients, lower, vectors, retain_graph=True)
        vectors = [vector - scale * image for vector, image in zip(vectors, images, strict=True)]
        total = [one + other for one, other in zip(total, vectors, strict=True)]
    mixed = torch.autograd.grad(gradients, upper, total)
    return [-(scale if has_factor else 1.0) * part for part in mixed]
