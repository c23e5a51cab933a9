"""One set of images whose classes are called 1, 2, 3, in every form that a set can have, has the same labels in all."""

from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.load import load_splits
from auxo.data.readers import read_source
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.errors import DataError
from auxo.types import Column

FORMS = ("folder", "csv", "padded csv", "int64", "uint8", "string", "named", "reversed")
WriteForm = Callable[[str, InMemorySource, Path], str]


@pytest.fixture
def numbered() -> InMemorySource:
    """Forty images of the classes 1, 2, 3 and 4."""
    source = oriented_shapes(40, size=16, seed=0)
    return source.with_columns({"label": Column(source.columns["label"].values, ("1", "2", "3", "4"))})


@pytest.fixture
def write_form(
    write_folder: Callable[..., Path],
    write_csv: Callable[..., Path],
    make_dataset: Callable[..., datasets.Dataset],
) -> WriteForm:
    """Write a set in one of the forms; return how the command line names it."""

    def write(form: str, source: InMemorySource, place: Path) -> str:
        place.mkdir()
        if form == "folder" or form.endswith("csv"):
            root = write_folder(source, place / "images")
            zeros = "0" if form.startswith("padded") else ""
            rows = [[str(file), zeros + file.parent.name] for file in sorted(root.rglob("*.png"))]
            return str(root if form == "folder" else write_csv([["path", "label"], *rows], place / "set.csv"))
        names = [source.vocabulary["label"][value] for value in source.columns["label"].values.tolist()]
        if form in ("named", "reversed"):
            order = list(source.vocabulary["label"]) if form == "named" else list(reversed(source.vocabulary["label"]))
            feature: object = datasets.ClassLabel(names=order)
            labels: list[object] = [order.index(name) for name in names]
        else:
            feature = datasets.Value(form)
            labels = [name if form == "string" else int(name) for name in names]
        dataset = make_dataset(source).remove_columns("label").add_column("label", labels, feature=feature)
        with (place / "set.parquet").open("wb") as file:
            dataset.to_parquet(file)
        return str(place / "set.parquet")

    return write


def find_accuracy(model: dict[bytes, int], source: AbstractSource) -> float:
    """The share of images for which a model that knows the class of every image is right."""
    images = source.fetch(torch.arange(len(source)))
    right = [
        model[image.numpy().tobytes()] == int(y)
        for image, y in zip(images, source.columns["label"].values, strict=True)
    ]
    return sum(right) / len(right)


@pytest.mark.parametrize("train", ["folder", "csv", "int64", "reversed"])
def test_read_source__classes_called_by_numbers__are_right_in_every_form(
    tmp_path: Path, numbered: InMemorySource, write_form: WriteForm, train: str
) -> None:
    learned = read_source(write_form(train, numbered, tmp_path / "train"), DataConfig())
    images = learned.fetch(torch.arange(40))
    model = {image.numpy().tobytes(): int(y) for image, y in zip(images, learned.columns["label"].values, strict=True)}
    assert len(model) == 40
    for form in FORMS:
        spec = write_form(form, numbered, tmp_path / form)
        source = read_source(spec, DataConfig(), vocabulary=learned.vocabulary)
        assert find_accuracy(model, source) == 1.0, form
        assert source.vocabulary == learned.vocabulary


@pytest.mark.parametrize("form", FORMS)
def test_load_splits__number_that_names_no_class__is_refused_with_its_row(
    tmp_path: Path, numbered: InMemorySource, write_form: WriteForm, form: str
) -> None:
    few = numbered.subset((numbered.columns["label"].values != 3).nonzero().flatten(), "few")
    train = write_form("folder", few, tmp_path / "train")
    config = DataConfig(train=train, test=write_form(form, numbered, tmp_path / form), on_overlap="drop")
    with pytest.raises(
        DataError, match=r"values of 'label' that train has \(1, 2, 3\), got '?0?4'? at .*(003\.png|row 3)"
    ):
        load_splits(config, seed=0)


def test_load_splits__numbers_from_one__train_and_test_alike(
    tmp_path: Path, numbered: InMemorySource, write_form: WriteForm
) -> None:
    shapes = oriented_shapes(20, size=16, seed=1)
    other = shapes.with_columns({"label": Column(shapes.columns["label"].values, ("1", "2", "3", "4"))})
    train, test = write_form("int64", numbered, tmp_path / "train"), write_form("csv", other, tmp_path / "test")
    splits = load_splits(DataConfig(train=train, test=test), seed=0)
    assert splits.task().vocabulary["label"] == ("1", "2", "3", "4")
    assert splits.test is not None
    assert splits.test.source.columns["label"].values.bincount().tolist() == [5, 5, 5, 5]
