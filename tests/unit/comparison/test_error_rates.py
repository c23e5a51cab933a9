"""How often each verdict is wrong where nothing is to be seen, and how often it is right: 1,000 draws each."""

import numpy as np
import pytest

from auxo.comparison import Estimate, GroupedDeltas, decide, estimate_groups, estimate_pairs, smallest_difference

DRAWS = 1000
RARE = 0.05 + 3 * np.sqrt(0.05 * 0.95 / DRAWS)
"""More errors than these have a chance of one in a thousand at a rate of 5 %."""


def draw_contrasts(means, *, pairs=5, std=1.0, seed=0):
    """Differences of methods to one baseline, which all share its noise: shape (draws, contrasts, pairs)."""
    random = np.random.default_rng(seed)
    methods = random.normal(size=(DRAWS, len(means), pairs))
    shared = random.normal(size=(DRAWS, 1, pairs))
    return np.array(means)[:, None] + std * (methods - shared) / np.sqrt(2)


def rate(said):
    """How often anything at all is said of a family."""
    return said.any(axis=-1).mean()


@pytest.mark.parametrize("num_contrasts", [1, 4, 12])
def test_better_and_worse__no_difference__any_is_rare(num_contrasts):
    found = decide(estimate_pairs(draw_contrasts([0.0] * num_contrasts)))
    assert rate(found.is_above | found.is_below) <= RARE


def test_better__some_methods_are__the_others_are_rarely_called_so_and_none_is_called_worse():
    found = decide(estimate_pairs(draw_contrasts([0.0, 4.0, 0.0, 4.0])))
    assert rate((found.is_above | found.is_below)[:, [0, 2]]) <= RARE
    assert rate(found.is_below[:, [1, 3]]) < 0.002
    assert found.is_above[:, [1, 3]].mean() > 0.8


@pytest.mark.parametrize(("pairs", "num_contrasts"), [(5, 1), (5, 4), (10, 4)])
def test_better__smallest_difference_that_is_stated__is_seen_in_four_of_five(pairs, num_contrasts):
    errors, freedoms = np.full(1, 1 / np.sqrt(pairs)), np.full(1, pairs - 1.0)
    smallest = smallest_difference(errors, freedoms, np.eye(1), num_tests=num_contrasts).value
    # All others without a difference, so that this one has to pass the first step of Holm's method.
    found = decide(estimate_pairs(draw_contrasts([smallest, *[0.0] * (num_contrasts - 1)], pairs=pairs)))
    assert found.is_above[:, 0].mean() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("mean", [1.0, -1.0, 1.5])
@pytest.mark.parametrize("num_contrasts", [1, 4])
def test_within__difference_of_the_margin_or_more__is_rare(mean, num_contrasts):
    found = decide(estimate_pairs(draw_contrasts([mean] * num_contrasts, std=0.5)), margins=1.0)
    assert rate(found.is_within) <= RARE


def test_within__no_difference_and_little_spread__is_seen():
    found = decide(estimate_pairs(draw_contrasts([0.0] * 4, std=0.4)), margins=1.0)
    assert found.is_within.mean() > 0.8
    assert rate(found.is_above | found.is_below) <= RARE


def test_better_and_within__small_difference_and_little_spread__both_are_seen():
    found = decide(estimate_pairs(draw_contrasts([0.5] * 3, std=0.15)), margins=1.0)
    assert (found.is_above & found.is_within).mean() > 0.8
    assert not found.is_below.any()


def test_undecided__large_spread__is_what_is_said_of_a_difference_that_five_seeds_cannot_see():
    found = decide(estimate_pairs(draw_contrasts([1.0] * 4, std=3.0)), margins=1.0)
    assert (~(found.is_above | found.is_below | found.is_within)).mean() > 0.9


def look_again_and_again(mean, *, factor, std=1.0, margin=1.0, seed=0):
    """What is said at 5, 10, 15 and 20 seeds, p-values multiplied by a factor for each look: (looks, draws)."""
    deltas = draw_contrasts([mean], pairs=20, std=std, seed=seed)
    made = [decide(estimate_pairs(deltas[..., : 5 * k]), margins=margin, looks=factor(k)) for k in (1, 2, 3, 4)]
    return np.array([(found.is_above | found.is_below)[:, 0] for found in made]), np.array(
        [found.is_within[:, 0] for found in made]
    )


