"""Losses that compare two views, written out plainly from the papers; nothing of auxo is used here."""

import math


def dot(first, second):
    """Inner product of two vectors, one product after the other."""
    return sum(a * b for a, b in zip(first, second, strict=True))


def cosine(first, second):
    """Of two vectors."""
    return dot(first, second) / math.sqrt(dot(first, first) * dot(second, second))


def mean(numbers):
    """Of a list."""
    return sum(numbers) / len(numbers)


def nt_xent(first, second, temperature):
    """Chen et al. 2020, Eq. 1, over all pairs in both orders: views of image k stand at 2k and 2k + 1."""
    rows = [row for pair in zip(first, second, strict=True) for row in pair]

    def one(i, j):
        others = [math.exp(cosine(rows[i], rows[k]) / temperature) for k in range(len(rows)) if k != i]
        return -math.log(math.exp(cosine(rows[i], rows[j]) / temperature) / sum(others))

    count = len(first)
    return sum(one(2 * k, 2 * k + 1) + one(2 * k + 1, 2 * k) for k in range(count)) / (2 * count)


def byol(predictions_first, predictions_second, targets_first, targets_second):
    """Grill et al. 2020, Eq. 2: squared distances of unit vectors, both directions, mean over the images."""

    def distance(prediction, target):
        length, other = (math.sqrt(dot(row, row)) for row in (prediction, target))
        return sum((p / length - t / other) ** 2 for p, t in zip(prediction, target, strict=True))

    directions = [(predictions_first, targets_second), (predictions_second, targets_first)]
    return sum(mean([distance(p, t) for p, t in zip(*both, strict=True)]) for both in directions)


def target_after(target, online, base, step, num_steps):
    """Grill et al. 2020, Section 3.2: one update of a number of the target, with the momentum's cosine schedule."""
    momentum = 1 - (1 - base) * (math.cos(math.pi * step / num_steps) + 1) / 2
    return momentum * target + (1 - momentum) * online


def columns(rows):
    """The features, each with its mean taken off."""
    centred = [[value - mean(list(column)) for value in column] for column in zip(*rows, strict=True)]
    return [list(column) for column in centred]


def barlow_twins(first, second, off_diagonal_weight, epsilon):
    """Zbontar et al. 2021, Eq. 1 and 2; ``epsilon`` is what the release adds to a variance."""
    views = [columns(first), columns(second)]
    count, size = len(first), len(views[0])

    def correlation(i, j):
        one, other = views[0][i], views[1][j]
        scale = math.sqrt((dot(one, one) / count + epsilon) * (dot(other, other) / count + epsilon))
        return dot(one, other) / count / scale

    total = 0.0
    for i in range(size):
        for j in range(size):
            total += (1 - correlation(i, i)) ** 2 if i == j else off_diagonal_weight * correlation(i, j) ** 2
    return total


def vicreg(first, second, weights, epsilon=1e-4):
    """Bardes et al. 2022, Algorithm 1; ``weights`` are those of invariance, variance and covariance."""
    count, size = len(first), len(first[0])
    squares = [(a - b) ** 2 for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)]
    invariance = mean(squares)
    variance = covariance = 0.0
    for view in (columns(first), columns(second)):
        spreads = [math.sqrt(dot(column, column) / (count - 1) + epsilon) for column in view]
        variance += mean([max(0.0, 1 - spread) for spread in spreads])
        for i in range(size):
            for j in range(size):
                covariance += (dot(view[i], view[j]) / (count - 1)) ** 2 / size if i != j else 0.0
    return weights[0] * invariance + weights[1] * variance + weights[2] * covariance
