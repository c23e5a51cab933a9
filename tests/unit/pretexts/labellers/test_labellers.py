"""What holds for every labeller: shapes and types, one answer under a seed, and what it may read."""

from dataclasses import replace

import pytest
import torch

from auxo.errors import DataError
from auxo.options import find_member, list_members
from auxo.pretexts.labellers import LabellerConfig

NAMES = list_members(LabellerConfig)
QUICK = {
    "segmenter": {"steps": 20, "min_confidence": 0.4},
    "encoder": {"restarts": 1},
    "patch_energy": {"restarts": 1},
}
LEARNS_MASKS = {"segmenter"}
OF_ONE_IMAGE = {"image_id", "superpixels"}


def config_of(name):
    return find_member(LabellerConfig, name)(**QUICK.get(name, {}))


@pytest.fixture(scope="module")
def made(stage):
    """The labels of each labeller on one stage."""
    return {name: stage.make(config_of(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_labeller__of_any_kind__gives_every_pixel_a_small_integer(name, stage, made):
    config, labels = config_of(name), made[name]
    assert labels.shape == (16, 24, 24)
    assert labels.dtype == torch.int16
    assert labels.device.type == "cpu"
    count = config.num_labels(stage.tools.num_classes)
    assert (count is None) == (name in OF_ONE_IMAGE)
    assert labels.min() >= -1
    if count is not None:
        assert labels.max() < count
        assert len(labels.unique()) > 1


@pytest.mark.parametrize("name", NAMES)
def test_labeller__shown_other_batches__labels_alike(name, make_stage, made):
    # As where several processes share the images: each has batches of its own.
    whole, parts = made[name], make_stage(batch_size=5).make(config_of(name))
    assert (whole == parts).float().mean() > 0.999
    if name not in {"encoder", "segmenter"}:  # in these convolutions of other batches differ by rounding
        assert torch.equal(whole, parts)


@pytest.mark.parametrize("name", NAMES)
def test_labeller__under_one_seed__labels_alike_and_leaves_the_method_as_it_was(name, make_stage, made):
    stage = make_stage()
    before = {key: value.clone() for key, value in stage.method.state_dict().items()}
    torch.manual_seed(1)
    assert torch.equal(made[name], stage.make(config_of(name)))
    assert all(torch.equal(value, before[key]) for key, value in stage.method.state_dict().items())
    assert all(module.training for module in stage.method.modules())


@pytest.mark.parametrize("name", NAMES)
def test_labeller__masks_that_are_others__matter_to_those_alone_that_read_them(name, make_stage, made, masks):
    other = make_stage(masks=masks.flip(2))
    assert config_of(name).learns_masks == (name in LEARNS_MASKS)
    are_equal = torch.equal(made[name], other.make(config_of(name)))
    assert are_equal == (name not in LEARNS_MASKS | {"oracle"})


@pytest.mark.parametrize("name", sorted({*NAMES} - {"oracle"}))
def test_labeller__hidden_masks__are_read_by_the_oracle_alone(name, make_stage, made):
    other = make_stage(keep_hidden=False)
    assert torch.equal(made[name], other.make(config_of(name)))


@pytest.mark.parametrize("name", [name for name in NAMES if find_member(LabellerConfig, name).is_costly])
def test_cache__of_labels__is_used_where_nothing_changed(name, make_stage, made, masks, tmp_path):
    config = config_of(name)
    assert torch.equal(make_stage(cache=tmp_path).make(config), made[name])
    again = make_stage(cache=tmp_path).make(config)
    assert (len([*tmp_path.iterdir()]), again.dtype) == (1, torch.int16)
    assert torch.equal(again, made[name])
    option = {"superpixels": {"side": 6}, "segmenter": {"lr": 1e-3}}.get(name, {"clusters": 4})
    for number, (changed, other) in enumerate(
        [({"seed": 1}, config), ({"shift": 1}, config), ({}, replace(config, **option))], 2
    ):
        make_stage(cache=tmp_path, **changed).make(other)
        assert len([*tmp_path.iterdir()]) == number
    make_stage(cache=tmp_path, masks=masks.flip(2)).make(config)
    assert len([*tmp_path.iterdir()]) == (5 if name in LEARNS_MASKS else 4)


def test_make__nothing_but_ignored_pixels__is_refused(stage):
    config = find_member(LabellerConfig, "segmenter")(steps=1, min_confidence=1.0)
    with pytest.raises(DataError, match=r"labels of pixels from the labeller segmenter.*none in unlabelled"):
        stage.make(config)


def test_make__more_labels_than_int16_holds__gives_int32(make_stage):
    config = find_member(LabellerConfig, "random")(clusters=100_000)
    labels = make_stage().make(config)
    assert labels.dtype == torch.int32
    assert labels.max() > 32_767
