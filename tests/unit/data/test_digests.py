"""Digests of splits say which images a run is made from, whatever holds them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data import readers
from auxo.data.config import DataConfig
from auxo.data.decode import AbstractEncodedImages
from auxo.data.digests import SplitDigests, list_differing
from auxo.data.fake import oriented_shapes
from auxo.data.load import load_splits
from auxo.data.loader import in_memory
from auxo.data.sources import ENCODED, InMemorySource
from auxo.data.splits import Splits, TrainSplit, ValSplit
from auxo.data.streaming import StreamingSource
from auxo.tasks import Segmentation

# What version 1 wrote of the set below.
IN_MEMORY = {"train": "0dec54cca4dea15d", "val": "af1b7924b29ea78c"}
STREAMED = {"train": "b3f116a904099d59", "val": "c79089739ee95cce"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose files have the same bytes everywhere: nothing is compressed."""
    root = tmp_path_factory.mktemp("digests") / "set"
    for number in range(24):
        path = root / ("cat" if number % 2 else "dog") / f"{number}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (torch.arange(3 * 8 * 8).view(8, 8, 3) * (number + 1) % 251).to(torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
    return root


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_digests__storage__does_not_count(root: Path, storage: str) -> None:
    digests = load_splits(DataConfig(train=str(root), storage=storage), seed=0).digests()
    assert digests == {name: f"v2:{digest}" for name, digest in STREAMED.items()}


def test_digests__set_elsewhere_outgrows_the_memory__are_as_before(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        path = tmp_path / "far" / ("cat" if number else "dog") / "a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 17 * number, dtype=np.uint8)).save(path)
    config = DataConfig(train=str(root), ood=(str(tmp_path / "far"),))
    before = load_splits(config, seed=0)
    monkeypatch.setattr(readers, "_AUTO_MEMORY_BYTES", 26 * 3 * 8 * 8 - 1)
    after = load_splits(config, seed=0)
    kinds = [type(splits.train.source) for splits in (before, after)]
    assert kinds == [InMemorySource, StreamingSource]
    assert before.digests() == after.digests()


def test_digests__masks_in_memory_and_streaming__are_equal(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    spec = str(write_pairs(tmp_path / "pairs", 20))
    configs = [DataConfig(train=spec, storage="memory"), DataConfig(train=spec, storage="stream")]
    first, second = (load_splits(config, seed=0, task=Segmentation).digests() for config in configs)
    assert first == second


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize("recorded", [IN_MEMORY, STREAMED])
def test_is_same__digests_of_version_1__are_known_however_images_were_and_are_held(
    root: Path, storage: str, recorded: dict[str, str]
) -> None:
    digests = load_splits(DataConfig(train=str(root), storage=storage), seed=0).digests()
    assert all(digests.is_same(name, digest) for name, digest in recorded.items())
    assert not digests.is_same("train", recorded["val"])
    assert not digests.is_same("train", f"v2:{recorded['val']}")
    assert not digests.is_same("train", None)
    assert not digests.is_same("meta", recorded["val"])
    assert digests.is_same("meta", None)


def test_list_differing__records_of_two_versions__say_nothing_of_each_other() -> None:
    old, new = {"train": "a", "val": "b"}, {"train": "v2:c", "val": "v2:d"}
    assert list_differing(old, new) == []
    assert list_differing(new, {**new, "val": "v2:e"}) == ["val"]
    assert list_differing(old, {"train": "c", "val": "b", "meta": "d"}) == ["train", "meta"]


class Counted(AbstractEncodedImages):
    """Images that count how often each is read."""

    def __init__(self, contents: list[bytes]) -> None:
        self.contents, self.reads = contents, Counter[int]()

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, row: int) -> bytes:
        self.reads[row] += 1
        return self.contents[row]

    def describe(self, row: int) -> str:
        return f"item {row}"


@pytest.fixture
def counted(png: Callable[..., bytes]) -> Counted:
    return Counted([png(np.full((8, 8, 3), number, dtype=np.uint8)) for number in range(8)])


def test_in_memory__hashes__come_with_the_pixels_from_one_reading(counted: Counted) -> None:
    streaming = StreamingSource("x", counted)
    counted.reads.clear()
    memory = in_memory(streaming)
    part = memory.subset(torch.tensor([6, 1]), "part")
    hidden = part.without_targets(["label"], "hidden")
    assert hidden.content_hashes() == tuple(memory.content_hashes()[i] for i in (6, 1))
    assert counted.reads == dict.fromkeys(range(8), 1)
    assert {source.hash_kind for source in (streaming, memory, part, hidden)} == {ENCODED}
    assert memory.content_hashes() == streaming.content_hashes()


def test_streaming__hashes_of_the_whole__are_those_of_its_parts_without_another_reading(counted: Counted) -> None:
    whole = StreamingSource("x", counted)
    whole.content_hashes()
    counted.reads.clear()
    parts = [whole.subset(torch.arange(4), "train"), whole.subset(torch.arange(4, 8), "val")]
    parts.append(parts[0].without_targets(["label"], "hidden"))
    assert parts[1].content_hashes() == whole.content_hashes()[4:]
    assert parts[2].content_hashes() == whole.content_hashes()[:4]
    assert counted.reads == {0: 2, 4: 1}  # each source looks at the size of its first image


class Inverted(StreamingSource):
    """Shows other pixels than its files have, and says so by its hashes."""

    def fetch(self, indices: torch.Tensor) -> torch.Tensor:
        return 255 - super().fetch(indices)

    @property
    def hash_kind(self) -> str:
        return "inverted"

    def _hash_contents(self) -> list[str]:
        return [f"inverted {each}" for each in super()._hash_contents()]


def test_in_memory__source_of_a_class_of_its_own__keeps_its_pixels_and_hashes(counted: Counted) -> None:
    memory = in_memory(Inverted("x", counted))
    assert memory.images[3].unique().tolist() == [252]
    assert memory.hash_kind == "inverted"
    assert memory.content_hashes()[0].startswith("inverted ")


def test_digests__arrays__are_of_pixels(shapes: InMemorySource) -> None:
    changed = shapes.images.clone()
    changed[0, 0, 0, 0] ^= 1
    other = InMemorySource("other", changed, shapes.columns)
    first, second = (Splits(TrainSplit(each), ValSplit(shapes), test=None).digests() for each in (shapes, other))
    assert [name for name in first if first[name] != second[name]] == ["train"]


class Counting(InMemorySource):
    """Counts how often its images are asked for their hashes."""

    asked = 0

    def content_hashes(self) -> tuple[str, ...]:
        self.asked += 1
        return super().content_hashes()


def count_reads(seed: int) -> Counting:
    source = oriented_shapes(4, size=16, seed=seed)
    return Counting(source.name, source.images, source.columns)


def test_split_digests__sets_that_only_judge__are_read_when_they_are_asked_for() -> None:
    train, test = count_reads(0), count_reads(1)
    digests = SplitDigests({"train": (train, ("label",))}, {"test": (test, ("label",))})
    assert (train.asked, test.asked) == (1, 0)
    assert digests.judged == SplitDigests({"test": (count_reads(1), ("label",))})
    assert digests.judged != SplitDigests({"test": (count_reads(2), ("label",))})
    assert test.asked == 1
