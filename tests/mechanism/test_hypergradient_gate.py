"""The hypergradient gate finds the helpful task by itself; without its gradient it does not."""

import math
import statistics

import pytest
import torch
from scipy.stats import t

from auxo.gates.hypergradient import HypergradientGate

from .auxiliary_world import COUNTS, STEPS, TASKS, learn_weights, train_anew

SEEDS = range(8)
EQUAL = torch.full((3,), 1 / 3)
LEARNED = HypergradientGate.Config(split="meta", lr=0.03)  # a weight is a third of what moves: .01 a step at most
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # some minutes alone, but never a matter of load


def learn(config, seed):
    """The weights that a gate ends with."""
    gate = config.build(num_features=4, num_outputs=tuple(COUNTS[name] for name in TASKS), seed=seed)
    return learn_weights(seed, gate)


def share_of_helpful(found):
    """The mean share of the helpful task in the weights."""
    return statistics.mean((weights / weights.sum())[TASKS.index("helpful")].item() for weights in found)


def test_weights__learned_through_training__are_those_of_the_helpful_task_and_worth_having():
    found = [learn(LEARNED, seed) for seed in SEEDS]
    gains = [train_anew(seed, weights) - train_anew(seed, EQUAL) for seed, weights in zip(SEEDS, found, strict=True)]
    width = t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
    assert share_of_helpful(found) >= 0.6
    assert statistics.mean(gains) - width > 0


def test_weights__of_a_twin_whose_network_never_moves__stay_equal_and_fail_the_same_test():
    still = HypergradientGate.Config(split="meta", every=STEPS)
    found = [learn(still, seed) for seed in SEEDS[:2]]
    for weights in found:
        torch.testing.assert_close(weights, EQUAL)
    assert share_of_helpful(found) < 0.6
