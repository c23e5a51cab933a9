"""COT: the cheapest way to give images classes in given proportions, and how probable a network finds those classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auxo.errors import ShapeError

Floats = NDArray[np.float64]

SOURCE = """\
Lu, Qin, Zhai, Shen, Chen, Wang, Kolouri, Stepputtis, Campbell & Sycara, Characterizing Out-of-Distribution Error via
Optimal Transport, NeurIPS 2023 (https://arxiv.org/abs/2305.15640): the error to expect is the transport cost between
the softmax vectors of the images and one-hot vectors in the proportions of the source's labels. The cost of a vector
p and a class k is 1 - p_k, which both its largest and half of its summed difference to the one-hot vector are. Ours:
proportions are rounded to whole images by the largest remainder, and more than 500 images are dealt out into parts of
equal size by their largest probability, each of which is solved exactly.
"""

_MOST = 500  # the time of the assignment grows with the cube of it


def transport_confidence(probs: Floats, shares: Sequence[int | float] | NDArray[np.generic]) -> Floats:
    """Return how probable the class is that each image is given where classes have given proportions.

    Of all ways to give the images classes in these proportions it is the one with the largest mean, which is the
    accuracy to expect. That is the mean of the largest probabilities where the predicted classes have these proportions
    already, else less.

    Args:
        probs: shape ``(n, classes)``; softmax probabilities.
        shares: shape ``(classes,)``; proportions of the classes, >= 0; their sum is not 0.

    Returns:
        Shape ``(n,)``; in [0, 1]; in the order of the images, on which nothing else depends where all ``probs`` differ.

    Raises:
        ShapeError: there is no image, or there are other classes than shares.

    Example:
        >>> transport_confidence(np.array([[0.9, 0.1], [0.8, 0.2]]), [1, 1]).tolist()
        [0.9, 0.2]
    """
    weights = np.asarray(shares, dtype=np.float64)
    if probs.ndim != 2 or len(probs) == 0 or probs.shape[1] != len(weights):
        expected = f"probabilities of shape (n, {len(weights)}) for {len(weights)} shares"
        raise ShapeError(expected, f"shape {probs.shape}", "give a share for each class")
    found = np.empty(len(probs))
    order = np.lexsort((*probs.T, probs.max(1)))
    num_parts = -(-len(probs) // _MOST)
    for part in (order[start::num_parts] for start in range(num_parts)):
        found[part] = _assign_classes(probs[part], _round_shares(weights, len(part)))
    return found


def _assign_classes(probs: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the probability of the class that each image is given, of which there are so many."""
    from scipy.optimize import linear_sum_assignment

    places = np.repeat(np.arange(len(counts)), counts)
    rows, chosen = linear_sum_assignment(probs[:, places], maximize=True)
    given: Floats = probs[rows, places[chosen]]  # rows are all images, in order
    return given


def _round_shares(shares: Floats, count: int) -> NDArray[np.int64]:
    """Return whole numbers in the proportions of shares, as near as they can be, with a given sum."""
    wanted = count * shares / shares.sum()
    whole: NDArray[np.int64] = np.floor(wanted).astype(np.int64)
    missing = count - int(whole.sum())
    largest = np.argsort(whole - wanted, kind="stable")[:missing]
    whole[largest] += 1
    return whole
