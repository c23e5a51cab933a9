from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from auxo.data import DataConfig, InMemorySource, Splits, load_splits
from auxo.data.shortcuts import ShortcutConfig
from auxo.errors import DataError, OptionError
from auxo.types import LABEL, Column

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SCENES = ("cloud", "forest", "mountain", "plain", "sea")


def make_set(name: str, count: int, classes: tuple[str, ...], pixels: Callable[[Tensor], Tensor]) -> InMemorySource:
    labels = torch.arange(count) % len(classes)
    return InMemorySource(name, pixels(labels), {LABEL: Column(labels, classes)})


def make_scenes(offset: int) -> Callable[[Tensor], Tensor]:
    """Scenes of one grey each, 10 times the kind and an offset that tells the part."""
    return lambda labels: (10 * labels + offset).to(torch.uint8)[:, None, None, None].repeat(1, 3, 32, 32)


def make_objects(size: int) -> Callable[[Tensor], Tensor]:
    """Noise, with values from 200 so that no pixel is a scene's."""

    def make(labels: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(len(labels))
        return torch.randint(200, 256, (len(labels), 3, size, size), generator=draws).to(torch.uint8)

    return make


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, write_parquet: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    for part, offset, count in (("train", 0, 400), ("test", 5, 120)):
        sets = (
            ("mnist", count, tuple("0123456789"), make_objects(28)),
            ("cifar10", count, CIFAR10, make_objects(32)),
            ("cifar100_scenes", 20, SCENES, make_scenes(offset)),
        )
        for name, size, classes, pixels in sets:
            write_parquet(make_set(name, size, classes, pixels), folder / name / f"{part}.parquet")
    return folder


def build(root: Path, scenario: str, num_train: int | None = None, **options) -> Splits:
    shortcut = ShortcutConfig(strength=0.75, **options)
    return load_splits(DataConfig(scenario=scenario, root=str(root), num_train=num_train, shortcut=shortcut), seed=0)


@pytest.mark.parametrize(("scenario", "side"), [("digits_on_scenes", 28), ("objects_on_scenes", 20)])
def test_build__backgrounds__are_of_the_columns_kind_and_of_the_parts_own(root: Path, scenario: str, side: int) -> None:
    splits = build(root, scenario)
    sizes = [len(split.source) for split in (splits.train, *splits.evaluation())]
    assert sizes == [360, 40, 40, 80, 80]
    for split in (splits.train, *splits.evaluation()):
        source = split.source
        assert source.columns["background"].names == ("water", "land")
        corner = source.images[:, 0, 0, 0].long()
        kind = (corner - (0 if split.name in ("train", "val") else 5)) // 10
        assert bool((corner % 10 == (0 if split.name in ("train", "val") else 5)).all())
        assert torch.equal((kind != SCENES.index("sea")).long(), source.columns["background"].values)
        margin = (32 - side) // 2
        middle = source.images[:, :, margin : 32 - margin, margin : 32 - margin]
        assert int(middle.min()) >= 200
        assert bool((source.images[:, :, :margin] == corner[:, None, None, None]).all())


def test_build__five_values__have_a_scene_each(root: Path) -> None:
    source = build(root, "objects_on_scenes", values=5, groups=("cat", "dog", "frog", "ship", "bird")).train.source
    names = source.columns["background"].names
    assert set(names) == set(SCENES)
    kinds = [SCENES[number] for number in (source.images[:, 0, 0, 0].long() // 10).tolist()]
    assert kinds == [names[value] for value in source.columns["background"].values.tolist()]


def test_build__not_drawn__stands_on_one_grey(root: Path) -> None:
    source = build(root, "objects_on_scenes", drawn=False, num_train=100).train.source
    assert len(source) == 100
    assert bool((source.images[:, :, :6] == 128).all())


def test_build__what_cannot_be_used__is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"data.shortcut.values 2 or 5 on scenes, got 3"):
        build(root, "objects_on_scenes", values=3)
    with pytest.raises(OptionError, match=r"data.shortcut.groups of airplane, .*, got 'lion'"):
        build(root, "objects_on_scenes", groups=("cat", "lion"))
    with pytest.raises(DataError, match="at most 360 for cifar10"):
        build(root, "objects_on_scenes", num_train=361)
    with pytest.raises(DataError, match="a copy of mnist under the root"):
        build(tmp_path, "digits_on_scenes")


def test_build__scenes_that_lack_a_kind__are_refused(root: Path, tmp_path: Path, write_parquet) -> None:
    for name in ("mnist", "cifar10"):
        (tmp_path / name).symlink_to(root / name)
    for part in ("train", "test"):
        few = make_set("few", 8, SCENES[:4], make_scenes(0))
        write_parquet(few, tmp_path / "cifar100_scenes" / f"{part}.parquet")
    with pytest.raises(DataError, match=r"scenes of sea, cloud, .*, got no sea in"):
        build(tmp_path, "digits_on_scenes")
