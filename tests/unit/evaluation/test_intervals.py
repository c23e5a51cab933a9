import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from auxo.errors import ConfigError
from auxo.evaluation import wilson_interval


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
