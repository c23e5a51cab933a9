import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from auxo.errors import ConfigError
from auxo.tasks import clustered_interval, wilson_interval


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


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_clustered_interval__all_alike__is_not_empty(share: float) -> None:
    low, high = clustered_interval(torch.full((50,), share), trials_per_cluster=10)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0.05
