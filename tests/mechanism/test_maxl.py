"""MAXL finds planted sub-clusters; without its hypergradient, or without the entropy term, it does not."""

import statistics
from dataclasses import replace

import pytest

from .maxl_world import CONFIG, label, quality, train

SEEDS = range(20, 28)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # half a minute each alone, but never a matter of load


def measure(config):
    """The mean quality of the labels and the mean number of labels in use, over the seeds."""
    found = []
    for seed in SEEDS:
        method, world = train(config, seed)
        found.append(quality(label(method, world), world))
    return [statistics.mean(column) for column in zip(*found, strict=True)]


@pytest.mark.parametrize("way", ["forward", "second_order"])
def test_labels__learned__are_the_planted_sub_clusters(way):
    information, num_used = measure(replace(CONFIG, hypergradient=way))
    assert information >= 0.5
    assert num_used >= 3


@pytest.mark.parametrize("broken", [{"alpha": 1e-9}, {"entropy_weight": 0.0}], ids=["no hypergradient", "no entropy"])
def test_labels__of_a_broken_twin__are_not(broken):
    information, _ = measure(replace(CONFIG, **broken))
    assert information <= 0.23
