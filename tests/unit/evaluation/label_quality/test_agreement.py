"""Agreement of labels and classes against scikit-learn and by hand."""

import pytest
import torch
from sklearn import metrics

from auxo.evaluation.label_quality import count_labels, measure_agreement


def draw_vectors(seed, count=400):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(4, (count,), generator=generator)
    labels = torch.where(
        torch.rand(count, generator=generator) < 0.4, classes, torch.randint(6, (count,), generator=generator)
    )
    return labels, classes


def measure(labels, classes, num_classes=4):
    return measure_agreement(count_labels(labels.view(1, 1, -1), classes.view(1, 1, -1), num_classes=num_classes))


@pytest.mark.parametrize("seed", [0, 1])
def test_agreement__of_some_labels__is_that_of_scikit_learn(seed):
    labels, classes = draw_vectors(seed)
    found = measure(labels, classes)
    assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(classes, labels))
    assert found.adjusted_rand == pytest.approx(metrics.adjusted_rand_score(classes, labels))
    table = metrics.cluster.contingency_matrix(labels, classes)
    assert found.purity == pytest.approx(table.max(1).sum() / table.sum())
    best = torch.as_tensor(table.argmax(1))[labels]
    expected = metrics.jaccard_score(classes, best, average="macro", labels=[0, 1, 2, 3])
    assert found.majority_miou == pytest.approx(expected)
    assert (found.num_labels, found.coverage) == (6, 1.0)


def test_agreement__of_one_label_and_one_class__is_perfect():
    found = measure(torch.zeros(9, dtype=torch.int64), torch.zeros(9, dtype=torch.int64))
    assert (found.purity, found.nmi, found.adjusted_rand, found.majority_miou) == (1, 1, 1, 1)


def test_agreement__of_a_label_for_every_pixel__is_pure_and_yet_no_better_than_chance():
    found = measure(torch.arange(40), torch.arange(40) % 4)
    assert found.purity == found.majority_miou == 1
    assert found.adjusted_rand == pytest.approx(0, abs=1e-12)


def test_agreement__pixels_without_label_or_class__are_left_out_and_told():
    labels, classes = torch.tensor([0, 0, 1, -1, 1]), torch.tensor([0, 0, 1, 1, 255])
    found = measure(labels, classes)
    assert found.coverage == pytest.approx(3 / 4)
    assert found.purity == 1
