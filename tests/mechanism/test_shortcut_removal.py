"""Weights and penalty each undo a part of a planted shortcut; their broken twins do not."""

import statistics

import pytest
from scipy import stats

from .shortcut_world import LINES, Detached, train

SEEDS = range(30, 38)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # half a minute alone, but never a matter of load


@pytest.fixture(scope="module")
def areas():
    """The area where the column agrees in a tenth of the items, of each line and seed."""
    return {name: [train(config, seed)[0.1] for seed in SEEDS] for name, config in LINES.items()}


def interval(ours, theirs):
    """The 95 % interval of a paired difference."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    return stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)


def test_area__where_the_shortcut_is_turned_round__grows_by_weights_and_by_the_weighted_penalty(areas):
    means = [statistics.mean(areas[name]) for name in ("ERM", "weighted ERM", "weighted MMD")]
    assert means == sorted(means)
    assert interval(areas["weighted ERM"], areas["ERM"]).low > 0
    assert interval(areas["weighted MMD"], areas["weighted ERM"]).low > 0
    assert interval(areas["weighted MMD"], areas["MMD"]).low > 0


def test_area__penalty_without_gradient__is_that_of_weights_alone(areas):
    twin = [train(LINES["weighted MMD"], seed, twin=Detached)[0.1] for seed in SEEDS]
    assert twin == areas["weighted ERM"]


def test_area__column_of_other_items__undoes_nothing(areas):
    twin = [train(LINES["weighted MMD"], seed, is_shuffled=True)[0.1] for seed in SEEDS]
    assert interval(twin, areas["weighted ERM"]).high < 0
    assert abs(statistics.mean(twin) - statistics.mean(areas["ERM"])) < 5
