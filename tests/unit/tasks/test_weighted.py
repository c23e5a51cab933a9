"""Measures of weighted images: loops over pairs, other libraries, intervals that hold what they should."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from auxo.tasks import (
    Classification,
    bootstrap_weighted,
    combine_intervals,
    measure_weighted_mean,
    weighted_auroc,
    wilson_interval,
)

TWO = Classification(("no", "yes"), channels=3, height=8, width=8)


def draw_ranked(count=30, seed=0):
    """Margins with ties, classes and weights."""
    generator = torch.Generator().manual_seed(seed)
    margins = torch.randint(6, (count,), generator=generator).double()
    return margins, torch.rand(count, generator=generator) < 0.4, torch.rand(count, generator=generator).double()


def compute_by_pairs(margins, is_positive, weights):
    """The share of pairs in the right order, pair by pair."""
    right = total = 0.0
    for i in is_positive.nonzero().flatten().tolist():
        for j in (~is_positive).nonzero().flatten().tolist():
            pair = float(weights[i] * weights[j])
            total += pair
            right += pair * (1.0 if margins[i] > margins[j] else 0.5 if margins[i] == margins[j] else 0.0)
    return right / total


@pytest.mark.parametrize("seed", range(5))
def test_weighted_auroc__ties_and_weights__equals_all_pairs_and_scikit_learn(seed):
    margins, is_positive, weights = draw_ranked(seed=seed)
    found = float(weighted_auroc(margins, is_positive, weights))
    assert found == pytest.approx(compute_by_pairs(margins, is_positive, weights), abs=1e-12)
    expected = roc_auc_score(is_positive.numpy(), margins.numpy(), sample_weight=weights.numpy())
    assert found == pytest.approx(expected, abs=1e-12)


def test_weighted_auroc__several_sets_of_weights__each_as_alone_and_nothing_of_one_class():
    margins, is_positive, weights = draw_ranked()
    several = torch.stack([weights, weights.flip(0), weights * is_positive])
    found = weighted_auroc(margins, is_positive, several)
    alone = [float(weighted_auroc(margins, is_positive, each)) for each in several]
    assert found[:2].tolist() == alone[:2]
    assert found[2].isnan()


def test_weighted_mean__equal_weights_in_one_cell__is_the_proportion_with_wilsons_interval():
    values = torch.tensor([1.0] * 7 + [0.0] * 3)
    found = measure_weighted_mean(values, torch.full((10,), 2.0), cells=torch.zeros(10, dtype=torch.int64))
    assert found.value == pytest.approx(0.7)
    assert (found.low, found.high) == pytest.approx(wilson_interval(7, 10), abs=1e-12)


def test_combine_intervals__a_difference__is_newcombes_printed_one():
    # Newcombe 1998, table II: 56/70 and 48/80 by method 10 are 0.0524 to 0.3339; 9/10 and 3/10 are 0.1705 to 0.8090.
    for pairs, expected in ((((56, 70), (48, 80)), (0.0524, 0.3339)), (((9, 10), (3, 10)), (0.1705, 0.8090))):
        means = [hits / count for hits, count in pairs]
        found = combine_intervals(means, [wilson_interval(*pair) for pair in pairs], [1.0, -1.0])
        assert found == pytest.approx(expected, abs=5e-5)


def test_weighted_mean__many_sets_of_two_cells__intervals_hold_the_truth_as_often_as_they_say():
    generator, held = torch.Generator().manual_seed(0), 0
    cells = torch.tensor([0] * 60 + [1] * 15)
    probs, weights = torch.tensor([0.9, 0.4])[cells], torch.tensor([0.5, 3.0])[cells]
    truth = float((weights * probs).sum() / weights.sum())
    for _ in range(400):
        values = (torch.rand(75, generator=generator) < probs).double()
        found = measure_weighted_mean(values, weights, cells=cells)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.99


def test_weighted_mean__values_between__has_the_bootstraps_interval():
    values = torch.linspace(0, 1, 40, dtype=torch.float64)
    found = measure_weighted_mean(values, torch.ones(40), cells=torch.zeros(40, dtype=torch.int64))
    half = 1.96 * float(values.std(correction=0)) / 40**0.5
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.02)


def test_bootstrap_weighted__cells__keep_their_numbers_of_images():
    cells, seen = torch.tensor([0, 0, 0, 1, 1]), []

    def measure(weights):
        seen.append(weights)
        return weights[:, 0]

    bootstrap_weighted(measure, torch.tensor([1.0, 1, 1, 4, 4]), cells=cells, resamples=150)
    drawn = torch.cat(seen)
    assert len(drawn) == 150
    assert (drawn[:, :3].sum(1) == 3).all()
    assert (drawn[:, 3:].sum(1) == 8).all()
    assert drawn[:, 0].var() > 0


def test_measure_weighted__two_classes__has_accuracy_and_area_and_three_classes_accuracy():
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0], [0.5, 0.0]], dtype=torch.float64)
    labels, weights = torch.tensor([0, 1, 0, 1]), torch.tensor([1.0, 1, 2, 4])
    scores = {name: values.double() for name, values in TWO.score(logits, {"label": labels}).items()}
    found = TWO.measure_weighted(scores, weights, cells=labels)
    assert list(found) == ["accuracy", "auroc"]
    assert found["accuracy"].value == pytest.approx(2 / 8)
    is_positive, margins = labels == 1, logits[:, 1] - logits[:, 0]
    assert found["auroc"].value == pytest.approx(compute_by_pairs(margins, is_positive, weights), abs=1e-12)
    three = Classification(("a", "b", "c"), channels=3, height=8, width=8)
    scores = three.score(torch.eye(3).double(), {"label": torch.arange(3)})
    assert list(three.measure_weighted(scores, torch.ones(3), cells=torch.arange(3))) == ["accuracy"]
