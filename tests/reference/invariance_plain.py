"""Weighted discrepancies by double loops over the images, from the formulas; imports nothing of auxo."""

import math


def weigh_one_by_one(classes, values):
    """u(y, v) = P(y) P(v) / P(y, v) of every image."""
    n = len(classes)
    pairs = list(zip(classes, values, strict=True))
    return [(classes.count(y) / n) * (values.count(v) / n) / (pairs.count((y, v)) / n) for y, v in pairs]


def rbf(one, other, sigma):
    return math.exp(-sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / (2 * sigma**2))


def laplace(one, other, sigma):
    return math.exp(-sum(abs(a - b) for a, b in zip(one, other, strict=True)) / sigma)


def energy(one, other, _sigma):
    return -math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


def mean_kernel(rows, first, second, kernel):
    """The released masked double sum: sum_ij w_i w'_j k(z_i, z_j) / (sum w sum w')."""
    total = mass = 0.0
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            total += first[i] * second[j] * kernel(one, other)
            mass += first[i] * second[j]
    return total / mass


def mmd(rows, first, second, kernel):
    return (
        mean_kernel(rows, first, first, kernel)
        + mean_kernel(rows, second, second, kernel)
        - 2 * mean_kernel(rows, first, second, kernel)
    )


def unbiased_within(rows, weights, kernel):
    """The mean kernel of two different rows of a sample."""
    total = mass = 0.0
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            if i != j:
                total += weights[i] * weights[j] * kernel(one, other)
                mass += weights[i] * weights[j]
    return total / mass


def unbiased_mmd(rows, first, second, kernel):
    return (
        unbiased_within(rows, first, kernel)
        + unbiased_within(rows, second, kernel)
        - 2 * mean_kernel(rows, first, second, kernel)
    )


def hsic(rows, values, weights, kernel):
    """E[k l] + E[k] E[l] - 2 E[E[k|z] E[l|z]] over independent pairs drawn by weight."""
    mass = sum(weights)
    p = [weight / mass for weight in weights]
    n = range(len(rows))
    k = [[kernel(rows[i], rows[j]) for j in n] for i in n]
    same = [[float(values[i] == values[j]) for j in n] for i in n]
    joint = sum(p[i] * p[j] * k[i][j] * same[i][j] for i in n for j in n)
    of_rows = [sum(p[j] * k[i][j] for j in n) for i in n]
    of_values = [sum(p[j] * same[i][j] for j in n) for i in n]
    apart = sum(p[i] * of_rows[i] for i in n) * sum(p[i] * of_values[i] for i in n)
    return joint + apart - 2 * sum(p[i] * of_rows[i] * of_values[i] for i in n)