def test_looks__planned__whoever_stops_at_the_first_verdict_is_rarely_wrong():
    differs, _ = look_again_and_again(0.0, factor=lambda _look: 4)
    assert differs.any(axis=0).mean() <= RARE
    _, within = look_again_and_again(1.0, factor=lambda _look: 4)
    assert within.any(axis=0).mean() <= RARE
    differs, _ = look_again_and_again(1.0, factor=lambda _look: 4)
    assert differs.any(axis=0).mean() > 0.8


def test_looks__not_planned__the_last_table_is_rarely_wrong_and_stopping_early_costs_what_the_page_says():
    differs, _ = look_again_and_again(0.0, factor=lambda look: look)
    assert differs[-1].mean() <= 0.05 / 4 + 3 * np.sqrt(0.0125 / DRAWS)
    stopped = np.mean(
        [look_again_and_again(0.0, factor=lambda look: look, seed=s)[0].any(axis=0).mean() for s in range(5)]
    )
    assert 0.05 < stopped < 0.09
    uncorrected = look_again_and_again(0.0, factor=lambda _look: 1)[0].any(axis=0).mean()
    assert uncorrected > 0.1


def test_better__training_sets_that_overlap__is_rare_with_the_correction_and_not_without():
    random = np.random.default_rng(0)
    overlap = 0.125  # of 5,000 images 4,000 train and 500 are the test; Nadeau and Bengio's correlation of two seeds
    shared, own = overlap / (1 + overlap), 1 / (1 + overlap)
    noise = np.sqrt(shared) * random.normal(size=(DRAWS, 1, 1)) + np.sqrt(own) * random.normal(size=(DRAWS, 1, 10))
    for made, is_rare in ((estimate_pairs(noise, overlap=overlap), True), (estimate_pairs(noise), False)):
        found = decide(made, margins=0.01)
        assert (rate(found.is_above | found.is_below) <= RARE) == is_rare
    found = decide(estimate_pairs(2 + noise, overlap=overlap), margins=0.01)
    assert found.is_above.mean() > 0.8


def draw_groups(mean, *, seeds, groups, spreads, seed=0):
    """Differences by seed and group of images of other sizes, noise of seeds, groups and both: one contrast each."""
    random = np.random.default_rng(seed)
    shapes = ((seeds, 1), (1, groups), (seeds, groups))
    noise = sum(spread * random.normal(size=(DRAWS, *shape)) for spread, shape in zip(spreads, shapes, strict=True))
    sizes = random.integers(50, 150, size=groups)
    return GroupedDeltas(mean + noise, sizes / sizes.sum(), np.zeros(groups, dtype=int))


def decide_groups(deltas, **options):
    """What is said of one contrast in each draw."""
    return decide(Estimate(*(each[:, None] for each in estimate_groups(deltas))), **options)


WORLDS = [(5, 13), (5, 4), (10, 20)]


@pytest.mark.parametrize(("seeds", "groups"), WORLDS)
@pytest.mark.parametrize("spreads", [(0, 1, 1), (1, 1, 1), (1, 0, 1), (0, 0, 1), (0.1, 2, 0.5)])
def test_groups__no_difference__is_rarely_seen_whatever_varies(seeds, groups, spreads):
    found = decide_groups(draw_groups(0.0, seeds=seeds, groups=groups, spreads=spreads), margins=1.0)
    assert rate(found.is_above | found.is_below) <= RARE


@pytest.mark.parametrize(("seeds", "groups"), WORLDS)
def test_groups__difference_of_the_margin__is_rarely_called_within_it(seeds, groups):
    spreads = (0.3, 0.3, 0.3)
    found = decide_groups(draw_groups(1.0, seeds=seeds, groups=groups, spreads=spreads), margins=1.0)
    assert rate(found.is_within) <= RARE
    found = decide_groups(draw_groups(0.0, seeds=seeds, groups=groups, spreads=spreads), margins=1.0)
    assert found.is_within.mean() > 0.7


def test_groups__planted_difference__is_seen():
    found = decide_groups(draw_groups(1.5, seeds=5, groups=13, spreads=(0.3, 1, 1)))
    assert found.is_above.mean() > 0.9


def test_groups__images_taken_as_they_are__a_difference_of_these_writers_is_taken_for_one_of_methods():
    deltas = draw_groups(0.0, seeds=5, groups=13, spreads=(0, 1, 1))
    found = decide(estimate_pairs((deltas.values * deltas.weights).sum(-1)[:, None]))
    assert rate(found.is_above | found.is_below) > 0.25
