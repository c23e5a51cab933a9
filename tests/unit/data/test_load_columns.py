"""Further columns of the user's data, from the files to the batches."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import torch

from auxo.data.config import DataConfig, RegroupedDataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.load import load_splits
from auxo.data.loader import Loader, ordered_batches
from auxo.data.readers import read_source
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.splits import Splits
from auxo.errors import DataError
from auxo.tasks import Classification, Target
from auxo.types import Column

MakeDataset = Callable[[InMemorySource], datasets.Dataset]
Write = Callable[..., str]
SITES = ("north", "south", "west")
COUNT = 120


@pytest.fixture
def write(tmp_path: Path, make_dataset: MakeDataset) -> Write:
    """Write shapes as a Parquet file in which the site of an image follows from its mean colour, so from its pixels."""

    def write_sites(
        name: str, count: int, *, seed: int, sites: tuple[str, ...] = SITES, first: str | None = "same", of: int = 0
    ) -> str:
        source = oriented_shapes(max(count, of), size=16, seed=seed).subset(torch.arange(count), name)
        written: list[str | None] = [sites[site_of(image, len(sites))] for image in source.images]
        if first != "same":
            written[0] = first
        path = tmp_path / f"{name}.parquet"
        dataset = make_dataset(source).add_column("site", written).add_column("number", [i % 4 for i in range(count)])
        with path.open("wb") as file:
            dataset.to_parquet(file)
        return str(path)

    return write_sites


def site_of(image: torch.Tensor, count: int) -> int:
    return int(image.long().sum()) % count


def everything(splits: Splits) -> list[AbstractSource]:
    others = [split.source for split in (splits.meta, splits.unlabelled) if split is not None]
    return [splits.train.source, *(split.source for split in splits.evaluation()), *others]


def check_sites(source: AbstractSource, sites: tuple[str, ...] = SITES) -> None:
    """Every image has the site that its pixels tell."""
    column = source.columns["site"]
    for image, value in zip(source.fetch(torch.arange(len(source))), column.values.tolist(), strict=True):
        assert column.names[value] == sites[site_of(image, len(sites))]


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_train": 40},
        {"meta_fraction": 0.25},
        {"num_labelled": 20},
        {"num_labelled": 20, "meta_fraction": 0.4},
        {"imbalance": "step", "imbalance_ratio": 0.5},
    ],
)
def test_load_splits__columns__travel_through_every_cut(write: Write, storage: str, options: dict[str, object]) -> None:
    train, ood = write("photos", COUNT, seed=0), write("elsewhere", 12, seed=1)
    config = DataConfig(train=train, ood=(ood,), columns=("site", "number"), storage=storage, **options)
    for source in everything(load_splits(config, seed=0)):
        assert set(source.columns) == {"label", "site", "number"}
        check_sites(source)


def test_load_splits__few_labels__hides_the_tasks_own_target_alone(write: Write) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0), columns=("site",), num_labelled=20)
    splits = load_splits(config, seed=0, learned=("site",))
    assert splits.unlabelled is not None
    hidden = splits.unlabelled.source
    assert hidden.columns["label"].values.unique().tolist() == [-1]
    assert hidden.columns["site"].names == splits.train.source.columns["site"].names == SITES


def test_load_splits__drop_overlap__keeps_the_columns_of_what_is_left(write: Write) -> None:
    copies = write("copies", 12, seed=0, of=COUNT)
    config = DataConfig(train=write("photos", COUNT, seed=0), ood=(copies,), columns=("site",), on_overlap="drop")
    splits = load_splits(config, seed=0)
    assert sum(len(source) for source in everything(splits)) == COUNT
    for source in everything(splits):
        check_sites(source)


def test_load_splits__memory_and_stream__have_the_same_columns(write: Write) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0), columns=("site", "number"), meta_fraction=0.2)
    loaded = [load_splits(replace(config, storage=storage), seed=0) for storage in ("memory", "stream")]
    for ours, theirs in zip(*map(everything, loaded), strict=True):
        for name in ("label", "site", "number"):
            assert ours.columns[name].names == theirs.columns[name].names
            assert torch.equal(ours.columns[name].values, theirs.columns[name].values)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_batches__two_processes__share_the_targets_of_the_joined_batch(write: Write, storage: str) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0), columns=("site",), storage=storage)
    source = load_splits(config, seed=0).train.source
    shares = [list(ordered_batches(source, batch_size=7, rank=rank, num_processes=2)) for rank in range(2)]
    joined = [batch for share in shares for batch in share]
    assert torch.equal(torch.cat([batch.targets["site"] for batch in joined]), source.columns["site"].values)
    assert all(set(batch.targets) == {"label", "site"} for batch in joined)
    whole = list(Loader(source, batch_size=10, seed=3).batches(range(12)))
    parts = [
        list(Loader(source, batch_size=10, seed=3, rank=rank, num_processes=2).batches(range(12))) for rank in range(2)
    ]
    for batch, *shared in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat([part.targets["site"] for part in shared]), batch.targets["site"])
        assert torch.equal(source.columns["site"].values[batch.indices], batch.targets["site"])


def test_load_splits__learned__has_trains_values_and_groups_their_own(write: Write) -> None:
    train, elsewhere = write("photos", COUNT, seed=0), write("elsewhere", 24, seed=1, sites=("south", "north"))
    config = DataConfig(train=train, ood=(elsewhere,), columns=("site", "number"))
    grouped = load_splits(config, seed=0).ood[0].source
    assert grouped.columns["site"].names == ("north", "south")
    learned = load_splits(config, seed=0, learned=("site",))
    assert learned.ood[0].source.columns["site"].names == SITES
    check_sites(learned.ood[0].source, ("south", "north"))
    assert learned.learned_targets == ("label", "site")
    assert learned.columns() == {"site": Target("site", SITES)}
    assert learned.places() == {}


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__unseen_value__matters_where_the_column_is_learned(write: Write, storage: str) -> None:
    train, elsewhere = write("photos", COUNT, seed=0), write("elsewhere", 12, seed=1, first="east")
    config = DataConfig(train=train, ood=(elsewhere,), columns=("site",), storage=storage)
    assert load_splits(config, seed=0).ood[0].source.columns["site"].names == ("east", *SITES)
    message = r"values of 'site' that train has \(north, south, west\), got 'east' at row 0 of .*elsewhere\.parquet"
    with pytest.raises(DataError, match=message):
        load_splits(config, seed=0, learned=("site",))
    splits = load_splits(replace(config, unknown="ignore"), seed=0, learned=("site",))
    assert len(splits.ood[0].source) == 11
    check_sites(splits.ood[0].source)
    why = "1 with a value of 'site' that train does not have"
    assert splits.ood[0].source.notes == (f"left out 1 of 12 images of 'elsewhere': {why}",)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__missing_value__is_refused_or_left_out_before_the_cuts(write: Write, storage: str) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0, first=None), columns=("site",), storage=storage)
    with pytest.raises(DataError, match=r"a value of 'site' for every image, got none for row 0 of .*photos\.parquet"):
        load_splits(config, seed=0)
    splits = load_splits(replace(config, unknown="ignore"), seed=0)
    assert sum(len(source) for source in everything(splits)) == COUNT - 1
    notes = {note for source in everything(splits) for note in source.notes}
    assert notes == {f"left out 1 of {COUNT} images of 'photos': 1 without a value of 'site'"}


def test_load_splits__learned_column_not_read__is_refused(write: Write) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0), columns=("number",))
    with pytest.raises(
        DataError, match=r"images with values of site, which the run learns, got label, number in 'photos': choose"
    ):
        load_splits(config, seed=0, learned=("site",))


def test_load_splits__unlabelled_set__has_its_columns_or_hides_them(
    tmp_path: Path, write: Write, write_parquet: Callable[..., Path]
) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0), columns=("site",))
    own = write("own", 12, seed=1, sites=("south", "north"))
    bare = str(write_parquet(oriented_shapes(12, size=16, seed=1), tmp_path / "bare.parquet"))
    splits = [load_splits(replace(config, unlabelled=path), seed=0, learned=("site",)) for path in (own, bare)]
    columns = [each.unlabelled.source.columns["site"] for each in splits if each.unlabelled is not None]
    assert [column.names for column in columns] == [SITES, ()]
    assert columns[1].values.unique().tolist() == [-1]


def test_load_splits__further_groups__leave_the_digests_as_they_are(write: Write) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0), columns=("number",), meta_fraction=0.2, num_labelled=40)
    digests = [
        load_splits(replace(config, columns=columns), seed=0, learned=("number",)).digests()
        for columns in (("number",), ("number", "site"))
    ]
    assert digests[0] == digests[1]
    assert load_splits(config, seed=0).digests() != digests[0]


def test_load_splits__packaged_scenario__has_no_further_columns() -> None:
    message = "images with the further columns site, got label in 'digits-train': correct --data"
    with pytest.raises(DataError, match=message) as caught:
        load_splits(DataConfig(columns=("site",)), seed=0)
    assert "\n" not in str(caught.value)


class Sites(Classification):
    """Classes whose sets are cut by site."""

    @classmethod
    def strata(cls, source: AbstractSource) -> Column:
        return source.columns["site"]


@pytest.fixture
def known_set(tmp_path: Path, write: Write) -> DataConfig:
    """A small copy of a known set, two images of which have no site."""
    (tmp_path / "cifar10").mkdir()
    for part, count, seed in (("train", COUNT, 0), ("test", 24, 1)):
        Path(write(part, count, seed=seed, first=None)).rename(tmp_path / "cifar10" / f"{part}.parquet")
    return DataConfig(
        scenario="cifar10", root=str(tmp_path), columns=("site",), on_overlap="drop", unknown="ignore", num_train=60
    )


def test_load_splits__scenario__is_cut_by_what_the_task_says(known_set: DataConfig) -> None:
    whole = read_source(f"{known_set.root}/cifar10/train.parquet", known_set).columns["site"].values.bincount()
    splits = load_splits(known_set, seed=0, task=Sites)
    for source, count in ((splits.train.source, 60), (splits.val.source, 12)):
        exact = count * whole / whole.sum()
        assert ((source.columns["site"].values.bincount() - exact).abs() <= 1).all()
    by_class = load_splits(known_set, seed=0)
    assert by_class.train.source.content_hashes() != splits.train.source.content_hashes()
    assert splits.task_kind is Sites


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__scenario__tells_what_was_left_out_of_every_set(known_set: DataConfig, storage: str) -> None:
    splits = load_splits(replace(known_set, storage=storage), seed=0)
    reasons = {split.name: split.source.notes for split in (splits.train, *splits.evaluation())}
    assert all("1 without a value of 'site'" in " ".join(notes) for notes in reasons.values())
    assert len(reasons) == 4


def test_load_splits__columns_that_only_group__keep_images_without_a_value(write: Write) -> None:
    config = DataConfig(train=write("photos", COUNT, seed=0, first=None), columns=("number",))
    more = RegroupedDataConfig(**{**vars(config), "columns": ("number", "site")}, regrouped=("site",))
    for unknown in ("refuse", "ignore"):
        splits = load_splits(replace(more, unknown=unknown), seed=0)
        assert splits.digests() == load_splits(config, seed=0).digests()
        assert splits.notes == ()
        columns = [source.columns["site"] for source in everything(splits)]
        assert all(column.names == (*SITES, "(none)") for column in columns)
        assert sum(int((column.values == 3).sum()) for column in columns) == 1


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__copy_of_a_known_set__reads_further_columns_of_it(
    tmp_path: Path, write: Write, storage: str
) -> None:
    (tmp_path / "cifar10").mkdir()
    for part, count, seed in (("train", COUNT, 0), ("test", 24, 1)):
        Path(write(part, count, seed=seed)).rename(tmp_path / "cifar10" / f"{part}.parquet")
    config = DataConfig(scenario="cifar10", root=str(tmp_path), columns=("site", "number"), storage=storage)
    config = replace(config, on_overlap="drop")  # the mildest corruption may leave such small images as they are
    splits = load_splits(config, seed=0)
    assert splits.test is not None
    for split in (splits.train, splits.val, splits.test):
        check_sites(split.source)
    corrupted = splits.ood[0].source.columns["site"]
    assert corrupted.names == SITES
    clean = read_source(str(tmp_path / "cifar10" / "test.parquet"), config).columns["site"]
    assert torch.equal(corrupted.values.bincount(), 5 * clean.values.bincount())
    with pytest.raises(DataError, match=r"a column 'scene', got the columns image, label, site, number in .*cifar10"):
        load_splits(replace(config, columns=("scene",)), seed=0)
