"""Who judges a labeller: images whose masks it has not read, and never a test set."""

from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig, TrainSplit, load_splits
from auxo.errors import DataError
from auxo.evaluation import Reader
from auxo.evaluation.label_quality import JudgedSets, choose_judged, find_same_images, judge_labeller
from auxo.methods.pixel_contrast import PixelContrast
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.pretexts.labellers.segmenter import Segmenter
from auxo.runs import Networks
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.inputs import build_pipeline
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Segmentation, TaskConfig
from auxo.types import Column

RUNTIME = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
DATA = DataConfig(scenario="textured_scenes", num_train=16, num_labelled=8, image_size=32)


@pytest.fixture(scope="module")
def splits():
    return load_splits(DATA, seed=0, task=Segmentation)


@pytest.fixture(scope="module")
def judge(splits):
    """Judge a labeller by a method with first weights."""

    def run(config, sets):
        networks = Networks(BackboneConfig(name="conv4"), splits.task(), seed=0)
        method = PixelContrast.Config().build(networks)
        run_config = ExperimentConfig(
            stages=(StageConfig(method=method.config),), data=DATA, task=TaskConfig(name="segmentation")
        )
        pipeline = build_pipeline(run_config, splits)
        reader = Reader(method=method, pipeline=pipeline, runtime=RUNTIME, batch_size=8)
        return judge_labeller(config, reader=reader, splits=splits, sets=sets, tools=method.label_tools())

    return run


def test_choose_judged__held_out__divides_the_images_with_masks_by_the_seed(splits):
    sets = choose_judged(splits, share=0.25, seed=3)
    learned, judged = ({*part.source.content_hashes()} for part in (sets.learned, sets.judged))
    assert (len(learned), len(judged)) == (6, 2)
    assert learned | judged == {*splits.train.source.content_hashes()}
    assert sets.note.startswith("Judged on 2 of the 8 training images with masks")
    again, other = (choose_judged(splits, share=0.25, seed=seed).judged.source.content_hashes() for seed in (3, 4))
    assert {*again} == judged
    assert {*other} != judged


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.99, 7)])
def test_choose_judged__any_share__leaves_an_image_to_both(splits, share, count):
    assert len(choose_judged(splits, share=share, seed=0).judged.source) == count


def test_choose_judged__images_in_blocks__are_set_apart_by_whole_blocks(splits):
    source = splits.train.source
    clips = Column(torch.tensor([0, 0, 0, 1, 1, 2, 2, 2]), ("a", "b", "c"))
    inner = source.with_columns({**source.columns, "clip": clips})
    inner.blocks = "clip"
    for seed in range(4):
        sets = choose_judged(replace(splits, train=TrainSplit(inner)), seed=seed)
        judged, learned = (part.source.columns["clip"].values for part in (sets.judged, sets.learned))
        assert not {*judged.tolist()} & {*learned.tolist()}
        assert len(judged) + len(learned) == 8
        assert 2 <= len(judged) <= 6
        assert "whole blocks of clip" in sets.note


def test_choose_judged__validation_images__let_labellers_learn_from_all_masks(splits):
    sets = choose_judged(splits, images="val", seed=0)
    assert sets.judged is splits.val
    assert sets.learned is splits.train
    assert "50 validation images" in sets.note


def test_choose_judged__a_single_image__is_refused(splits):
    source = splits.train.source.subset(torch.tensor([0]), "one")
    with pytest.raises(DataError, match=r"two training images with masks, one to judge, got 1.*--images val"):
        choose_judged(replace(splits, train=TrainSplit(source)), seed=0)


def test_judge_labeller__on_images_it_has_learned_from__is_flattered(judge, splits):
    sets = choose_judged(splits, seed=0)
    config = Segmenter.Config(steps=30, min_confidence=0.0)
    seen, unseen = (judge(config, each) for each in (JudgedSets(sets.learned, sets.learned, ""), sets))
    assert seen.cross_quality > unseen.cross_quality + 0.05
    assert seen.num_images == unseen.num_images == 4


def test_judge_labeller__texture_and_classes__are_ordered_as_they_are(judge, splits):
    sets = choose_judged(splits, seed=0)
    texture, oracle = judge(PatchEnergy.Config(), sets), judge(Oracle.Config(), sets)
    assert oracle.cross_quality == 1
    assert 0.4 < texture.cross_quality < 1


def test_find_same_images__by_their_content__gives_their_places():
    assert find_same_images(["b", "a"], ["a", "x", "b"]).tolist() == [2, 0]
    with pytest.raises(DataError, match="training images among those that were labelled, got 1 others"):
        find_same_images(["b", "c"], ["a", "b"])
