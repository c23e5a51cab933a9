import pytest
import torch

from auxo.data import DataConfig, load_splits
from auxo.data.scenarios.textured_scenes import build
from auxo.data.textures import TEXTURES
from auxo.errors import DataError
from auxo.tasks import Segmentation


def test_build__default__has_three_parts_and_two_unseen_sets() -> None:
    splits = build(DataConfig(), seed=0, task=Segmentation)
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {"train": 200, "val": 50, "test": 100, "ood/strong-tints": 100, "ood/turned": 100}
    task = splits.task()
    assert (task.class_names, task.image_shape) == (TEXTURES, (3, 64, 64))
    assert min(task.pixel_counts) > 200 * 64 * 64 / 12


def test_build__number_size_and_labels__are_as_asked() -> None:
    config = DataConfig(scenario="textured_scenes", num_train=60, image_size=16, num_labelled=6, keep_hidden=True)
    splits = load_splits(config, seed=0, task=Segmentation)
    assert len(splits.train.source) == 6
    assert splits.image_shape == (3, 16, 16)
    targets = splits.unlabelled.source.fetch_targets(torch.arange(60))
    assert (targets["mask"] == 255).all()
    assert (targets["hidden_mask"] < 6).all()


def test_load_splits__number_of_masks__is_the_scenarios_own_unless_asked() -> None:
    def count_labelled(**options: object) -> tuple[int, bool]:
        config = DataConfig(scenario="textured_scenes", image_size=16, **options)
        splits = load_splits(config, seed=0, task=Segmentation)
        return len(splits.train.source), splits.unlabelled is not None

    assert count_labelled() == (10, True)
    assert count_labelled(num_train=4) == (4, True)
    assert count_labelled(num_labelled=200) == (200, True)


def test_build__fewer_images__are_among_more() -> None:
    few, many = (
        build(DataConfig(num_train=count, image_size=16), seed=0, task=Segmentation).train.source.content_hashes()
        for count in (20, 70)
    )
    assert few == many[:20]


def test_load_splits__task_of_classes__is_told_that_there_are_none() -> None:
    with pytest.raises(DataError, match=r"images with classes, got 'textured_scenes-train' without .* --task.name"):
        load_splits(DataConfig(scenario="textured_scenes", image_size=16), seed=0)
