from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.fitting import ImageFit
from auxo.data.load import load_splits
from auxo.data.sources import AbstractSource
from auxo.data.splits import Splits
from auxo.errors import ConfigError
from auxo.tasks import Segmentation

Sizes = list[tuple[int, int]]


@pytest.fixture
def write_sizes(tmp_path: Path, png: Callable[..., bytes]) -> Callable[[str, Sizes], Path]:
    """Write noisy images of two classes, of widths and heights in turn."""

    def write(name: str, sizes: Sizes) -> Path:
        draw = np.random.default_rng(len(name))
        for number in range(24):
            folder = tmp_path / name / ("cat", "dog")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            width, height = sizes[number // 2 % len(sizes)]
            pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
            (folder / f"{number:02d}.png").write_bytes(png(pixels))
        return tmp_path / name

    return write


def load(place: Path, **options: object) -> Splits:
    return load_splits(DataConfig(train=str(place), **options), seed=0)  # type: ignore[arg-type]


def all_pixels(source: AbstractSource) -> torch.Tensor:
    return source.fetch(torch.arange(len(source)))


def test_unify_sizes__training_images_differ__are_brought_to_a_square(write_sizes: Callable[..., Path]) -> None:
    place = write_sizes("mixed", [(40, 36), (80, 33), (70, 90)])
    splits = load(place)
    assert splits.image_shape == (3, 32, 32)
    assert splits.was_resized
    assert splits.train.source.fit == splits.val.source.fit == ImageFit(32, 32, "crop")
    expected = "images have 3 sizes from 40x36 to 70x90: all are brought to 32x32, cut to shape around the centre "
    assert splits.notes == (f"{expected}(--data.image-size, --data.fit)",)
    assert torch.equal(all_pixels(load(place, storage="stream").train.source), all_pixels(splits.train.source))
    assert torch.equal(all_pixels(load(place, image_size=32).train.source), all_pixels(splits.train.source))
    assert load(place, image_size=20).image_shape == (3, 20, 20)


@pytest.mark.parametrize("fit", ["letterbox", "squash"])
def test_unify_sizes__another_fit__is_used_for_every_set(write_sizes: Callable[..., Path], fit: str) -> None:
    splits = load(write_sizes("mixed", [(40, 36), (90, 36)]), ood=(str(write_sizes("elsewhere", [(50, 40)])),), fit=fit)
    (elsewhere,) = splits.ood
    assert splits.train.source.fit == elsewhere.source.fit == ImageFit(32, 32, fit)  # type: ignore[arg-type]
    has_grey = (all_pixels(elsewhere.source)[:, :, [0, -1]] == 114).all()
    assert bool(has_grey) == (fit == "letterbox")


@pytest.mark.parametrize("own", [(20, 20), (30, 20)])
def test_unify_sizes__other_sets_differ__are_brought_to_the_size_of_train(
    write_sizes: Callable[..., Path], own: tuple[int, int]
) -> None:
    splits = load(write_sizes("same", [own]), ood=(str(write_sizes("elsewhere", [(50, 40), (40, 50)])),))
    assert splits.image_shape == splits.ood[0].source.image_shape == (3, own[1], own[0])
    assert splits.notes[0].startswith("images have 3 sizes")


def test_unify_sizes__one_size__stays_as_it_is(write_sizes: Callable[..., Path]) -> None:
    splits = load(write_sizes("same", [(30, 20)]))
    assert (splits.image_shape, splits.notes, splits.was_resized) == ((3, 20, 30), (), False)


def test_unify_sizes__scenario__brings_other_sets_to_its_own(write_sizes: Callable[..., Path]) -> None:
    place = write_sizes("more", [(50, 40)])
    for name, digits in {"cat": "0+1+2+3+4", "dog": "5+6+7+8+9"}.items():
        (place / name).rename(place / digits)
    splits = load_splits(DataConfig(scenario="coloured_digits", num_train=40, ood=(str(place),)), seed=0)
    assert splits.ood[-1].source.image_shape == splits.image_shape == (3, 28, 28)


def test_unify_sizes__masks__go_with_their_images_and_are_only_cropped(
    tmp_path: Path, write_pairs: Callable[..., Path]
) -> None:
    write_pairs(tmp_path / "set", 10)
    write_pairs(tmp_path / "set", 10, first=10, width=24, height=20)
    splits = load_splits(DataConfig(train=str(tmp_path / "set")), seed=0, task=Segmentation)
    assert splits.image_shape == (3, 16, 16)
    assert splits.train.source.fetch_targets(torch.arange(3))["mask"].shape == (3, 16, 16)
    with pytest.raises(ConfigError, match=r"--data\.fit crop where images have masks, got --data\.fit squash"):
        load_splits(DataConfig(train=str(tmp_path / "set"), fit="squash"), seed=0, task=Segmentation)
