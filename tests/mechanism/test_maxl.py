"""MAXL finds planted sub-clusters; without its hypergradient, or without the entropy term, it does not."""

import statistics
from dataclasses import replace

import pytest
from scipy import stats

from .maxl_world import CONFIG, CornerWorld, accuracy, cluster, label, quality, shuffle, train, true_labels

SEEDS = range(20, 28)
TWELVE = range(20, 32)
GIVEN = replace(CONFIG, labels="earlier")
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


def lower_end(ours, theirs):
    """The lower end of the 95 % interval of a paired difference."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    return stats.ttest_1samp(differences, 0.0).confidence_interval(0.95).low


def test_labels__learned_anew__help_and_the_same_on_other_items_of_the_class_or_clusters_do_not():
    found = {name: [] for name in ("invented", "anew", "shuffled", "k-means")}
    shuffled_quality = []
    for seed in TWELVE:
        method, world = train(CONFIG, seed)
        found["invented"].append(accuracy(method, world))
        invented = label(method, world)
        shuffled = shuffle(invented, world, seed)
        shuffled_quality.append(quality(shuffled, world)[0])
        for name, given in (("anew", invented), ("shuffled", shuffled), ("k-means", cluster(world, seed))):
            found[name].append(accuracy(train(GIVEN, seed, given=given)[0], world))
    assert statistics.mean(shuffled_quality) <= 0.1
    assert lower_end(found["anew"], found["shuffled"]) > 0
    assert lower_end(found["invented"], found["k-means"]) > 0


def test_labels__of_sub_clusters_that_are_not_confused_with_one_class__are_worth_learning_and_not_found():
    found = {name: [] for name in ("none", "true")}
    information = []
    for seed in SEEDS:
        world = CornerWorld(seed)
        information.append(quality(label(*train(CONFIG, seed, world=world)), world)[0])
        found["none"].append(accuracy(train(replace(CONFIG, labels="none"), seed, world=world)[0], world))
        found["true"].append(accuracy(train(GIVEN, seed, given=true_labels(world), world=world)[0], world))
    assert lower_end(found["true"], found["none"]) > 0
    assert statistics.mean(information) <= 0.23
