"""Pairs as training draws them: what is counted, and what the rule changes."""

import pytest
import torch

from auxo.evaluation.label_quality import count_sampled_pairs
from auxo.pretexts.pixels import PixelSampling, draw_pixels
from auxo.random import Draws

ALL = PixelSampling(per_label=100, min_pixels=1, max_samples=1024)


def draw_maps(seed=0, *, images=6):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (images, 5, 5), generator=generator)
    labels = torch.where(torch.rand(images, 5, 5, generator=generator) < 0.6, classes, 3 + classes % 2)
    return labels, classes


def count(labels, classes, **options):
    options = {"sampling": ALL, "batch_size": 6, "rounds": 1, "num_classes": 3, **options}
    return count_sampled_pairs(labels, classes, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize("positives", ["all", "cross_image", "same_image"])
@pytest.mark.parametrize("negatives", ["all", "same_image"])
def test_sampled_pairs__of_every_pixel__equal_pairs_by_hand(positives, negatives):
    labels, classes = draw_maps(images=3)
    found = count(labels, classes, positives=positives, negatives=negatives)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    pixels = [(i, int(labels[i, r, c]), int(classes[i, r, c])) for i in range(3) for r in range(5) for c in range(5)]
    for a, (image, label, truth) in enumerate(pixels):
        for b, (other, sign, found_truth) in enumerate(pixels):
            near = image == other
            if a != b and label == sign and (positives == "all" or near == (positives == "same_image")):
                expected[0, truth] += 1
                expected[1, truth] += truth == found_truth
            if label != sign and (negatives == "all" or near):
                expected[2, truth] += 1
                expected[3, truth] += truth != found_truth
    made = torch.stack([found.positives, found.positives_right, found.negatives, found.negatives_right])
    assert torch.equal(made, expected)
    one, two = (expected[1] / expected[0]).mean(), (expected[3] / expected[2]).mean()
    assert found.quality == pytest.approx(float(2 * one * two / (one + two)))


def test_sampled_pairs__under_a_rule__are_as_many_as_training_draws():
    labels, classes = draw_maps()
    sampling = PixelSampling(per_label=3, min_pixels=4, max_samples=64)
    found = count(labels, classes, sampling=sampling)
    places = torch.randperm(6, generator=(generator := torch.Generator().manual_seed(0)))
    drawn = draw_pixels(labels[places], sampling=sampling, draws=Draws(generator))
    sizes = drawn.labels.bincount()
    assert found.positives.sum() == (sizes * (sizes - 1)).sum()


def test_sampled_pairs__unknown_pixels__are_not_drawn():
    labels, classes = draw_maps()
    hidden = classes.clone()
    hidden[:, 2:] = 255
    part = count(labels, hidden)
    shown = count(labels[:, :2], classes[:, :2])
    assert torch.equal(part.positives, shown.positives)
    assert torch.equal(part.negatives_right, shown.negatives_right)


def test_sampled_pairs__at_the_size_of_features__are_those_of_shrunk_maps():
    labels, classes = draw_maps()
    big_labels, big_classes = (each.repeat_interleave(4, 1).repeat_interleave(4, 2) for each in (labels, classes))
    found, expected = count(big_labels, big_classes, size=(5, 5)), count(labels, classes)
    assert torch.equal(found.positives_right, expected.positives_right)
    assert torch.equal(found.negatives, expected.negatives)


def test_sampled_pairs__of_image_numbers__have_no_quality_across_images():
    _, classes = draw_maps()
    labels = torch.arange(6)[:, None, None].expand(6, 5, 5)
    assert count(labels, classes, positives="cross_image").quality == 0
    assert 0 < count(labels, classes).quality < 1
