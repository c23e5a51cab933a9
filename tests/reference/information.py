"""Information between discrete variables, exactly, from a table of joint probabilities; in bits."""

import numpy as np


def entropy(table):
    """H of a table of probabilities."""
    kept = table[table > 0]
    return float(-(kept * np.log2(kept)).sum())


def marginal(table, axes):
    """The joint table of some axes."""
    return table.sum(axis=tuple(axis for axis in range(table.ndim) if axis not in axes))


def information(table, ones, others, given=()):
    """I(ones; others | given), each a tuple of axes."""
    together = entropy(marginal(table, {*ones, *others, *given}))
    return (
        entropy(marginal(table, {*ones, *given}))
        + entropy(marginal(table, {*others, *given}))
        - together
        - (entropy(marginal(table, set(given))) if given else 0.0)
    )


def lowest_error(table, answer, seen):
    """The error of the best guess of an axis from others."""
    joint = marginal(table, {answer, *seen})
    joint = np.moveaxis(joint, sorted({answer, *seen}).index(answer), 0).reshape(table.shape[answer], -1)
    return float(1 - joint.max(axis=0).sum())
