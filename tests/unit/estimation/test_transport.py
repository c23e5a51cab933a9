"""COT against a linear program over all fractional assignments, and what does not change it."""

import numpy as np
import pytest
from scipy.optimize import linprog

from auxo.errors import ShapeError
from auxo.estimation import transport_confidence


def draw_probs(count, classes, seed=0):
    """Softmax vectors of normal logits."""
    logits = 3 * np.random.default_rng(seed).normal(size=(count, classes))
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def solve_program(probs, shares):
    """The largest mean probability over all couplings of images and classes: the transport problem as it is defined."""
    count, classes = probs.shape
    cost = 1 - probs  # half the summed difference to a one-hot vector
    rows = np.kron(np.eye(count), np.ones((1, classes)))
    columns = np.kron(np.ones((1, count)), np.eye(classes))
    totals = np.concatenate([np.full(count, 1 / count), np.asarray(shares) / np.sum(shares)])
    return 1 - linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=totals).fun


@pytest.mark.parametrize("counts", [(10, 10, 10, 10), (25, 5, 10, 0), (40, 0, 0, 0)])
def test_transport_confidence__whole_numbers_of_images__is_the_linear_program(counts):
    probs = draw_probs(40, 4)
    assert transport_confidence(probs, counts).mean() == pytest.approx(solve_program(probs, counts), abs=1e-9)


def test_transport_confidence__shares_between_whole_images__is_within_what_rounding_moves():
    probs, shares = draw_probs(30, 4), (0.31, 0.27, 0.22, 0.2)
    assert transport_confidence(probs, shares).mean() == pytest.approx(solve_program(probs, shares), abs=2 / 30)


def test_transport_confidence__predicted_shares__are_the_largest_probabilities():
    probs = draw_probs(50, 3)
    counts = np.bincount(probs.argmax(1), minlength=3)
    assert transport_confidence(probs, counts) == pytest.approx(probs.max(1))


def test_transport_confidence__more_than_one_part_in_another_order__gives_every_image_the_same():
    probs = draw_probs(1203, 5)
    found, order = transport_confidence(probs, np.ones(5)), np.random.default_rng(1).permutation(1203)
    assert transport_confidence(probs[order], np.ones(5)).tolist() == found[order].tolist()
    assert found.mean() == pytest.approx(solve_program(probs[:0:-2], np.ones(5)), abs=0.02)


@pytest.mark.parametrize("probs", [np.ones((0, 3)), np.ones((2, 4)), np.ones(3)])
def test_transport_confidence__other_shapes__are_refused(probs):
    with pytest.raises(ShapeError, match="for 3 shares"):
        transport_confidence(probs, (1, 1, 1))
