"""Whether features tell a column: both tests, on rows whose law is known."""

from types import MappingProxyType

import pytest
import torch
from scipy import stats

from auxo.errors import ConfigError, NonFiniteError
from auxo.interfaces import AbstractImageReader
from auxo.layers.cell_weights import count_cells, independence_weights
from auxo.losses.invariance import discrepancy
from auxo.losses.kernels.rbf import RBF
from auxo.runs.independence import Dependence, IndependenceTestConfig, SplitRows
from auxo.runs.independence.chunks import Chunks, compare_mean
from auxo.runs.independence.permutation import Permutation
from auxo.types import Batch

QUICK = Permutation(column="place", permutations=59)
SIZES = {"num_classes": 2, "num_values": 2}


def make_rows(seed: int, *, tells: float, count: int = 80) -> SplitRows:
    """Rows that depend on the class, and on the column by so much; column and class go together in 0.8 of them."""
    draws = torch.Generator().manual_seed(seed)
    classes = torch.randint(2, (count,), generator=draws)
    values = torch.where(torch.rand(count, generator=draws) < 0.8, classes, 1 - classes)
    noise = torch.randn(count, 3, generator=draws, dtype=torch.float64)
    rows = 2.0 * classes[:, None] + tells * values[:, None] + noise
    weights = independence_weights(count_cells(classes, values, shape=(2, 2)))[classes, values]
    return SplitRows(rows, classes, values, weights)


class Images(AbstractImageReader):
    """The same as a split."""

    split = "val"
    targets = MappingProxyType({})

    def __init__(self, rows: SplitRows, **targets: torch.Tensor) -> None:
        self.rows = rows.rows
        self.targets = {"label": rows.classes, "place": rows.values, **targets}

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, function):
        return function(Batch(self.rows[:, :, None, None].float(), {}, torch.arange(len(self))))

    def features(self, network=None):
        del network
        return self.rows.float()

    def pixels(self, positions):
        raise AssertionError("a test of features asks for no pixels")


def predict(images):
    return images[:, :2, 0, 0]


def test_permutation__features_of_the_class_alone__have_even_p_values() -> None:
    found = [QUICK.test(make_rows(seed, tells=0.0), **SIZES).p_value for seed in range(40)]
    assert sum(p < 0.05 for p in found) <= 6  # 2 expected; 6 or fewer in 99.7 % of samples
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_permutation__features_that_tell_the_column__are_found() -> None:
    found = [QUICK.test(make_rows(seed, tells=1.5), **SIZES) for seed in range(5)]
    assert [each.p_value for each in found] == [1 / 60] * 5


def test_permutation__unweighted__takes_the_classs_part_for_the_shortcut_and_knows_its_law() -> None:
    rows = make_rows(0, tells=0.0)
    plain = rows._replace(weights=torch.ones_like(rows.weights))
    weighted, unweighted = (QUICK.test(each, **SIZES) for each in (rows, plain))
    assert unweighted.statistic > 3 * weighted.statistic
    assert unweighted.p_value > 0.05  # permuted within the classes the statistic is as large


def test_permutation__features_all_alike__have_the_p_value_1() -> None:
    rows = make_rows(0, tells=0.0)
    assert QUICK.test(rows._replace(rows=torch.zeros_like(rows.rows)), **SIZES) == Dependence(0.0, 1.0)


def test_chunks__features_of_the_class_alone__are_rejected_far_too_often() -> None:
    test = Chunks(column="place", kernel=RBF(sigma=3.0))
    found = [test.test(make_rows(seed, tells=0.0, count=300), **SIZES).p_value for seed in range(40)]
    assert sum(p < 0.05 for p in found) >= 10  # 2 expected; its values are never negative: see the module


def test_chunks__three_parts__are_consecutive_and_the_rest_is_dropped() -> None:
    rows = make_rows(1, tells=1.0, count=50)
    kernel = RBF(sigma=2.0)
    parts = [slice(0, 16), slice(16, 32), slice(32, 48)]
    values = [
        float(discrepancy(kernel.compare(rows.rows[p]), rows.values[p], rows.weights[p], num_values=2)) for p in parts
    ]
    found = Chunks(column="place", kernel=kernel).test(rows, **SIZES)
    assert found.statistic == pytest.approx(sum(values) / 3)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_compare_mean__zeros_and_equal_values__are_1_and_0() -> None:
    assert compare_mean([0.0, 0.0, 0.0]) == 1
    assert compare_mean([0.2, 0.2, 0.2]) == 0
    # t = 2 / (1 / sqrt 3), two-sided with 2 degrees of freedom.
    assert compare_mean([1.0, 2.0, 3.0]) == pytest.approx(2 * stats.t.sf(2 * 3**0.5, 2))


@pytest.mark.parametrize("test", [QUICK, Chunks(column="place")])
def test_measure__of_a_split__is_the_weighted_loss_and_the_test(test: IndependenceTestConfig) -> None:
    rows = make_rows(2, tells=1.0)
    found = test.measure(predict, Images(rows))
    logits = rows.rows.float()[:, :2].double()
    losses = torch.nn.functional.cross_entropy(logits, rows.classes, reduction="none")
    expected = float((rows.weights * losses).sum() / rows.weights.sum())
    assert found["weighted_nll/place"].value == pytest.approx(expected)
    assert not found["weighted_nll/place"].higher_is_better
    result = test.test(rows._replace(rows=rows.rows.float().double()), **SIZES)
    assert found["discrepancy/place"].value == pytest.approx(result.statistic)
    assert found["independence/place"].value == pytest.approx(result.p_value)
    assert test.measure(predict, Images(rows)) == found


def test_measure__more_images_than_are_tested__takes_the_same_part_every_time() -> None:
    rows = make_rows(3, tells=1.0)
    few = Permutation(column="place", permutations=19, most=40)
    found = [few.measure(predict, Images(rows)) for _ in range(2)]
    assert found[0] == found[1]
    whole = Permutation(column="place", permutations=19).measure(predict, Images(rows))
    assert found[0]["discrepancy/place"] != whole["discrepancy/place"]
    assert found[0]["weighted_nll/place"] == whole["weighted_nll/place"]


def test_measure__what_cannot_be_tested__is_refused() -> None:
    rows = make_rows(4, tells=0.0)
    with pytest.raises(ConfigError, match="a column of val to test features by, got 'site' where there is place"):
        Permutation(column="site").measure(predict, Images(rows))
    with pytest.raises(ConfigError, match="two values of 'place' or more on val, got one"):
        QUICK.measure(predict, Images(rows, place=torch.zeros_like(rows.values)))
    with pytest.raises(NonFiniteError, match="finite embedding on val"):
        QUICK.measure(predict, Images(rows._replace(rows=rows.rows * torch.nan)))
    with pytest.raises(ConfigError, match="100 validation images or more, got 80"):
        Chunks(column="place", chunks=100).measure(predict, Images(rows))
