"""Sets that names or domains divide, in every form."""

import csv
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.load import load_splits
from auxo.data.readers import find_layout, read_source
from auxo.data.sources import InMemorySource
from auxo.data.splits import Splits
from auxo.errors import AuxoError, DataError
from auxo.tasks import Segmentation

Write = Callable[[InMemorySource, Path], Path]


def make(count: int, seed: int) -> InMemorySource:
    return oriented_shapes(count, size=16, seed=seed)


def sizes(splits: Splits) -> dict[str, int]:
    return {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}


def load(place: Path | str, **options: object) -> Splits:
    fractions = {"val_fraction": 0.25, "test_fraction": 0.25}
    return load_splits(DataConfig(train=str(place), **{**fractions, **options}), seed=0)  # type: ignore[arg-type]


@pytest.fixture
def divided(tmp_path: Path, write_folder: Write) -> Callable[..., Path]:
    """Write one folder of class folders for each name, of 16, 20, 24, … images that differ."""

    def write(*names: str) -> Path:
        for number, name in enumerate(names):
            write_folder(make(16 + 4 * number, number), tmp_path / "photos" / name)
        return tmp_path / "photos"

    return write


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("training", "Validation", "testing"),
        ("TRAIN", "dev", "Test"),
        ("train", "valid", "test"),
    ],
)
def test_find_layout__folders_of_splits__do_what_they_are_called(
    divided: Callable[..., Path], names: tuple[str, ...]
) -> None:
    splits = load(divided(*names))
    assert sizes(splits) == {"train": 16, "val": 20, "test": 24}
    does = ", ".join(f"{name} {verb}" for name, verb in zip(names, ("trains", "validates", "tests"), strict=True))
    assert splits.notes == (f"by the names in 'photos': {does}",)


def test_find_layout__no_validation_folder__is_cut_off_train(divided: Callable[..., Path]) -> None:
    splits = load(divided("train", "test"))
    assert sizes(splits) == {"train": 12, "val": 4, "test": 20}
    assert splits.notes == ("by the names in 'photos': train trains, test tests; what is to validate is cut off train",)


def test_find_layout__sets_that_are_given__come_before_those_of_the_folder(
    divided: Callable[..., Path], tmp_path: Path, write_folder: Write
) -> None:
    other = write_folder(make(8, 9), tmp_path / "other")
    splits = load(divided("train", "val", "test"), test=str(other))
    assert sizes(splits) == {"train": 16, "val": 20, "test": 8}
    assert splits.notes == ("by the names in 'photos': train trains, val validates; test is not used",)


