import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm

from auxo.errors import ConfigError
from auxo.tasks import auroc_interval, bootstrap_interval, bootstrap_sums, clustered_interval, wilson_interval


def closed_form(successes: int, total: int, confidence: float) -> tuple[float, float]:
    """Wilson 1927, solved for the two ends."""
    z = float(norm.ppf((1 + confidence) / 2))
    p = successes / total
    center = p + z * z / (2 * total)
    half = z * (p * (1 - p) / total + z * z / (4 * total * total)) ** 0.5
    return (center - half) / (1 + z * z / total), (center + half) / (1 + z * z / total)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval__known_cases__gives_the_printed_values(
    successes: int, total: int, low: float, high: float
) -> None:
    found = wilson_interval(successes, total)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(
    st.integers(1, 3000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))), st.floats(0.5, 0.999)
)
def test_wilson_interval__any_counts__equals_the_closed_form(counts: tuple[int, int], confidence: float) -> None:
    successes, total = counts
    found = wilson_interval(successes, total, confidence)
    low, high = closed_form(successes, total, confidence)
    assert found.low == pytest.approx(low, abs=1e-9)
    assert found.high == pytest.approx(high, abs=1e-9)
    assert 0 <= found.low <= successes / total <= found.high <= 1


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval__impossible_counts__are_refused(successes: int, total: int) -> None:
    with pytest.raises(ConfigError, match=f"{successes} of {total}"):
        wilson_interval(successes, total)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_wilson_interval__confidence_out_of_range__is_refused(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence"):
        wilson_interval(1, 2, confidence)


def test_clustered_interval__clusters_that_agree__equal_wilson_over_clusters() -> None:
    shares = torch.tensor([1.0] * 30 + [0.0] * 10)
    found = clustered_interval(shares, trials_per_cluster=75)
    assert found == pytest.approx((0.598, 0.858), abs=5e-3)


@pytest.mark.parametrize(("chance", "correlation"), [(0.5, 0.0), (0.8, 0.3), (0.9, 1.0)])
def test_clustered_interval__simulated_clusters__holds_the_truth_as_often_as_it_says(
    chance: float, correlation: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(300):
        own = torch.rand(100, 1, generator=generator) < chance
        others = torch.rand(100, 10, generator=generator) < chance
        is_shared = torch.rand(100, 10, generator=generator) < correlation**0.5
        low, high = clustered_interval(torch.where(is_shared, own, others).double().mean(1), trials_per_cluster=10)
        held += low <= chance <= high
    assert 0.92 <= held / 300 <= 0.98


@pytest.mark.parametrize(
    ("shares", "options", "words"),
    [
        ([], {}, "at least one cluster"),
        ([0.5], {"trials_per_cluster": 0}, "at least one trial"),
        ([0.5, 1.5], {}, r"shares of successes in \[0, 1\]"),
        ([0.5, float("nan")], {}, r"shares of successes in \[0, 1\]"),
        ([0.5], {"confidence": 1.0}, r"confidence in \(0, 1\)"),
    ],
)
def test_clustered_interval__no_clusters_or_numbers_out_of_range__are_refused(
    shares: list[float], options: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        clustered_interval(torch.tensor(shares), **{"trials_per_cluster": 10, **options})


def test_clustered_interval__clusters_of_many_sizes__hold_the_truth_as_often_as_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes, held = 1 + torch.arange(80) % 12, 0
    for _ in range(300):
        chances = 0.6 + 0.3 * torch.rand(80, generator=generator)
        hits = torch.binomial(sizes.double(), chances.double(), generator=generator)
        low, high = clustered_interval(hits / sizes, trials_per_cluster=sizes)
        held += low <= 0.75 <= high
    assert 0.92 <= held / 300 <= 0.98


def test_clustered_interval__sizes_that_are_equal__is_as_of_one_number() -> None:
    shares = torch.tensor([0.2, 0.8, 0.6, 1.0])
    found = clustered_interval(shares, trials_per_cluster=torch.full((4,), 5))
    assert found == pytest.approx(tuple(clustered_interval(shares, trials_per_cluster=5)))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_clustered_interval__all_alike__is_not_empty(share: float) -> None:
    low, high = clustered_interval(torch.full((50,), share), trials_per_cluster=10)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0.05


def test_auroc_interval__hanley_and_mcneils_example__has_their_standard_error() -> None:
    # Their mildly abnormal scans: an area of 0.893 of 51 abnormal and 58 normal patients, with an error of 0.032.
    low, high = auroc_interval(0.893, positives=51, negatives=58, confidence=0.6826895)
    assert (high - low) / 2 == pytest.approx(0.0325, abs=5e-5)
    assert (high + low) / 2 == pytest.approx(0.893)


def test_auroc_interval__by_hand__is_the_formula() -> None:
    # A = 0.8: Q1 = 2/3 and Q2 = 1.28/1.8; of 2 and 3 images the variance is (0.16 + 0.02667 + 0.14222) / 6.
    variance = (0.16 + (2 / 3 - 0.64) + 2 * (1.28 / 1.8 - 0.64)) / 6
    low, high = auroc_interval(0.8, positives=2, negatives=3, confidence=0.5)
    half = float(norm.ppf(0.75)) * variance**0.5
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half))


@pytest.mark.parametrize(("area", "ends"), [(1.0, (1.0, 1.0)), (0.0, (0.0, 0.0))])
def test_auroc_interval__perfect_order__has_no_width(area: float, ends: tuple[float, float]) -> None:
    assert auroc_interval(area, positives=9, negatives=4) == pytest.approx(ends)


def test_auroc_interval__few_images__is_cut_off_at_the_ends_of_the_range() -> None:
    low, high = auroc_interval(0.5, positives=1, negatives=1)
    assert (low, high) == (0.0, 1.0)


def test_bootstrap_interval__mean__is_about_the_normal_interval() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrap_interval(lambda drawn: float(values[drawn].mean()), 400, resamples=4000)
    half = 1.96 * float(values.std()) / 20
    assert low == pytest.approx(float(values.mean()) - half, abs=0.08 * half)
    assert high == pytest.approx(float(values.mean()) + half, abs=0.08 * half)


def test_bootstrap_interval__simulated_sets__holds_the_truth_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    held = 0
    for number in range(200):
        values = torch.rand(60, generator=generator)

        def mean(drawn: torch.Tensor, values: torch.Tensor = values) -> float:
            return float(values[drawn].mean())

        low, high = bootstrap_interval(mean, 60, resamples=200, seed=number)
        held += low <= 0.5 <= high
    assert 0.88 <= held / 200 <= 0.98


def test_bootstrap_interval__images_of_a_cluster_that_agree__widen_it() -> None:
    values = torch.randn(50, generator=torch.Generator().manual_seed(0)).repeat_interleave(20)

    def mean(drawn: torch.Tensor) -> float:
        return float(values[drawn].mean())

    clusters = torch.arange(50).repeat_interleave(20)
    (low, high), (lowest, highest) = (bootstrap_interval(mean, 1000, clusters=c) for c in (None, clusters))
    # The standard error of 50 independent values is sqrt(20) times that of 1,000.
    assert (highest - lowest) / (high - low) == pytest.approx(20**0.5, rel=0.15)


def test_bootstrap_interval__clusters__are_drawn_whole_whatever_their_numbers_and_order() -> None:
    clusters, sets = torch.tensor([7, 3, 7, 9, 3, 7]), []
    bootstrap_interval(lambda drawn: sets.append(drawn) or 0.0, 6, clusters=clusters, resamples=50)
    assert len(sets) == 50
    for drawn in sets:
        counts = drawn.bincount(minlength=6).tolist()
        assert counts[0] == counts[2] == counts[5]
        assert counts[1] == counts[4]
        assert counts[0] + counts[1] + counts[3] == 3


def test_bootstrap_interval__seed__decides_the_draws_and_no_other_generator() -> None:
    values = torch.randn(30, generator=torch.Generator().manual_seed(0))

    def found(seed: int) -> tuple[float, float]:
        return bootstrap_interval(lambda drawn: float(values[drawn].mean()), 30, resamples=50, seed=seed)

    once = found(3)
    torch.manual_seed(9)
    assert found(3) == once
    assert found(4) != once


def test_bootstrap_interval__sets_without_the_measure__are_left_out() -> None:
    def only_without_the_first(drawn: torch.Tensor) -> float:
        return float("nan") if 0 in drawn else 2.0

    assert bootstrap_interval(only_without_the_first, 5) == (2.0, 2.0)
    low, high = bootstrap_interval(lambda drawn: float("nan"), 5, resamples=10)
    assert low != low
    assert high != high


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_bootstrap_interval__confidence_out_of_range__is_refused(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence"):
        bootstrap_interval(lambda drawn: 0.0, 5, confidence=confidence)


@pytest.mark.parametrize(("auroc", "positives", "negatives"), [(0.5, 0, 3), (0.5, 3, 0), (1.5, 2, 3), (-0.1, 2, 3)])
def test_auroc_interval__no_area_or_no_image_of_a_class__is_refused(auroc, positives, negatives) -> None:
    with pytest.raises(ConfigError, match=r"an area in \[0, 1\] of at least one image of each class"):
        auroc_interval(auroc, positives, negatives)


@pytest.mark.parametrize(
    ("count", "options"), [(0, {}), (3, {"resamples": 1}), (3, {"clusters": torch.tensor([0, 1])})]
)
def test_bootstrap_interval__nothing_to_draw__is_refused(count, options) -> None:
    with pytest.raises(ConfigError, match="two resamples or more, and a cluster for each image"):
        bootstrap_interval(lambda drawn: 0.0, count, **options)


def draw_sums(count: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.rand(count, generator=generator), 1 + torch.rand(count, generator=generator)], 1).double()


def test_bootstrap_sums__ratio_of_sums__is_the_interval_of_scipy() -> None:
    sums = draw_sums()
    (found, of_second) = bootstrap_sums(
        lambda rows: torch.stack([rows[:, 0] / rows[:, 1], rows[:, 1]], 1), sums, resamples=4000
    )
    expected = bootstrap(
        sums.T.numpy(),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        random_state=1,
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.08 * width)
    assert found.high == pytest.approx(expected.high, abs=0.08 * width)
    assert of_second.low < float(sums[:, 1].sum()) < of_second.high


def test_bootstrap_sums__clusters__are_sums_that_are_drawn_whole() -> None:
    sums, clusters = draw_sums(), torch.arange(40) % 5
    by_cluster = torch.stack([sums[clusters == number].sum(0) for number in range(5)])

    def measure(rows: torch.Tensor) -> torch.Tensor:
        return rows[:, :1] / rows[:, 1:]

    (found,), (expected,) = bootstrap_sums(measure, sums, clusters=clusters + 7), bootstrap_sums(measure, by_cluster)
    assert found == pytest.approx(expected)


def test_bootstrap_sums__sets_without_the_measure__are_left_out() -> None:
    sums = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert bootstrap_sums(lambda rows: rows[:, :1] / rows[:, 1:], sums) == [(0.5, 0.5)]
