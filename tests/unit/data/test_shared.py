"""Sets that several runs read once."""

from typing import NamedTuple

import pytest
import torch

from auxo.data import DataConfig, load_splits
from auxo.data.shared import share, sharing_sets
from auxo.data.sources import InMemorySource
from auxo.data.splits import list_splits
from auxo.errors import DataError


def make_source(seed):
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return InMemorySource("noise", images)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def share_sources(asked, make):
    return share(asked, make, sources=lambda made: made)


def never():
    raise AssertionError("the sets are there")


def test_share__asked_twice__made_once_and_equal(tmp_path):
    with sharing_sets(tmp_path):
        (made,) = share_sources("a", lambda: [make_source(0)])
        (kept,) = share_sources("a", never)
        (other,) = share_sources("b", lambda: [make_source(1)])
    assert torch.equal(made.images, kept.images)
    assert not torch.equal(other.images, kept.images)


def test_share__image_that_is_changed_afterwards__others_see_the_file(tmp_path):
    with sharing_sets(tmp_path):
        share_sources("a", lambda: [make_source(0)])
        (mine,) = share_sources("a", never)
        mine.images.zero_()
        (other,) = share_sources("a", never)
    assert torch.equal(other.images, make_source(0).images)


def test_share__sets_that_cannot_be_read__the_next_tries_again(tmp_path):
    def fail():
        raise DataError("images", "none", "add some")

    with sharing_sets(tmp_path):
        with pytest.raises(DataError):
            share_sources("a", fail)
        assert share_sources("a", lambda: [make_source(0)])


def test_share__no_folder__made_each_time():
    made = [share_sources("a", lambda: [make_source(0)])[0] for _ in range(2)]
    assert made[0] is not made[1]


def test_share__disk_that_is_full__made_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: Usage(100, 99, 1))
    with sharing_sets(tmp_path):
        share_sources("a", lambda: [make_source(0)])
        assert share_sources("a", lambda: [make_source(1)])[0].images.equal(make_source(1).images)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__own_folder__shared_and_not_are_the_same(shapes_folder, tmp_path, storage):
    check_same(DataConfig(train=str(shapes_folder), storage=storage), tmp_path, num_files=storage == "memory")


def test_load_splits__scenario__shared_and_not_are_the_same(tmp_path):
    check_same(DataConfig(scenario="coloured_digits", num_train=20), tmp_path, num_files=1)


def check_same(config, folder, num_files):
    """Compare splits that were read, shared first and shared later."""
    alone = load_splits(config, seed=3)
    with sharing_sets(folder):
        shared = [load_splits(config, seed=3) for _ in range(2)]
    assert len([path for path in folder.iterdir() if not path.suffix]) == num_files
    for other in shared:
        assert other.digests() == alone.digests()
        for mine, theirs in zip(list_splits(alone), list_splits(other), strict=True):
            positions = torch.arange(len(mine.source))
            assert torch.equal(mine.source.fetch(positions), theirs.source.fetch(positions))
            assert mine.source.describe(0) == theirs.source.describe(0)