def test_find_layout__classes_called_as_splits__stay_classes(tmp_path: Path, png: Callable[..., bytes]) -> None:
    for number, name in enumerate(("train", "car", "bus")):  # vehicles
        (tmp_path / "set" / name).mkdir(parents=True)
        for image in range(4):
            pixels = torch.full((9, 9, 3), 40 * number + image, dtype=torch.uint8).numpy()
            (tmp_path / "set" / name / f"{image}.png").write_bytes(png(pixels))
    layout = find_layout(DataConfig(train=str(tmp_path / "set")))
    assert (layout.given, layout.ood, layout.notes) == ({}, (), ())
    assert read_source(layout.train.spec, DataConfig()).vocabulary["label"] == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("train", "val", "validation"),
            r"one folder that validates, got val and validation.*--data\.val .*photos/validation",
        ),
        (("train", "test", "extra"), r"called train, val and test, got also extra .*--data\.ood .*photos/extra$"),
        (("val", "test"), r"a folder that trains beside the others, got test, val in .*--data\.train"),
    ],
)
def test_find_layout__folders_that_contradict_each_other__say_what_to_type(
    divided: Callable[..., Path], names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(divided(*names))


def test_find_layout__test_images_without_classes__say_what_to_type(
    divided: Callable[..., Path], png: Callable[..., bytes]
) -> None:
    root = divided("train")
    (root / "test").mkdir()
    (root / "test" / "1.png").write_bytes(png())
    with pytest.raises(
        DataError, match=r"class folders in .*test, got the image 1\.png: .*alone: --data\.train .*/train$"
    ):
        load(root)


def test_find_layout__domains_below_splits__say_what_to_type(divided: Callable[..., Path]) -> None:
    root = divided("train/art", "train/photo", "test/art", "test/photo")
    with pytest.raises(
        DataError, match=r"--data\.train \S+/train/art --data\.test \S+/test/art --data\.ood \S+/test/photo$"
    ):
        load(root)


def test_read_source__divided_folder__names_a_part_to_judge_on(divided: Callable[..., Path]) -> None:
    root = divided("train", "test")
    message = r"one set of images, got .*photos, which is divided into train, test: name .*, such as .*photos/test$"
    with pytest.raises(DataError, match=message):
        read_source(str(root), DataConfig())
    with pytest.raises(DataError, match=message):
        load(root / "train", ood=(str(root),))


@pytest.mark.parametrize("names", [("train", "test"), ("train-00000-of-00001", "test-00000-of-00001")])
def test_find_layout__parquet_files_of_splits__are_not_merged(
    tmp_path: Path, write_parquet: Write, names: tuple[str, str]
) -> None:
    for number, name in enumerate(names):
        write_parquet(make(20 + 4 * number, number), tmp_path / "set" / f"{name}.parquet")
    splits = load(tmp_path / "set")
    assert sizes(splits) == {"train": 15, "val": 5, "test": 24}
    assert splits.test is not None
    assert set(splits.test.source.content_hashes()).isdisjoint(splits.train.source.content_hashes())


def test_find_layout__parquet_shards__are_one_split_each(tmp_path: Path, write_parquet: Write) -> None:
    for number, name in enumerate(("train-0", "train-1", "test")):
        write_parquet(make(8 + 4 * number, number), tmp_path / "set" / f"{name}.parquet")
    assert sizes(load(tmp_path / "set")) == {"train": 15, "val": 5, "test": 16}
    (tmp_path / "set" / "test.parquet").unlink()
    assert sum(sizes(load(tmp_path / "set")).values()) == 20  # and without other names they are one set


def test_find_layout__folders_of_parquet_files__are_splits(tmp_path: Path, write_parquet: Write) -> None:
    for number, name in enumerate(("train", "val", "test")):
        write_parquet(make(10 + number, number), tmp_path / "set" / name / "0.parquet")
    assert sizes(load(tmp_path / "set")) == {"train": 10, "val": 11, "test": 12}


def test_find_layout__csv_files_of_splits__are_divided(
    divided: Callable[..., Path], write_csv: Callable[..., Path]
) -> None:
    root = divided("a", "b")
    for folder, name in (("a", "train"), ("b", "test")):
        files = sorted((root / folder).rglob("*.png"))
        write_csv([["path", "label"], *([str(file), file.parent.name] for file in files)], root.parent / f"{name}.csv")
    (root / "a").rename(root.parent / "images")  # the tables stand beside folders that are neither sets nor splits
    (root / "b").rename(root.parent / "more")
    root.rmdir()
    for name in ("train", "test"):
        text = (root.parent / f"{name}.csv").read_text().replace(f"{root}/a", "images").replace(f"{root}/b", "more")
        (root.parent / f"{name}.csv").write_text(text)
    assert sizes(load(root.parent)) == {"train": 12, "val": 4, "test": 20}


@pytest.fixture
def saved(tmp_path: Path, make_dataset: Callable[..., datasets.Dataset]) -> Callable[..., str]:
    """Save splits of 16, 20, … images as the library does; return the address."""

    def save(*names: str, hidden: str | None = None) -> str:
        parts = {name: make_dataset(make(16 + 4 * number, number)) for number, name in enumerate(names)}
        if hidden is not None:
            parts[hidden] = parts[hidden].map(lambda _: {"label": -1})
        datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
        return f"hf://{tmp_path}/saved"

    return save


@pytest.fixture(autouse=True)
def _quiet() -> None:
    datasets.disable_progress_bars()


def test_find_layout__splits_of_a_hub_set__do_what_they_are_called(saved: Callable[..., str]) -> None:
    address = saved("train", "validation", "test", "extra")
    splits = load(address)
    assert sizes(splits) == {"train": 16, "val": 20, "test": 24}
    assert splits.notes[0].endswith("train trains, validation validates, test tests; extra is not used")
    assert sizes(load(f"{address}:extra")) == {"train": 14, "val": 7, "test": 7}
    assert sizes(load(f"{address}:train+extra")) == {"train": 22, "val": 11, "test": 11}


def test_find_layout__hub_test_without_labels__is_not_used(saved: Callable[..., str]) -> None:
    splits = load(saved("train", "test", hidden="test"))
    assert sizes(splits) == {"train": 8, "val": 4, "test": 4}
    assert "test is not used" in splits.notes[0]


def test_find_layout__folder_of_domains__trains_on_those_named(divided: Callable[..., Path]) -> None:
    root = divided("photo", "sketch", "art")
    splits = load(root, source_domains=("photo",))
    assert sizes(splits) == {"train": 8, "val": 4, "test": 4, "ood/art": 24, "ood/sketch": 20}
    assert splits.notes == ("by the domains in 'photos': photo trains; art, sketch are measured as unseen",)
    several = load(root, source_domains=("photo,sketch",))
    assert sizes(several) == {"train": 18, "val": 9, "test": 9, "ood/art": 24}
    assert several.notes == ("by the domains in 'photos': photo, sketch train; art is measured as unseen",)


def test_find_layout__domains_of_which_none_is_chosen__say_what_to_type(divided: Callable[..., Path]) -> None:
    root = divided("photo", "sketch")
    with pytest.raises(DataError, match=r"the folders photo, sketch in .*: pass --data\.source-domains photo, and"):
        load(root)
    with pytest.raises(DataError, match=r"among photo, sketch in .*, got phto: did you mean photo\?"):
        load(root, source_domains=("phto",))
    with pytest.raises(DataError, match=r"folders of domains, DIR/DOMAIN/CLASS, .*got none in .*photos/photo"):
        load(root / "photo", source_domains=("photo",))


def with_domains(dataset: datasets.Dataset) -> datasets.Dataset:
    return dataset.add_column("domain", ["photo" if row // 4 % 2 else "art" for row in range(len(dataset))])


@pytest.mark.parametrize("kind", ["parquet", "csv", "hub"])
def test_find_layout__column_of_domains__divides_rows(
    tmp_path: Path, kind: str, make_dataset: Callable[..., datasets.Dataset], write_folder: Write
) -> None:
    source, place = make(32, 0), str(tmp_path / f"set.{kind}")
    if kind == "csv":
        files = sorted(write_folder(source, tmp_path / "images").rglob("*.png"), key=lambda file: file.name)
        rows = [[str(file), file.parent.name, "photo" if row // 4 % 2 else "art"] for row, file in enumerate(files)]
        with Path(place).open("w", newline="") as file:
            csv.writer(file).writerows([["path", "label", "domain"], *rows])
    elif kind == "parquet":
        with_domains(make_dataset(source)).to_parquet(place)
    else:
        datasets.DatasetDict({"all": with_domains(make_dataset(source))}).save_to_disk(place)
        place = f"hf://{place}"
    splits = load(place, domain_column="domain", source_domains=("photo",))
    assert sizes(splits) == {"train": 8, "val": 4, "test": 4, "ood/art": 16}
    assert set(splits.ood[0].source.content_hashes()).isdisjoint(splits.train.source.content_hashes())
    assert "domain" not in splits.train.source.columns
    kept = load(place, domain_column="domain", source_domains=("photo",), columns=("domain",))
    assert kept.train.source.columns["domain"].names == ("photo",)


def test_find_layout__domains_and_splits__divide_the_domains_that_train_alone(
    tmp_path: Path, make_dataset: Callable[..., datasets.Dataset]
) -> None:
    (tmp_path / "set").mkdir()
    for number, name in enumerate(("train", "test")):
        with_domains(make_dataset(make(32 + 8 * number, number))).to_parquet(str(tmp_path / "set" / f"{name}.parquet"))
    splits = load(tmp_path / "set", domain_column="domain", source_domains=("photo",))
    assert sizes(splits) == {"train": 12, "val": 4, "test": 20, "ood/art": 36}
    assert splits.notes == (
        "by the domains in 'set': photo trains (test by its own splits); art is measured as unseen",
    )


def test_find_layout__image_without_a_domain__is_named_or_left_out(
    tmp_path: Path, make_dataset: Callable[..., datasets.Dataset]
) -> None:
    names = [None, *["photo"] * 19, *["art"] * 8]
    make_dataset(make(28, 0)).add_column("domain", names).to_parquet(str(tmp_path / "set.parquet"))
    options = {"domain_column": "domain", "source_domains": ("photo",)}
    with pytest.raises(
        DataError, match=r"a value of 'domain' for every image, got none for row 0 of .*--data\.unknown"
    ):
        load(tmp_path / "set.parquet", **options)
    assert sum(sizes(load(tmp_path / "set.parquet", unknown="ignore", **options)).values()) == 27


def test_find_layout__masks__are_divided_by_folders_above_or_below(tmp_path: Path, write_pairs: Write) -> None:
    for first, name in ((0, "train"), (50, "val"), (80, "test")):
        write_pairs(tmp_path / "above" / name, first=first)  # type: ignore[call-arg]
    for kind in ("images", "masks"):
        (tmp_path / "below" / kind).mkdir(parents=True)
    (tmp_path / "above" / "classes.csv").write_text("name,index\nleft,0\nmiddle,1\nright,2\n")
    splits = load_splits(DataConfig(train=str(tmp_path / "above")), seed=0, task=Segmentation)
    assert sizes(splits) == {"train": 12, "val": 12, "test": 12}
    assert splits.train.source.vocabulary["mask"] == ("left", "middle", "right")
    for name in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "above" / name / kind).rename(tmp_path / "below" / kind / name)
    splits = load_splits(DataConfig(train=str(tmp_path / "below")), seed=0, task=Segmentation)
    assert sizes(splits) == {"train": 12, "val": 12, "test": 12}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_domains": ("photo",)}, r"data\.train with data\.source-domains, got data\.scenario digits"),
        ({"domain_column": "domain"}, r"data\.train with data\.domain-column, got data\.scenario digits"),
        ({"train": "x", "domain_column": "label"}, r"domain-column a column that is not that of the labels"),
        ({"train": "x", "source_domains": ("a,a",)}, r"source-domains names that differ, got a,a"),
    ],
)
def test_data_config__domains_that_cannot_be__are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(AuxoError, match=message):
        DataConfig(**options)  # type: ignore[arg-type]


def test_find_layout__domain_column_of_a_folder__is_refused(divided: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"a Parquet file, a CSV or hf://owner/name with --data\.domain-column, got"):
        load(divided("photo", "art"), domain_column="domain", source_domains=("photo",))
