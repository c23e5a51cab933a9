import pytest
import torch

from auxo.data import DataConfig, Splits, load_splits
from auxo.data.shortcuts import ShortcutConfig
from auxo.errors import DataError, OptionError

SIZES = {"train": 3000, "val": 500, "test": 500, "ood/strength-0.1": 1000, "ood/strength-0.5": 1000}


def build(scenario: str = "coloured_digits", *, seed: int = 0, num_train: int | None = 3000, **options) -> Splits:
    config = DataConfig(scenario=scenario, num_train=num_train, shortcut=ShortcutConfig(**options))
    return load_splits(config, seed=seed)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return build()


def all_of(splits: Splits):
    return (splits.train, *splits.evaluation())


def agreement(source, column: str = "colour") -> float:
    return float((source.columns[column].values == source.columns["label"].values).double().mean())


def test_build__default__has_the_documented_sets_and_column(splits: Splits) -> None:
    assert {split.name: len(split.source) for split in all_of(splits)} == SIZES
    assert splits.image_shape == (3, 28, 28)
    for split in all_of(splits):
        assert set(split.source.columns) == {"label", "colour"}
        assert split.source.columns["label"].names == ("0+1+2+3+4", "5+6+7+8+9")
        assert split.source.columns["colour"].names == ("red", "cyan")
        assert split.source.columns["label"].values.bincount().tolist() == [len(split.source) // 2] * 2


def test_build__default__cues_go_with_classes_as_often_as_asked(splits: Splits) -> None:
    expected = {"train": 0.9, "val": 0.9, "test": 0.9, "ood/strength-0.1": 0.1, "ood/strength-0.5": 0.5}
    for split in all_of(splits):  # within 3.5 standard errors
        p = expected[split.name]
        assert abs(agreement(split.source) - p) < 3.5 * (p * (1 - p) / len(split.source)) ** 0.5


def test_build__colours__are_what_the_column_says(splits: Splits) -> None:
    for split in all_of(splits):
        is_red = split.source.images[:, 1:].flatten(1).amax(1) == 0
        is_cyan = split.source.images[:, 0].flatten(1).amax(1) == 0
        assert torch.equal(is_red, split.source.columns["colour"].values == 0)
        assert torch.equal(is_cyan, split.source.columns["colour"].values == 1)


def test_build__sets_from_elsewhere__show_the_same_digits(splits: Splits) -> None:
    one, other = (split.source for split in splits.ood)
    assert torch.equal(one.images.amax(1), other.images.amax(1))
    assert torch.equal(one.columns["label"].values, other.columns["label"].values)
    same = one.columns["colour"].values == other.columns["colour"].values
    assert 0.5 < float(same.double().mean()) < 0.7  # six in ten keep their colour from 0.1 to 0.5


def test_build__not_drawn__leaves_the_column_only(splits: Splits) -> None:
    plain = build(drawn=False)
    assert bool((plain.train.source.images.amin(1) == plain.train.source.images.amax(1)).all())
    assert torch.equal(plain.train.source.images.amax(1), splits.train.source.images.amax(1))
    assert torch.equal(plain.train.source.columns["colour"].values, splits.train.source.columns["colour"].values)


def test_build__noise__is_in_labels_before_the_cue_and_in_the_column_after(splits: Splits) -> None:
    noisy = build(label_noise=0.25, strength=1.0)
    assert agreement(noisy.train.source) == 1
    clean, exchanged = (each.train.source.columns["label"].values for each in (splits, noisy))
    assert abs(float((clean != exchanged).double().mean()) - 0.25) < 0.03
    written = build(column_noise=0.1, strength=1.0).train.source
    assert abs(agreement(written) - 0.9) < 0.02
    is_red = written.images[:, 1:].flatten(1).amax(1) == 0
    assert torch.equal(is_red, written.columns["label"].values == 0)


def test_build__groups_and_values__are_those_asked_for() -> None:
    pair = build(groups=("3", "4"), num_train=600)
    assert [len(split.source) for split in all_of(pair)] == [600, 100, 100, 200, 200]
    assert pair.task().class_names == ("3", "4")
    every = build(groups=("all",), strength=0.8)
    assert len(set(every.train.source.columns["colour"].names)) == 10
    assert abs(agreement(every.train.source) - 0.8) < 0.03
    patched = build("patched_digits", groups=("0", "1", "2"), values=4, num_train=None)
    assert patched.train.source.columns["patch"].names == ("top right", "bottom left", "top left", "bottom right")
    assert bool((patched.train.source.images.flatten(1) == 255).sum(1).ge(100).all())


def test_build__num_train__is_a_part_of_all_with_its_cues(splits: Splits) -> None:
    few = build(num_train=300).train.source
    assert few.columns["label"].values.bincount().tolist() == [150, 150]
    assert {*few.content_hashes()} <= {*splits.train.source.content_hashes()}


def test_build__no_number__trains_on_500_or_all_that_there_are() -> None:
    assert len(build(num_train=None).train.source) == 500
    assert len(build(groups=("3", "4"), num_train=None).train.source) == 500


def test_build__seeds__decide(splits: Splits) -> None:
    again, other = build(), build(seed=1)
    assert torch.equal(again.train.source.images, splits.train.source.images)
    assert not torch.equal(other.train.source.images, splits.train.source.images)


def test_build__image_size__resizes() -> None:
    config = DataConfig(scenario="patched_digits", image_size=32)
    assert load_splits(config, seed=0).image_shape == (3, 32, 32)


def test_build__what_cannot_be_used__is_refused() -> None:
    with pytest.raises(OptionError, match=r"data.shortcut.groups of 0, 1, .*, got 'x'"):
        build(groups=("x", "1"))
    with pytest.raises(OptionError, match=r"data.shortcut.values <= 4 for patches"):
        build("patched_digits", groups=("all",))
    with pytest.raises(DataError, match="at most 3000 training images"):
        build(num_train=3001)
    with pytest.raises(DataError, match="further columns site, got label, colour"):
        load_splits(DataConfig(scenario="coloured_digits", columns=("site",)), seed=0)
    assert load_splits(DataConfig(scenario="coloured_digits", columns=("colour",)), seed=0)
