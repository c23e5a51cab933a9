"""Labels that bound the others: the classes, random ones, and those of one image alone."""

import pytest
import torch

from auxo.errors import DataError
from auxo.pretexts.labellers.image_id import ImageId
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.random import Random
from auxo.pretexts.labellers.superpixels import Superpixels


def test_oracle__of_masks_that_were_hidden__gives_the_classes(stage, masks):
    assert torch.equal(stage.make(Oracle.Config()).long(), masks.long())


def test_oracle__of_masks_that_are_known__gives_them_and_ignores_what_they_ignore(make_stage, masks):
    part = masks.clone()
    part[:, 0] = 255
    stage = make_stage(masks=part)
    labels = Oracle.Config().make(stage.start.images["train"], stage.start, stage.tools)
    assert torch.equal(labels[:, 1:].long(), masks[:4, 1:].long())
    assert (labels[:, 0] == -1).all()


def test_oracle__of_masks_that_are_gone__is_refused_with_the_option_that_keeps_them(make_stage):
    with pytest.raises(DataError, match=r"masks in unlabelled for the labeller oracle.*--data.keep-hidden"):
        make_stage(keep_hidden=False).make(Oracle.Config())


def test_random__labels__are_spread_evenly_and_tell_nothing(stage, masks):
    labels = stage.make(Random.Config(clusters=4))
    counts = labels.flatten().long().bincount(minlength=4) / labels.numel()
    assert (counts - 0.25).abs().max() < 0.02
    for name in range(3):
        own = labels[masks == name].long().bincount(minlength=4).double()
        assert (own / own.sum() - 0.25).abs().max() < 0.05


def test_random__in_squares__is_one_label_in_each(stage):
    labels = stage.make(Random.Config(square=5))
    assert (labels[:, :5, :5] == labels[:, :1, :1]).all()
    assert (labels[:, 20:, 20:] == labels[:, 20:21, 20:21]).all()
    assert not torch.equal(labels[:, 0], labels[:, 5])


def test_image_id__labels__are_the_positions(stage):
    labels = stage.make(ImageId.Config())
    assert torch.equal(labels, torch.arange(16, dtype=torch.int16)[:, None, None].expand(16, 24, 24))


def test_superpixels__without_steps__are_the_squares_of_the_grid(stage):
    labels = stage.make(Superpixels.Config(side=8, steps=0))
    rows = torch.arange(24) // 8
    expected = rows[:, None] * 3 + rows + 9 * torch.arange(16)[:, None, None]
    assert torch.equal(labels.long(), expected)


def test_superpixels__of_two_colours__follow_the_edge_that_the_grid_does_not(make_stage):
    stage = make_stage()
    stage.source.images.fill_(30)
    stage.source.images[..., 11:] = 200
    labels = stage.make(Superpixels.Config(side=8, steps=6))
    for image in labels:
        assert not {*image[:, :11].flatten().tolist()} & {*image[:, 11:].flatten().tolist()}


def test_superpixels__of_several_images__never_share_a_label(stage):
    labels = stage.make(Superpixels.Config())
    found = [{*image.flatten().tolist()} for image in labels]
    assert sum(map(len, found)) == len(set().union(*found))
