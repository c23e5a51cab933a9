"""The few-label segmenter: it learns its images, reads no other masks, and leaves out what it is not sure of."""

import pytest
import torch

from auxo.errors import DataError
from auxo.pretexts.labellers.segmenter import Segmenter


@pytest.fixture(scope="module")
def trained(stage):
    return {low: stage.make(Segmenter.Config(steps=120, min_confidence=low)) for low in (0.0, 0.8)}


def test_labels__after_training__are_mostly_the_classes_of_other_images_too(trained, masks):
    right = trained[0.0] == masks
    assert right[:4].float().mean() > 0.8
    assert right[4:].float().mean() > 0.6


def test_labels__of_low_confidence__are_left_out_and_the_rest_is_better(trained, masks):
    kept = trained[0.8] >= 0
    assert (trained[0.0] >= 0).all()
    assert 0.2 < kept.float().mean() < 1
    assert torch.equal(trained[0.8][kept], trained[0.0][kept])
    assert (trained[0.8] == masks)[kept].float().mean() > (trained[0.0] == masks).float().mean()


def test_labels__of_clusters__split_the_classes(stage, masks, purity):
    config = Segmenter.Config(steps=120, clusters=7, min_confidence=0.0)
    labels = stage.make(config)
    assert config.num_labels(3) == 7
    assert len(labels.unique()) == 7
    assert purity(labels, masks) > 0.7


def test_learn__without_any_mask__is_refused(make_stage, masks):
    hidden = torch.full_like(masks, 255)
    with pytest.raises(DataError, match="masks in train for the labeller segmenter, got none"):
        make_stage(masks=hidden).make(Segmenter.Config(steps=1))


def test_learn__images_without_a_known_pixel__are_not_drawn(make_stage, masks):
    part = masks.clone()
    part[1:] = 255
    stage = make_stage(masks=part)
    labels = stage.make(Segmenter.Config(steps=5, min_confidence=0.0))  # a loss over no pixel would not be finite
    assert (labels >= 0).all()
