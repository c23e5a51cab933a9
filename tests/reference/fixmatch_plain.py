"""FixMatch as its paper writes it (arXiv 2001.07685, Eq. 3 and 4, Algorithm 1), one image at a time, in plain loops."""

import math

import torch


def probabilities(logits):
    """Softmax of one vector, by its definition."""
    exponentials = [math.exp(value - max(logits)) for value in logits]
    return [value / sum(exponentials) for value in exponentials]


def cross_entropy(logits, label):
    """H(label, softmax(logits)), attached to the graph."""
    return torch.logsumexp(logits, 0) - logits[label]


def labelled_loss(logits, labels):
    """Eq. 3 without augmentation: the mean over the labelled batch."""
    losses = [cross_entropy(row, int(label)) for row, label in zip(logits, labels, strict=True)]
    return sum(losses) / len(losses)


def unlabelled_loss(weak_logits, strong_logits, threshold):
    """Eq. 4: the mean over all unlabelled images, those below the threshold counting as 0. Also the part above it."""
    losses, kept = [], 0
    for weak, strong in zip(weak_logits, strong_logits, strict=True):
        q = probabilities(weak.tolist())  # numbers: no gradient goes through them
        if max(q) >= threshold:
            losses.append(cross_entropy(strong, q.index(max(q))))
            kept += 1
    return sum(losses) / len(weak_logits) if losses else strong_logits.sum() * 0, kept / len(weak_logits)


def averaged(values, decay):
    """The moving average after each of ``values``: the first, then with as much kept as a young average can bear."""
    average, history = None, []
    for step, value in enumerate(values):
        kept = min(decay, step / (step + 9))
        average = value if average is None else kept * average + (1 - kept) * value
        history.append(average)
    return history
