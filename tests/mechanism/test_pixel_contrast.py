"""Contrast of pixels across images learns planted textures; pairs within an image and shuffled labels do not."""

import statistics
from dataclasses import replace

import pytest

from auxo.evaluation.label_quality import DrawingRule, judge_labels
from auxo.pretexts.labellers.image_id import ImageId
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.pretexts.labellers.random import Random
from auxo.pretexts.labellers.segmenter import Segmenter

from .texture_world import CLASSES, CONTRAST, EQUAL_COMPUTE, World, fine_tune, pretrain, shuffle

SEEDS = (5, 6, 7)
LABELLERS = {
    "oracle": Oracle.Config(),
    "A": PatchEnergy.Config(),
    "B": Segmenter.Config(),
    "random": Random.Config(),
    "image id": ImageId.Config(),
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a minute alone, but never a matter of load


@pytest.fixture(scope="module")
def worlds():
    return [World(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def found(worlds):
    """The mean mIoU in percent of each line."""
    lines = {name: [] for name in ("A", "none", "none, equal compute", "positives within", "shuffled")}
    for world in worlds:
        labels, _ = world.label(LABELLERS["A"])
        within = replace(CONTRAST, positives="same_image")
        lines["A"].append(fine_tune(world, pretrain(world, labels)))
        lines["none"].append(fine_tune(world))
        lines["none, equal compute"].append(fine_tune(world, steps=EQUAL_COMPUTE))
        lines["positives within"].append(fine_tune(world, pretrain(world, labels, within)))
        lines["shuffled"].append(fine_tune(world, pretrain(world, shuffle(labels, world.seed))))
    return {name: statistics.mean(values) for name, values in lines.items()}


def test_contrast__labels_of_texture_energy__is_above_no_pretraining_at_equal_schedule_and_at_equal_compute(found):
    assert found["A"] >= 72
    assert found["A"] - max(found["none"], found["none, equal compute"]) >= 6


def test_contrast__positives_within_an_image_or_shuffled_labels__lose_what_is_learned(found):
    assert found["A"] - found["positives within"] >= 35
    assert found["A"] - found["shuffled"] >= 25


def test_quality__across_held_out_images__orders_the_labellers(worlds):
    rule = DrawingRule(sampling=CONTRAST.sampling, size=(16, 16), batch_size=8)
    means = []
    for config in LABELLERS.values():
        judged = [
            judge_labels(world.label(config)[1], world.held_masks, num_classes=len(CLASSES), rule=rule)
            for world in worlds
        ]
        means.append(statistics.mean(each.cross_quality for each in judged))
    assert means == sorted(means, reverse=True)
    assert len(set(means)) == len(means)
