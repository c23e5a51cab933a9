"""Uneven training classes: the published counts, which images stay, and what the other options do before and after."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.imbalance import imbalanced, imbalanced_counts
from auxo.data.load import load_splits
from auxo.data.sources import InMemorySource
from auxo.data.splits import Splits
from auxo.errors import ConfigError, DataError
from auxo.tasks import Classification
from auxo.types import Column


@pytest.fixture
def photos(tmp_path: Path, write_folder: Callable[..., Path]) -> str:
    """A folder of 200 images, 50 of each of 4 classes."""
    return str(write_folder(oriented_shapes(200, size=16, seed=0), tmp_path / "photos"))


def counts(splits: Splits) -> list[int]:
    return splits.train.source.columns["label"].values.bincount(minlength=4).tolist()


def test_imbalanced_counts__cifar10__are_the_published_ones() -> None:
    assert imbalanced_counts([5000] * 10, "exp", ratio=0.01) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


@pytest.mark.parametrize(
    ("classes", "largest", "totals"),
    [(10, 5000, (12_406, 13_996, 17_023, 20_431)), (100, 500, (10_847, 12_608, 15_907, 19_573))],
)
def test_imbalanced_counts__cifar__have_the_published_totals(
    classes: int, largest: int, totals: tuple[int, ...]
) -> None:
    ratios = (0.01, 0.02, 0.05, 0.1)
    assert tuple(sum(imbalanced_counts([largest] * classes, "exp", ratio=ratio)) for ratio in ratios) == totals


def test_imbalanced_counts__step__halves_the_classes() -> None:
    assert imbalanced_counts([5000] * 10, "step", ratio=0.01) == [5000] * 5 + [50] * 5
    assert imbalanced_counts([40] * 5, "step", ratio=0.1) == [40, 40, 40, 4, 4]


def test_imbalanced_counts__uneven_before__takes_no_more_than_there_is() -> None:
    assert imbalanced_counts([100, 20, 80, 3], "exp", ratio=0.125) == [100, 20, 25, 3]
    assert imbalanced_counts([10, 100], "exp", ratio=0.5) == [10, 50]


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=30),
    st.sampled_from(["none", "exp", "step"]),
    st.floats(0.001, 1),
)
def test_imbalanced_counts__any_classes__keep_at_most_what_they_have(
    available: list[int], kind: str, ratio: float
) -> None:
    kept = imbalanced_counts(available, kind, ratio=ratio)
    assert all(0 <= one <= other for one, other in zip(kept, available, strict=True))
    assert imbalanced_counts(available, kind, ratio=1.0) == available


def test_imbalanced__source__keeps_its_order_and_the_numbers(shapes: InMemorySource) -> None:
    uneven = imbalanced(shapes, "exp", ratio=0.1, seed=0, task=Classification)
    assert uneven.columns["label"].values.bincount().tolist() == [10, 4, 2, 1]
    place = {digest: i for i, digest in enumerate(shapes.content_hashes())}
    places = [place[digest] for digest in uneven.content_hashes()]
    assert places == sorted(places)
    assert torch.equal(uneven.columns["label"].values, shapes.columns["label"].values[places])
    assert uneven.name == shapes.name


def test_imbalanced__seed_and_ratio__decide_which_stay(shapes: InMemorySource) -> None:
    def kept(ratio: float, seed: int) -> set[str]:
        return set(imbalanced(shapes, "step", ratio=ratio, seed=seed, task=Classification).content_hashes())

    assert kept(0.3, 0) == kept(0.3, 0)
    assert kept(0.3, 0) != kept(0.3, 1)
    assert kept(0.3, 0) < kept(0.6, 0)
    assert imbalanced(shapes, "none", ratio=0.3, seed=0, task=Classification) is shapes


def test_imbalanced__class_without_images__is_refused(shapes: InMemorySource) -> None:
    with pytest.raises(
        DataError, match=r"of every class, got none of 'tee' with data\.imbalance-ratio 0\.01 and 10 of"
    ):
        imbalanced(shapes, "exp", ratio=0.01, seed=0, task=Classification)


def test_load_splits__imbalance__is_of_the_training_images_alone(photos: str) -> None:
    even, uneven = (
        load_splits(DataConfig(train=photos, imbalance=kind, imbalance_ratio=0.1), seed=0) for kind in ("none", "exp")
    )
    assert counts(even) == [40] * 4
    assert counts(uneven) == [40, 18, 8, 4]
    assert uneven.task().class_counts == (40, 18, 8, 4)
    assert set(uneven.train.source.content_hashes()) < set(even.train.source.content_hashes())
    for one, other in zip(even.evaluation(), uneven.evaluation(), strict=True):
        assert one.source.columns["label"].values.bincount().tolist() == [5] * 4
        assert one.source.content_hashes() == other.source.content_hashes()


def test_load_splits__imbalance_of_a_scenario__leaves_validation_and_test_even(
    tmp_path: Path, write_parquet: Callable[..., Path]
) -> None:
    for seed, (part, count) in enumerate({"train": 160, "test": 8}.items()):
        write_parquet(oriented_shapes(count, size=32, seed=seed), tmp_path / "cifar10" / f"{part}.parquet")
    config = DataConfig(scenario="cifar10", root=str(tmp_path), imbalance="exp", imbalance_ratio=0.125)
    splits = load_splits(config, seed=0)
    assert counts(splits) == [36, 18, 9, 4]
    held_out = [split.source.columns["label"].values for split in (splits.val, splits.test)]
    assert [labels.bincount().tolist() for labels in held_out] == [[4] * 4, [2] * 4]


def test_load_splits__num_train__is_drawn_before_and_sets_the_largest_class(photos: str) -> None:
    config = DataConfig(train=photos, num_train=80, imbalance="exp", imbalance_ratio=0.125)
    assert counts(load_splits(config, seed=0)) == [20, 10, 5, 2]


def test_load_splits__meta__is_cut_off_the_uneven_images_in_their_proportions(photos: str) -> None:
    config = DataConfig(train=photos, imbalance="step", imbalance_ratio=0.25, meta_fraction=0.2)
    splits = load_splits(config, seed=0)
    assert splits.meta is not None
    assert splits.meta.source.columns["label"].values.bincount().tolist() == [8, 8, 2, 2]
    assert counts(splits) == [32, 32, 8, 8]


@pytest.mark.parametrize("ratio", [0.0, 1.5, float("nan")])
def test_config__ratio_out_of_range__is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match=r"imbalance-ratio in \(0, 1\]"):
        DataConfig(imbalance="exp", imbalance_ratio=ratio)


class Sites(Classification):
    """Images that are told apart by site, in numbers with gaps and without names."""

    @classmethod
    def strata(cls, source: InMemorySource) -> Column:
        return Column(10 * source.columns["site"].values, ())


class Alike(Classification):
    """Images that are not told apart."""

    @classmethod
    def strata(cls, source: InMemorySource) -> None:
        del source


def test_imbalanced__what_the_task_stratifies_by__becomes_uneven() -> None:
    shapes = oriented_shapes(40, size=16, seed=0)
    site = Column(torch.arange(40) // 20, ("north", "south"))
    source = shapes.with_columns({**shapes.columns, "site": site})
    uneven = imbalanced(source, "step", ratio=0.2, seed=0, task=Sites)
    assert uneven.columns["site"].values.bincount().tolist() == [20, 4]
    with pytest.raises(DataError, match=r"training images of every class, got none of '10' with"):
        imbalanced(source, "step", ratio=0.01, seed=0, task=Sites)


def test_imbalanced__task_that_tells_nothing_apart__is_refused_in_one_line() -> None:
    shapes = oriented_shapes(8, size=16, seed=0)
    assert imbalanced(shapes, "none", ratio=0.2, seed=0, task=Alike) is shapes
    with pytest.raises(DataError, match=r"kinds of images for data.imbalance exp, got none in 'oriented-shapes'"):
        imbalanced(shapes, "exp", ratio=0.2, seed=0, task=Alike)
