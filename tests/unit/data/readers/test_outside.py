"""Data that a Python file of the user's makes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.load import load_splits
from auxo.data.readers import read_source, read_unlabelled
from auxo.data.sources import InMemorySource
from auxo.data.streaming import StreamingSource
from auxo.errors import ConfigError, DataError

FILE = """
from auxo.data import AbstractSource, DataConfig, InMemorySource, PlaceMap
from auxo.data.fake import oriented_shapes
from auxo.data.readers import read_streaming
from auxo.types import Column

def shapes(config):
    return oriented_shapes(80, size=config.image_size or 16, seed=0)

def more(config):
    return oriented_shapes(20, size=16, seed=2)

def turned(source):
    values, names = source.columns["label"]
    return Column(3 - values, names[::-1])

class Elsewhere(InMemorySource):
    def __init__(self, config):
        source = oriented_shapes(12, size=config.image_size or 16, seed=1)
        super().__init__("elsewhere", source.images, source.columns)

    class Turned(InMemorySource):
        def __init__(self, config):
            source = shapes(config)
            super().__init__("turned", source.images, {"label": turned(source)})

def masked(names, ignore=255):
    source = shapes(DataConfig())
    columns = {"label": turned(source), "kind": source.columns["label"]}
    maps = {"mask": PlaceMap(source.images[:, 0] * 0, names, ignore)}
    return InMemorySource("masked", source.images, columns=columns, maps=maps)

def ground_first(config):
    return masked(("ground", "square"))

def square_first(config):
    return masked(("square", "ground"))

class Lazy(AbstractSource):
    def __init__(self, config):
        self._source = oriented_shapes(80, size=16, seed=0)
        self.name, self.columns, self.image_shape = "lazy", self._source.columns, self._source.image_shape
    def __len__(self):
        return len(self._source)
    def fetch(self, indices):
        return self._source.fetch(indices)
    def _hash_contents(self):
        return self._source.content_hashes()
    def describe(self, index):
        return f"lazy {index}"
    def subset(self, indices, name):
        return self._source.subset(indices, name)
    def without_targets(self, names, name):
        return self._source.without_targets(names, name)

def folder(config):
    return read_streaming(config.root, config)

def number(config):
    return 3

def fail(config):
    raise KeyError("image")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_read_source__function_or_class_of_a_file__gets_the_options(file: Path) -> None:
    assert read_source(f"{file}:shapes", DataConfig(image_size=24)).image_shape == (3, 24, 24)
    assert read_source(f"{file}:Elsewhere", DataConfig()).name == "elsewhere"
    assert read_source(f"{file}:Elsewhere.Turned", DataConfig()).name == "turned"


@pytest.mark.parametrize("storage", ["auto", "memory", "stream"])
def test_read_source__source_that_is_no_stream__is_kept_as_it_is(file: Path, storage: str) -> None:
    source = read_source(f"{file}:Lazy", DataConfig(storage=storage))
    assert type(source).__name__ == "Lazy"


@pytest.mark.parametrize(("storage", "kind"), [("auto", InMemorySource), ("stream", StreamingSource)])
def test_read_source__stream__is_held_as_the_options_say(
    file: Path, tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path], storage: str, kind: type
) -> None:
    root = write_folder(shapes, tmp_path / "photos")
    assert type(read_source(f"{file}:folder", DataConfig(root=str(root), storage=storage))) is kind


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("number", r"a class or function called number in .*mine\.py that makes an AbstractSource, got .* makes a int"),
        ("missing", r"called missing in .*mine\.py that makes an AbstractSource, got none"),
        ("fail", r"mine\.py to run, got KeyError: 'image' at line \d+: repair the file"),
    ],
)
def test_read_source__no_source__is_told(file: Path, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_source(f"{file}:{name}", DataConfig())


@pytest.mark.parametrize("name", ["Elsewhere.Turned", "ground_first"])
def test_read_source__classes_in_another_order__are_mapped_by_name(file: Path, name: str) -> None:
    train = read_source(f"{file}:shapes", DataConfig()).columns["label"]
    assert read_source(f"{file}:{name}", DataConfig()).columns["label"].names == train.names[::-1]
    found = read_source(f"{file}:{name}", DataConfig(), vocabulary={"label": train.names}).columns["label"]
    assert found.names == train.names
    assert torch.equal(found.values, train.values)


def test_read_source__names_of_a_target_with_places__are_compared(file: Path) -> None:
    names = {"mask": ("ground", "square")}
    assert read_source(f"{file}:ground_first", DataConfig(), vocabulary=names).vocabulary["mask"] == names["mask"]
    with pytest.raises(DataError, match=r"\['ground', 'square'\] from .*:square_first, got \['square', 'ground'\]"):
        read_source(f"{file}:square_first", DataConfig(), vocabulary=names)


def test_read_unlabelled__source_with_labels__shows_none(file: Path) -> None:
    source = read_unlabelled(f"{file}:shapes", DataConfig())
    assert source.vocabulary["label"] == ()
    assert bool((source.columns["label"].values == -1).all())


def test_load_splits__every_role__takes_a_file(file: Path) -> None:
    config = DataConfig(train=f"{file}:Lazy", ood=(f"{file}:Elsewhere",), unlabelled=f"{file}:more")
    splits = load_splits(config, seed=0)
    assert (len(splits.train.source), len(splits.val.source)) == (64, 8)
    assert [split.name for split in splits.ood] == ["ood/elsewhere"]
    assert splits.unlabelled is not None
    again = load_splits(config, seed=0)
    assert splits.digests() == again.digests()
    assert torch.equal(splits.train.source.columns["label"].values, again.train.source.columns["label"].values)


def test_load_splits__scenario_with_a_set_of_a_file__adds_it(file: Path) -> None:
    config = DataConfig(scenario="digits", ood=(f"{file}:shapes",), image_size=28)
    with pytest.raises(DataError, match=r"values of 'label' that train has \(0, 1, .*, got 'arrow' at image 0"):
        load_splits(config, seed=0)
