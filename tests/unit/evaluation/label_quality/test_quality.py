"""Quality of labels: perfect, by chance, falling with corruption, and blind to the names of labels."""

import itertools
import json

import pytest
import torch

from auxo.errors import DataError
from auxo.evaluation.label_quality import build_quality_table, judge_labels

IMAGES, SIDE, CLASSES = 10, 16, 4


@pytest.fixture(scope="module")
def classes():
    """Blocks of classes, of which the first is as frequent as the others together."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(2 * (CLASSES - 1), (IMAGES, 4, 4), generator=generator)
    blocks = torch.where(blocks < CLASSES, blocks, 0)
    return blocks.repeat_interleave(4, 1).repeat_interleave(4, 2).to(torch.uint8)


def judge(labels, classes, **options):
    return judge_labels(labels, classes, num_classes=CLASSES, **options)


def corrupt(classes, share):
    generator = torch.Generator().manual_seed(1)
    is_wrong = torch.rand(classes.shape, generator=generator) < share
    return torch.where(is_wrong, torch.randint(CLASSES, classes.shape, generator=generator), classes.long())


def draw_random(classes, count):
    return torch.randint(count, classes.shape, generator=torch.Generator().manual_seed(2))


def test_quality__of_the_classes__is_one_everywhere(classes):
    found = judge(classes.int(), classes)
    assert found.quality == found.cross_quality == 1
    for shares in found.pairs.values():
        assert set(shares.values()) == {1.0}
    assert found.agreement[:4] == pytest.approx((1, 1, 1, 1))
    assert found.image_pairs["precision_positive"] == found.image_pairs["precision_negative"] == 1


@pytest.mark.parametrize("count", [4, 12])
def test_quality__of_random_labels__is_that_of_chance(classes, count):
    found = judge(draw_random(classes, count), classes)
    shares = classes.flatten().long().bincount() / classes.numel()
    chance = float(shares.square().sum())
    assert found.pairs["all"]["precision_positive"] == pytest.approx(chance, abs=0.01)
    assert found.pairs["all"]["precision_negative"] == pytest.approx(1 - chance, abs=0.01)
    assert found.pairs["all"]["recall_positive"] == pytest.approx(1 / count, abs=0.01)
    assert found.pairs["across"]["precision_positive_balanced"] == pytest.approx(1 / CLASSES, abs=0.03)
    assert found.agreement.adjusted_rand == pytest.approx(0, abs=0.01)
    assert found.agreement.nmi < 0.03


def test_quality__of_more_and_more_corrupted_labels__falls_by_every_measure(classes):
    found = [judge(corrupt(classes, share), classes) for share in (0.0, 0.1, 0.2, 0.4)]
    for better, worse in itertools.pairwise(found):
        assert better.quality > worse.quality
        assert better.cross_quality > worse.cross_quality
        for relation, shares in better.pairs.items():
            assert all(value > worse.pairs[relation][name] for name, value in shares.items())
        assert all(one > two for one, two in zip(better.agreement[:4], worse.agreement[:4], strict=True))


def test_quality__of_labels_with_other_numbers__is_the_same(classes):
    labels = corrupt(classes, 0.3)
    renamed = torch.tensor([70, 3, 1000, 5])[labels]
    one, other = (judge(each, classes).to_record() for each in (labels, renamed))
    for name in ("pairs", "image_pairs", "purity", "nmi", "adjusted_rand", "majority_miou"):
        assert one[name] == other[name], name
    # Drawn pixels are others where labels are sorted otherwise; the share of right ones is the same but for that.
    assert one["quality"] == pytest.approx(other["quality"], abs=0.02)


def test_quality__of_image_numbers__is_zero_across_images_and_undefined_in_pairs(classes):
    found = judge(torch.arange(IMAGES)[:, None, None].expand(classes.shape), classes)
    assert found.cross_quality == 0
    assert found.quality > 0
    assert found.pairs["across"]["precision_positive"] is None
    assert found.image_pairs["without_positives"] == 1


def test_quality__of_classes_cut_in_two__keeps_positives_and_loses_negatives(classes):
    halves = classes.long() * 2 + draw_random(classes, 2)
    shares = judge(halves, classes).pairs["all"]
    assert shares["precision_positive"] == 1
    assert shares["recall_positive"] == pytest.approx(0.5, abs=0.02)
    assert shares["precision_negative"] < 0.95


def test_quality__without_a_pixel_to_judge__is_refused(classes):
    with pytest.raises(DataError, match="pixels that have a label and a class, got none in 10 images"):
        judge(torch.full(classes.shape, -1), classes)


def test_record__of_a_quality__is_json_and_has_what_the_table_has(classes):
    found = judge(torch.arange(IMAGES)[:, None, None].expand(classes.shape), classes)
    record = json.loads(json.dumps(found.to_record(), allow_nan=False))
    assert record["images"] == IMAGES
    assert record["num_labels"] == IMAGES
    assert record["drawn_across"]["precision_positive"] == 0


def test_table__of_several_labellers__begins_with_the_best(classes):
    found = {
        "random": judge(draw_random(classes, 8), classes),
        "image_id": judge(torch.arange(IMAGES)[:, None, None].expand(classes.shape), classes),
        "oracle": judge(classes.int(), classes),
    }
    table = build_quality_table(found, notes=("Judged on ten images.",))
    assert [line[0] for line in table.lines] == ["oracle", "random", "image_id"]
    assert all(len(line) == len(table.columns) for line in table.lines)
    assert table.lines[0][2] == "100.0"
    assert table.lines[2][4] == "-"
    assert table.caption.endswith("Judged on ten images.")
