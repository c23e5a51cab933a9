"""The bins of a reliability diagram."""

import torch

from auxo.evaluation import HeadMetrics

GENERATOR = torch.Generator().manual_seed(3)


def test_reliability__batches__are_the_bins_of_all_items():
    logits, labels = torch.randn(500, 5, generator=GENERATOR) * 3, torch.randint(5, (500,), generator=GENERATOR)
    metrics = HeadMetrics(5, torch.device("cpu"))
    for part in torch.arange(500).split(130):
        metrics.update(logits[part], labels[part])
    confidence, taken = logits.softmax(1).max(1)
    found = metrics.reliability()
    assert sum(part.n for part in found) == 500
    for part in found:
        inside = (confidence >= part.low) & (confidence < part.high)
        assert part.n == int(inside.sum())
        assert abs(part.confidence - float(confidence[inside].double().mean())) < 1e-9
        assert part.accuracy == float((taken == labels)[inside].double().mean())
    error = sum(part.n * abs(part.accuracy - part.confidence) for part in found) / 500
    assert abs(error - metrics.compute().calibration_error) < 1e-12


def test_reliability__confidence_of_one__has_a_bin_of_its_own():
    metrics = HeadMetrics(2, torch.device("cpu"))
    metrics.update(torch.tensor([[500.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    lowest, last = metrics.reliability()
    assert (last.low, last.high, last.n, last.accuracy) == (1.0, 1.0, 1, 1.0)
    assert lowest.low <= 0.5 < lowest.high


def test_reliability__no_item__has_no_bin():
    assert HeadMetrics(3, torch.device("cpu")).reliability() == ()
