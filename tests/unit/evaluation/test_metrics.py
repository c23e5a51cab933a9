import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from auxo.errors import DataError, ShapeError
from auxo.evaluation import HeadMetrics, HeadScores

CPU = torch.device("cpu")


def sample(n: int = 500, classes: int = 7, seed: int = 0, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, classes, generator=generator), torch.randint(classes, (n,), generator=generator)


def scores(logits: Tensor, targets: Tensor, *, batch_size: int = 64) -> HeadScores:
    metrics = HeadMetrics(logits.shape[1], CPU)
    for part, labels in zip(logits.split(batch_size), targets.split(batch_size), strict=True):
        metrics.update(part, labels)
    return metrics.compute()


@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_compute__random_logits__equals_torchmetrics(scale: float) -> None:
    logits, targets = sample(scale=scale)
    logits[::3] += 5 * torch.nn.functional.one_hot(targets[::3], 7)
    found = scores(logits, targets)
    assert found.accuracy == pytest.approx(multiclass_accuracy(logits, targets, 7, average="micro").item(), abs=1e-7)
    per_class = multiclass_accuracy(logits, targets, 7, average="none").tolist()
    assert found.per_class == pytest.approx(per_class, abs=1e-7)
    expected = multiclass_calibration_error(logits, targets, 7, n_bins=15, norm="l1").item()
    assert found.calibration_error == pytest.approx(expected, abs=1e-6)


def test_compute__random_logits__equals_sklearn() -> None:
    logits, targets = sample()
    found = scores(logits.double(), targets)
    probabilities = logits.double().softmax(1).numpy()
    assert found.nll == pytest.approx(log_loss(targets.numpy(), probabilities, labels=range(7)), rel=1e-12)
    assert found.accuracy == accuracy_score(targets.numpy(), probabilities.argmax(1))
    assert (found.n, found.correct) == (500, round(500 * found.accuracy))


def test_compute__by_hand__two_classes() -> None:
    # confidences 0.9, 0.9, 0.6 in the bins 13, 13 and 9 of 15; right, wrong, right
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], dtype=torch.float64)
    found = scores(probabilities.log(), torch.tensor([0, 1, 1]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.nll == pytest.approx(-torch.tensor([0.9, 0.1, 0.6]).log().mean().item(), rel=1e-6)
    assert found.calibration_error == pytest.approx((abs(1 - 1.8) + abs(1 - 0.6)) / 3, abs=1e-6)
    assert found.per_class == (1.0, 0.5)


def test_compute__saturated_logits__have_no_error_when_all_are_right() -> None:
    found = scores(torch.tensor([[200.0, 0.0], [0.0, 200.0]]), torch.tensor([0, 1]))
    assert (found.accuracy, found.nll, found.calibration_error) == (1.0, 0.0, 0.0)


def test_compute__absent_class__is_none() -> None:
    logits, _ = sample(classes=3)
    assert scores(logits, torch.zeros(500, dtype=torch.int64)).per_class[1:] == (None, None)


def test_update__half_precision__is_measured_in_float32() -> None:
    logits, targets = sample()
    half = logits.bfloat16()
    assert scores(half, targets) == scores(half.float(), targets)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 60), cut=st.integers(0, 60), seed=st.integers(0, 99))
def test_merge__two_shards__equal_the_whole(n: int, cut: int, seed: int) -> None:
    logits, targets = sample(n=n, seed=seed)
    shards = [HeadMetrics(7, CPU), HeadMetrics(7, CPU)]
    for shard, part in zip(shards, (slice(None, cut), slice(cut, None)), strict=True):
        shard.update(logits[part], targets[part])
    sums: list[Tensor] = []
    shards[0].merge(lambda mine: sums.append(mine) or mine)
    shards[1].merge(lambda mine: mine + sums[0])
    merged, whole = shards[1].compute(), scores(logits, targets, batch_size=1000)
    assert (merged.n, merged.correct, merged.per_class) == (whole.n, whole.correct, whole.per_class)
    assert merged.nll == pytest.approx(whole.nll, rel=1e-6)
    assert merged.calibration_error == pytest.approx(whole.calibration_error, abs=1e-12)


def test_merge__mean_times_three__gives_whole_counts() -> None:
    logits, targets = sample(n=49)
    metrics = HeadMetrics(7, CPU)
    metrics.update(logits, targets)
    before = metrics.compute()
    metrics.merge(lambda sums: sums / 49 * 49)
    assert metrics.compute()[:3] == before[:3]


def test_compute__nothing_added__is_refused() -> None:
    with pytest.raises(DataError, match="at least one item"):
        HeadMetrics(2, CPU).compute()


def test_update__other_number_of_outputs__is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(batch, 3\)"):
        HeadMetrics(3, CPU).update(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))


def test_compute__logits_that_are_not_numbers__give_a_likelihood_that_is_none() -> None:
    found = scores(torch.full((2, 3), torch.nan), torch.zeros(2, dtype=torch.int64))
    assert found.n == 2
    assert found.nll != found.nll
