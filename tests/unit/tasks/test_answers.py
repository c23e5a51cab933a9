import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from auxo.errors import DataError, NonFiniteError, ShapeError
from auxo.evaluation.tally import Tally
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import measure_answers, part_answers, score_answers, sum_answers
from auxo.tasks._answers import AnswerSums

RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))


def sample(n: int = 500, classes: int = 7, seed: int = 0, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, classes, generator=generator), torch.randint(classes, (n,), generator=generator)


def kept(logits: Tensor, targets: Tensor, *, batch_size: int = 64) -> dict[str, Tensor]:
    """The scores of all items, gathered from batches."""
    tally = Tally(len(logits), RUNTIME)
    for places in torch.arange(len(logits)).split(batch_size):
        tally.add(score_answers(logits[places], targets[places], num_outputs=logits.shape[1]), places)
    return tally.merge()


def scores(logits: Tensor, targets: Tensor, *, batch_size: int = 64) -> AnswerSums:
    return sum_answers(kept(logits, targets, batch_size=batch_size))


def per_class(logits: Tensor, targets: Tensor) -> tuple[float | None, ...]:
    names = [str(number) for number in range(logits.shape[1])]
    return tuple(part.value for part in part_answers(kept(logits, targets), names).values())


@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_sum_answers__random_logits__equals_torchmetrics(scale: float) -> None:
    logits, targets = sample(scale=scale)
    logits[::3] += 5 * torch.nn.functional.one_hot(targets[::3], 7)
    found = scores(logits, targets)
    assert found.correct / found.n == pytest.approx(
        multiclass_accuracy(logits, targets, 7, average="micro").item(), abs=1e-7
    )
    expected = multiclass_accuracy(logits, targets, 7, average="none").tolist()
    assert per_class(logits, targets) == pytest.approx(expected, abs=1e-7)
    expected = multiclass_calibration_error(logits, targets, 7, n_bins=15, norm="l1").item()
    assert found.calibration_error == pytest.approx(expected, abs=1e-6)


def test_sum_answers__random_logits__equals_sklearn() -> None:
    logits, targets = sample()
    found = scores(logits.double(), targets)
    probabilities = logits.double().softmax(1).numpy()
    assert found.nll == pytest.approx(log_loss(targets.numpy(), probabilities, labels=range(7)), rel=1e-12)
    assert found.correct / found.n == accuracy_score(targets.numpy(), probabilities.argmax(1))
    assert found.n == 500


def test_sum_answers__by_hand__two_classes() -> None:
    # confidences 0.9, 0.9, 0.6 in the bins 13, 13 and 9 of 15; right, wrong, right
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], dtype=torch.float64)
    found = scores(probabilities.log(), torch.tensor([0, 1, 1]))
    assert (found.correct, found.n) == (2, 3)
    assert found.nll == pytest.approx(-torch.tensor([0.9, 0.1, 0.6]).log().mean().item(), rel=1e-6)
    assert found.calibration_error == pytest.approx((abs(1 - 1.8) + abs(1 - 0.6)) / 3, abs=1e-6)
    assert per_class(probabilities.log(), torch.tensor([0, 1, 1])) == (1.0, 0.5)


def test_sum_answers__saturated_logits__have_no_error_when_all_are_right() -> None:
    found = scores(torch.tensor([[200.0, 0.0], [0.0, 200.0]]), torch.tensor([0, 1]))
    assert (found.correct, found.nll, found.calibration_error) == (2, 0.0, 0.0)


def test_sum_answers__absent_class__is_none() -> None:
    logits, _ = sample(classes=3)
    assert per_class(logits, torch.zeros(500, dtype=torch.int64))[1:] == (None, None)


def test_score_answers__half_precision__is_measured_in_float32() -> None:
    logits, targets = sample()
    half = logits.bfloat16()
    assert scores(half, targets) == scores(half.float(), targets)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 60), batch_size=st.integers(1, 60), seed=st.integers(0, 99))
def test_tally__batches_of_any_size__give_the_scores_of_the_whole(n: int, batch_size: int, seed: int) -> None:
    logits, targets = sample(n=n, seed=seed)
    pieces, whole = kept(logits, targets, batch_size=batch_size), kept(logits, targets, batch_size=1000)
    for name, values in whole.items():
        assert torch.allclose(pieces[name], values, rtol=1e-6, atol=1e-7)
    assert torch.equal(pieces["right"], targets.double())


def test_sum_answers__nothing_added__is_refused() -> None:
    with pytest.raises(DataError, match="at least one item"):
        scores(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))


def test_score_answers__other_number_of_outputs__is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(batch, 3\)"):
        score_answers(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), num_outputs=3)


def test_measure__logits_that_are_not_numbers__are_refused() -> None:
    found = kept(torch.full((2, 3), torch.nan), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(NonFiniteError, match="finite logits"):
        measure_answers(found)
