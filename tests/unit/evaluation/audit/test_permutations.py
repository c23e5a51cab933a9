"""Tests by permutation: uniform where nothing differs within the strata, sure where something does."""

import pytest
import torch
from scipy.stats import kstest

from auxo.evaluation.audit import AuditConfig, choose_compared, compare_embeddings, compare_means

FEW = AuditConfig(permutations=99)


def draw_world(seed, *, count=80, shift=0.0, strength=0.8):
    """Strata, groups that go with them, features of both, and answers that do so too; ``shift`` is the groups' part."""
    generator = torch.Generator().manual_seed(seed)
    strata = torch.randint(2, (count,), generator=generator)
    groups = torch.where(torch.rand(count, generator=generator) < strength, strata, 1 - strata)
    features = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    features[:, 0] += 2.0 * strata + shift * groups
    prob = 0.6 + 0.2 * strata - 0.3 * shift * (groups != strata)
    return (torch.rand(count, generator=generator) < prob).double(), features, strata, groups


def p_values(measure, num_worlds, **options):
    return [measure(*draw_world(seed, **options), seed).p for seed in range(num_worlds)]


def of_means(values, _features, strata, groups, seed):
    return compare_means(values, strata, groups, permutations=99, seed=seed)


def of_features(_values, features, strata, groups, seed):
    return compare_embeddings(features, strata, groups, config=FEW, seed=seed).test


@pytest.mark.slow
@pytest.mark.parametrize("measure", [of_means, of_features])
def test_p_values__nothing_differs_within_the_strata__are_uniform(measure):
    found = p_values(measure, 300)
    assert set(found) <= {k / 100 for k in range(1, 101)}
    rejected = sum(p <= 0.05 for p in found) / len(found)
    assert 0.02 <= rejected <= 0.085  # 0.05 +- 2.8 standard errors
    if measure is of_features:  # answers of 0 and 1 have many equal statistics, which make p-values larger
        assert kstest(found, "uniform").pvalue > 0.001


@pytest.mark.parametrize("measure", [of_means, of_features])
def test_p_values__nothing_differs_within_the_strata__are_seldom_small(measure):
    found = p_values(measure, 40)
    assert sum(p <= 0.05 for p in found) <= 6  # more in one of 100 such tests
    assert 0.35 <= sum(found) / len(found) <= 0.72


@pytest.mark.parametrize("measure", [of_means, of_features])
def test_p_values__a_planted_difference__are_small(measure):
    assert all(p <= 0.02 for p in p_values(measure, 5, count=400, shift=1.5))


def test_compare_means__groups_that_go_with_the_strata__a_test_over_all_images_would_be_fooled():
    rejected = {"within": 0, "over all": 0}
    for seed in range(20):
        values, _, strata, groups = draw_world(seed, count=300, strength=0.95)
        rejected["within"] += compare_means(values, strata, groups, permutations=99, seed=0).p <= 0.05
        one = torch.zeros_like(strata)
        rejected["over all"] += compare_means(values, one, groups, permutations=99, seed=0).p <= 0.05
    assert rejected["within"] <= 4  # more in three of 1,000 such tests
    assert rejected["over all"] >= 15


def test_compare_means__statistic__as_by_hand():
    values = torch.tensor([1.0, 1, 0, 0, 1, 0, 0, 0], dtype=torch.float64)
    strata, groups = torch.tensor([0] * 4 + [1] * 4), torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    # Stratum 0 has the mean 1/2, its cells 2/3 (three) and 0 (one); stratum 1 has 1/4, its cells 1 (one) and 0 (three).
    expected = (3 * (2 / 3 - 1 / 2) ** 2 + (1 / 2) ** 2 + (3 / 4) ** 2 + 3 * (1 / 4) ** 2) / 8
    assert compare_means(values, strata, groups, permutations=9, seed=0).statistic == pytest.approx(expected, abs=1e-12)


def test_compare_embeddings__statistic__as_pair_by_pair():
    _, features, strata, groups = draw_world(1, count=30, strength=0.6)
    found = compare_embeddings(features, strata, groups, config=FEW, seed=0)
    distances = torch.cdist(features, features)
    scale = distances[torch.triu(torch.ones(30, 30), 1).bool()].median()
    kernel = torch.exp(-(distances**2) / (2 * scale**2))
    total = 0.0
    for y in (0, 1):
        first, second = ((strata == y) & (groups == v) for v in (0, 1))
        own = kernel[first][:, first].mean() + kernel[second][:, second].mean() - 2 * kernel[first][:, second].mean()
        total += float(own) * int((strata == y).sum()) / 30
    assert found.length_scale == pytest.approx(float(scale), abs=1e-9)
    assert found.test.statistic == pytest.approx(total, abs=1e-9)
    assert found.n == 30


def test_compare_embeddings__independent_weights__leave_what_the_strata_explain_out():
    _, features, strata, groups = draw_world(2, count=400, strength=0.85)
    found = compare_embeddings(features, strata, groups, config=FEW, seed=0)
    one = compare_embeddings(features, torch.zeros_like(strata), groups, config=FEW, seed=0)
    assert found.weighted < 0.25 * one.test.statistic
    more = [torch.cat([each, end]) for each, end in ((features, features[:20]), (strata, strata[:20] * 0 + 2))]
    missing = compare_embeddings(*more, torch.cat([groups, groups[:20] * 0 + 2]), config=FEW, seed=0)
    assert missing.weighted is None


def test_compare_embeddings__many_images__a_draw_in_their_proportions():
    _, features, strata, groups = draw_world(3, count=300)
    found = compare_embeddings(features, strata, groups, config=AuditConfig(permutations=19, num_embedded=60), seed=0)
    assert found.n == 60


def test_choose_compared__small_cells_and_strata_with_one__are_left_out():
    strata = torch.tensor([0] * 6 + [1] * 6 + [2] * 6)
    groups = torch.tensor([0, 0, 0, 1, 1, 1] + [0, 0, 0, 0, 0, 1] + [0, 0, 1, 1, 2, 2])
    found = choose_compared(strata, groups, fewest=2)
    assert found.tolist() == [True] * 6 + [False] * 6 + [True] * 6
    assert not choose_compared(strata, groups, fewest=4).any()
