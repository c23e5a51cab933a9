"""The bins of a reliability diagram."""

import torch

from auxo.tasks import score_answers, sum_answers
from auxo.tasks._answers import find_reliability

GENERATOR = torch.Generator().manual_seed(3)


def test_find_reliability__random_logits__are_the_bins_of_all_items():
    logits, labels = torch.randn(500, 5, generator=GENERATOR) * 3, torch.randint(5, (500,), generator=GENERATOR)
    scores = score_answers(logits, labels, num_outputs=5)
    confidence, taken = logits.softmax(1).max(1)
    found = find_reliability(scores)
    assert sum(part.n for part in found) == 500
    for part in found:
        inside = (confidence >= part.low) & (confidence < part.high)
        assert part.n == int(inside.sum())
        assert abs(part.confidence - float(confidence[inside].double().mean())) < 1e-9
        assert part.accuracy == float((taken == labels)[inside].double().mean())
    error = sum(part.n * abs(part.accuracy - part.confidence) for part in found) / 500
    assert abs(error - sum_answers(scores).calibration_error) < 1e-12


def test_find_reliability__confidence_of_one__has_a_bin_of_its_own():
    scores = score_answers(torch.tensor([[500.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]), num_outputs=2)
    lowest, last = find_reliability(scores)
    assert (last.low, last.high, last.n, last.accuracy) == (1.0, 1.0, 1, 1.0)
    assert lowest.low <= 0.5 < lowest.high


def test_find_reliability__no_item__has_no_bin():
    none = score_answers(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), num_outputs=3)
    assert find_reliability(none) == ()
