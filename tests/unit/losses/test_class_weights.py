"""Weights by effective number against Cui et al.'s formula."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxo.losses import effective_number_weights

LONG_TAIL = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_effective_number_weights__long_tailed_cifar10__go_from_0_0506_to_3_9927():
    weights = effective_number_weights(LONG_TAIL, beta=0.9999)
    assert (round(weights[0].item(), 4), round(weights[-1].item(), 4)) == (0.0506, 3.9927)
    assert weights.sum().item() == pytest.approx(10, abs=1e-12)
    raw = [(1 - 0.9999) / (1 - 0.9999**n) for n in LONG_TAIL]
    assert weights.tolist() == pytest.approx([10 * w / sum(raw) for w in raw], rel=1e-9)


def test_effective_number_weights__beta_0__are_ones():
    assert effective_number_weights([7, 1, 900], beta=0.0).tolist() == [1.0, 1.0, 1.0]


def test_effective_number_weights__beta_near_1__are_inverse_counts():
    weights = effective_number_weights([100, 10], beta=1 - 1e-12)
    assert weights.tolist() == pytest.approx([2 / 11, 20 / 11], rel=1e-6)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.floats(0, 0.999999))
def test_effective_number_weights__any_counts__sum_to_the_classes_and_are_positive(counts, beta):
    weights = effective_number_weights(counts, beta=beta)
    assert weights.sum().item() == pytest.approx(len(counts), rel=1e-9)
    assert torch.all(weights > 0)
