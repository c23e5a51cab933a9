"""LARS one tensor at a time, from its formulas; nothing of auxo is imported."""

import torch


def lars_step(weights, gradients, velocities, *, lr, momentum, weight_decay, trust_coefficient, is_adapted):
    """Return the weights and velocities after a step.

    ``is_adapted`` says for each weight whether it decays and its gradient is scaled; velocities may be ``None``.
    """
    moved, new_velocities = [], []
    for weight, gradient, velocity, is_scaled in zip(weights, gradients, velocities, is_adapted, strict=True):
        update = gradient
        if is_scaled:
            update = gradient + weight_decay * weight
            size, length = (float((value**2).sum() ** 0.5) for value in (weight, update))
            update = update * (trust_coefficient * size / length if size > 0 and length > 0 else 1.0)
        velocity = update if velocity is None else momentum * velocity + update
        new_velocities.append(velocity)
        moved.append(weight - lr * velocity)
    return moved, new_velocities


def descend(weights, gradients, **options):
    """Return the weights after each step, with one list of gradients per step."""
    velocities: list[torch.Tensor | None] = [None] * len(weights)
    history = []
    for each in gradients:
        weights, velocities = lars_step(weights, each, velocities, **options)
        history.append(weights)
    return history
