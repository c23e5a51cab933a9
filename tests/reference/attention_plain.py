"""Attention over encoders, image by image and encoder by encoder, in numpy: written from the formulas of the page."""

import numpy as np


def layer_norm(row, gain=None, shift=None, eps=1e-5):
    centred = row - row.mean()
    normed = centred / np.sqrt((centred**2).mean() + eps)
    return normed if gain is None else gain * normed + shift


def attend(features, projections, *, keys, query, task, read=None, temperature=1.0, heads=1):
    """Return the vector s and the weights alpha of one image.

    Args:
        features: z_k of each encoder.
        projections: for each encoder W_k, b_k, and gain and shift of its LayerNorm.
        keys: P.
        query: Q; ``None`` leaves it out.
        task: q_0.
        read: what Q reads; ``None`` means the mean of the values.
    """
    values = [layer_norm(w @ z + b, gain, shift) for z, (w, b, gain, shift) in zip(features, projections, strict=True)]
    asked = task.copy()
    if query is not None:
        asked = asked + query @ (np.mean(values, axis=0) if read is None else read)
    asked = layer_norm(asked)
    size = len(task) // heads
    pieces, weights = [], []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = np.array([asked[part] @ (keys @ value)[part] / np.sqrt(size) for value in values]) / temperature
        scores = np.exp(scores - scores.max())
        alpha = scores / scores.sum()
        pieces.append(sum(weight * value[part] for weight, value in zip(alpha, values, strict=True)))
        weights.append(alpha)
    return np.concatenate(pieces), np.stack(weights)
