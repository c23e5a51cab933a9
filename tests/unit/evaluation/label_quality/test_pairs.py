"""Pairs of pixels in closed form against going through all of them."""

import itertools
from collections import Counter

import pytest
import torch

from auxo.evaluation.label_quality import count_image_pairs, count_labels, count_pairs

CLASSES = 3


def draw_maps(seed, *, images=4, labels=5, ignored=True):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(-1 if ignored else 0, labels, (images, 4, 5), generator=generator)
    classes = torch.randint(CLASSES, (images, 4, 5), generator=generator)
    classes[0, 0, 0] = 255
    return numbers, classes


def count_by_hand(labels, classes, relation):
    """Every ordered pair of different pixels, one by one."""
    pixels = [
        (image, int(label), int(number))
        for image, (own, truths) in enumerate(zip(labels, classes, strict=True))
        for label, number in zip(own.flatten(), truths.flatten(), strict=True)
        if label >= 0 and number != 255
    ]
    found = Counter()
    for (image, label, number), (other, sign, truth) in itertools.permutations(pixels, 2):
        if relation == "all" or (image == other) == (relation == "within"):
            found["chosen", number] += label == sign
            found["chosen_right", number] += label == sign and number == truth
            found["refused", number] += label != sign
            found["refused_right", number] += label != sign and number != truth
            found["alike", number] += number == truth
    return found


@pytest.mark.parametrize("relation", ["all", "within", "across"])
@pytest.mark.parametrize("seed", [0, 1])
def test_count_pairs__closed_form__equals_every_pair_by_hand(relation, seed):
    labels, classes = draw_maps(seed)
    counts = getattr(count_pairs(count_labels(labels, classes, num_classes=CLASSES)), relation)
    expected = count_by_hand(labels, classes, relation)
    for name in ("chosen", "chosen_right", "refused", "refused_right", "alike"):
        assert getattr(counts, name).tolist() == [expected[name, number] for number in range(CLASSES)], name
    shares = counts.measure()
    chosen = sum(expected["chosen", number] for number in range(CLASSES))
    right = sum(expected["chosen_right", number] for number in range(CLASSES))
    assert shares["precision_positive"] == pytest.approx(right / chosen)
    each = [expected["refused_right", number] / expected["refused", number] for number in range(CLASSES)]
    assert shares["precision_negative_balanced"] == pytest.approx(sum(each) / CLASSES)


def test_count_pairs__of_all_pairs__are_the_formulas_of_the_contingency_table():
    labels, classes = draw_maps(2, ignored=False)
    classes[0, 0, 0] = 1
    table = torch.zeros(5, CLASSES).index_put_(
        (labels.flatten(), classes.flatten()), torch.ones(labels.numel()), accumulate=True
    )
    n_a, n_c, n = table.sum(1), table.sum(0), table.sum()
    shares = count_pairs(count_labels(labels, classes, num_classes=CLASSES)).all.measure()
    joint = (table * (table - 1)).sum()
    assert shares["precision_positive"] == pytest.approx(float(joint / (n_a * (n_a - 1)).sum()))
    wrong = n_c.square().sum() - table.square().sum()
    assert shares["precision_negative"] == pytest.approx(float(1 - wrong / (n**2 - n_a.square().sum())))
    assert shares["recall_positive"] == pytest.approx(float(joint / (n_c * (n_c - 1)).sum()))


def test_count_image_pairs__every_two_images__equal_pairs_by_hand():
    labels, classes = draw_maps(3)
    found = count_image_pairs(count_labels(labels, classes, num_classes=CLASSES))
    for one, other in itertools.product(range(4), repeat=2):
        if one == other:
            expected = count_by_hand(labels[one][None], classes[one][None], "all")
        else:
            both = [one, other]
            expected = count_by_hand(labels[both], classes[both], "across")
        for name in ("chosen", "chosen_right", "refused", "refused_right"):
            pairs = sum(expected[name, number] for number in range(CLASSES))
            assert getattr(found, name)[one, other] == (pairs if one == other else pairs / 2), (name, one, other)


def test_count_image_pairs__of_labels_of_single_images__have_no_positives_across():
    _, classes = draw_maps(4)
    labels = torch.arange(4)[:, None, None].expand(4, 4, 5)
    found = count_image_pairs(count_labels(labels, classes, num_classes=CLASSES))
    assert found.chosen.fill_diagonal_(0).sum() == 0
    assert found.measure()["without_positives"] == 1
    assert found.measure()["precision_positive"] is None


def test_count_pairs__labels_with_other_numbers__change_nothing():
    labels, classes = draw_maps(5)
    table = count_labels(labels, classes, num_classes=CLASSES)
    turned = torch.where(labels >= 0, 90 - 17 * labels, labels)
    other = count_labels(turned, classes, num_classes=CLASSES)
    for one, two in zip(count_pairs(table), count_pairs(other), strict=True):
        assert one.measure() == two.measure()


def test_count_pairs__images_in_another_order__change_nothing():
    labels, classes = draw_maps(6)
    order = torch.tensor([2, 0, 3, 1])
    tables = [count_labels(labels[o], classes[o], num_classes=CLASSES) for o in (torch.arange(4), order)]
    assert count_pairs(tables[0]).across.measure() == count_pairs(tables[1]).across.measure()


def test_count_labels__without_a_common_pixel__is_empty():
    table = count_labels(torch.full((2, 3, 3), -1), torch.zeros(2, 3, 3, dtype=torch.uint8), num_classes=2)
    assert table.counts.shape == (0, 2)
    assert (table.num_images, table.num_known) == (2, 18)
    assert count_pairs(table).all.measure()["precision_positive"] is None
