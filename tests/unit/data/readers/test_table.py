import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.readers import read_source, read_streaming
from auxo.data.readers.table import _hub_address
from auxo.data.sources import InMemorySource, pixel_hashes
from auxo.errors import DataError

MakeDataset = Callable[[InMemorySource], datasets.Dataset]


def save_parquet(dataset: datasets.Dataset, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        dataset.to_parquet(file)
    return str(path)


def save_column(feature: object, values: list[object], picture: bytes, folder: Path) -> str:
    """Write four images of two classes with a further column ``site``."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64"), "site": feature})
    rows = {"image": [{"bytes": picture, "path": None}] * 4, "label": [0, 1, 0, 1], "site": values}
    return save_parquet(datasets.Dataset.from_dict(rows, features=features), folder / "set.parquet")


def test_read_parquet__file__gives_pixels_labels_and_names(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path]
) -> None:
    path = write_parquet(shapes, tmp_path / "shapes" / "train.parquet")
    source = read_source(str(path), DataConfig())
    assert source.name == "shapes-train"
    assert source.vocabulary["label"] == shapes.vocabulary["label"]
    assert torch.equal(source.fetch(torch.arange(40)), shapes.images)
    assert torch.equal(source.columns["label"].values, shapes.columns["label"].values)
    assert source.describe(3) == f"row 3 of {path}"


def test_read_parquet__folder__joins_files_in_order_of_name(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path]
) -> None:
    write_parquet(shapes.subset(torch.arange(20, 40), "b"), tmp_path / "parts" / "1.parquet")
    write_parquet(shapes.subset(torch.arange(20), "a"), tmp_path / "parts" / "0.parquet")
    source = read_source(str(tmp_path / "parts"), DataConfig())
    assert torch.equal(source.fetch(torch.arange(40)), shapes.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "img"}, r"a column 'img', got the columns image, label in .*--data\.image-column"),
        ({"label_column": "y"}, r"a column 'y', got the columns image, label in .*--data\.label-column"),
        ({"image_column": "label"}, "a column of encoded images, got ClassLabel"),
        ({"label_column": "image"}, "a label column of whole numbers or names, got Image"),
    ],
)
def test_read_parquet__unusable_column__is_named(
    tmp_path: Path,
    shapes: InMemorySource,
    write_parquet: Callable[..., Path],
    options: dict[str, str],
    message: str,
) -> None:
    path = write_parquet(shapes, tmp_path / "set.parquet")
    with pytest.raises(DataError, match=message):
        read_source(str(path), DataConfig(**options))


def test_read_parquet__damaged_file__is_one_line(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_parquet(shapes, tmp_path / "set.parquet")
    capfd.readouterr()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"can be loaded, got .*set\.parquet") as caught:
        read_source(str(path), DataConfig())
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_read_parquet__damaged_image__names_the_row(
    tmp_path: Path, shapes: InMemorySource, make_dataset: MakeDataset
) -> None:
    rows = make_dataset(shapes).cast_column("image", datasets.Image(decode=False))[:]
    rows["image"][7]["bytes"] = rows["image"][7]["bytes"][:50]
    rows["image"][9] = None
    features = make_dataset(shapes).features
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    source = read_streaming(path, DataConfig())
    with pytest.raises(DataError, match=r"damaged one in row 7 of .*set\.parquet"):
        source.fetch(torch.tensor([7]))
    with pytest.raises(DataError, match=r"an image in every row, got none in row 9 of .*set\.parquet"):
        source.fetch(torch.tensor([9]))


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_read_parquet__without_metadata__is_read_by_its_types(
    tmp_path: Path, shapes: InMemorySource, make_dataset: MakeDataset, kind: str
) -> None:
    rows = make_dataset(shapes).cast_column("image", datasets.Image(decode=False))[:]
    binary = datasets.Value("binary")
    feature = {"bytes": binary, "path": datasets.Value("string")} if kind == "struct" else binary
    if kind == "binary":
        rows["image"] = [image["bytes"] for image in rows["image"]]
    features = datasets.Features({"image": feature, "label": datasets.Value("int64")})
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    source = read_source(path, DataConfig())
    assert source.vocabulary["label"] == ("0", "1", "2", "3")
    assert torch.equal(source.fetch(torch.arange(40)), shapes.images)


@pytest.mark.parametrize(
    ("feature", "labels", "message"),
    [
        (
            datasets.ClassLabel(names=["a", "b"]),
            [0, 1, -1, 0],
            r"values of 'label' in 0\.\.1, got -1 at row 2 of .*set\.parquet",
        ),
        (datasets.Value("int64"), [0, 1, -7, 0], r"whole numbers from 0 or names, got -7 at row 2 of"),
        (
            datasets.List(datasets.Value("int64")),
            [[0], [1], [0, 1], [0]],
            "names, got List.*: give every image one label",
        ),
        (datasets.Value("int64"), [0, 1, None, 0], "a value of 'label' for every image, got none for row 2 of"),
        (datasets.Value("string"), ["a", "b", "", "a"], "a value of 'label' for every image, got none for row 2 of"),
        (datasets.Value("float32"), [0.0, 1.0, 2.0, 0.5], "a label column of whole numbers or names"),
    ],
)
def test_read_parquet__unusable_label__names_the_row(
    tmp_path: Path, png: Callable[..., bytes], feature: object, labels: list[object], message: str
) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    rows = {"image": [{"bytes": png(), "path": None}] * 4, "label": labels}
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    with pytest.raises(DataError, match=message):
        read_source(path, DataConfig())


@pytest.mark.parametrize(
    ("feature", "labels"),
    [
        (datasets.ClassLabel(names=["a", "b"]), [0, 1, -1, 0]),
        (datasets.ClassLabel(names=["a", "b"]), [0, 1, None, 0]),
        (datasets.Value("int64"), [0, 1, None, 0]),
        (datasets.Value("string"), ["a", "b", "", "a"]),
    ],
)
def test_read_parquet__no_label__is_left_out_and_counted(
    tmp_path: Path, png: Callable[..., bytes], feature: object, labels: list[object]
) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    rows = {"image": [{"bytes": png(), "path": None}] * 4, "label": labels}
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    source = read_source(path, DataConfig(unknown="ignore"))
    assert source.columns["label"].values.tolist() == [0, 1, 0]
    assert source.describe(2) == f"row 3 of {path}"
    assert source.notes == ("left out 1 of 4 images of 'set': 1 without a value of 'label'",)


@pytest.mark.parametrize(
    ("feature", "written", "names", "numbers"),
    [
        (datasets.Value("int16"), [10, 9, -1, 10], ("-1", "9", "10"), [2, 1, 0, 2]),
        (datasets.Value("bool"), [True, False, True, True], ("False", "True"), [1, 0, 1, 1]),
        (datasets.Value("large_string"), ["x", "y", "x", "x"], ("x", "y"), [0, 1, 0, 0]),
        (datasets.ClassLabel(names=["water", "sky", "land"]), [0, 2, 2, 0], ("land", "water"), [1, 0, 0, 1]),
    ],
)
def test_read_parquet__column_of_any_type__is_numbered_by_names(
    tmp_path: Path,
    png: Callable[..., bytes],
    feature: object,
    written: list[object],
    names: tuple[str, ...],
    numbers: list[int],
) -> None:
    path = save_column(feature, written, png(), tmp_path)
    column = read_source(path, DataConfig(columns=("site",))).columns["site"]
    assert (column.names, column.values.tolist()) == (names, numbers)


@pytest.mark.parametrize(
    ("feature", "written"),
    [
        (datasets.Value("int64"), [1, None, 2, 3]),
        (datasets.Value("string"), ["x", "", "y", "x"]),
        (datasets.Value("bool"), [True, None, False, True]),
        (datasets.ClassLabel(names=["a", "b"]), [0, -1, 1, 0]),
        (datasets.ClassLabel(names=["a", "b"]), [0, None, 1, 0]),
    ],
)
def test_read_parquet__column_without_a_value__names_the_row_or_leaves_it_out(
    tmp_path: Path, png: Callable[..., bytes], feature: object, written: list[object]
) -> None:
    path = save_column(feature, written, png(), tmp_path)
    with pytest.raises(DataError, match=r"a value of 'site' for every image, got none for row 1 of .*set\.parquet"):
        read_source(path, DataConfig(columns=("site",)))
    assert len(read_source(path, DataConfig(columns=("site",), unknown="ignore"))) == 3


def test_read_parquet__a_column_of_quantities__keeps_the_numbers_and_knows_what_is_missing(
    tmp_path: Path, png: Callable[..., bytes]
) -> None:
    path = save_column(datasets.Value("float32"), [0.5, 2.25, float("nan"), 0.5], png(), tmp_path)
    column = read_source(path, DataConfig(columns=("site",), unknown="ignore")).columns["site"]
    assert [column.names[number] for number in column.values] == ["0.5", "2.25", "0.5"]


def test_read_parquet__column_of_another_type__is_refused(tmp_path: Path, png: Callable[..., bytes]) -> None:
    path = save_column(datasets.List(datasets.Value("int64")), [[1]] * 4, png(), tmp_path)
    message = r"further columns of numbers or names, got .* in 'site' of .*: leave it out of --data\.columns"
    with pytest.raises(DataError, match=message) as caught:
        read_source(path, DataConfig(columns=("site",)))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"got Image.* in 'image' of"):
        read_source(path, DataConfig(columns=("image",)))


@pytest.mark.parametrize("feature", [datasets.Value("int64"), datasets.Value("uint8"), datasets.Value("string")])
def test_read_parquet__classes_called_by_numbers__are_meant_by_them(
    tmp_path: Path, png: Callable[..., bytes], feature: datasets.Value
) -> None:
    labels = [str(label) if feature.dtype == "string" else label for label in (1, 2, 3, 1)]
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    rows = {"image": [{"bytes": png(), "path": None}] * 4, "label": labels}
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    assert read_source(path, DataConfig()).vocabulary["label"] == ("1", "2", "3")
    for names, numbers in ((("1", "2", "3"), [0, 1, 2, 0]), (("3", "0", "1", "2"), [2, 3, 0, 2])):
        source = read_source(path, DataConfig(), vocabulary={"label": names})
        assert (source.columns["label"].values.tolist(), source.vocabulary["label"]) == (numbers, names)
    with pytest.raises(DataError, match=r"values of 'label' that train has \(0, 1, 2\), got '?3'? at row 2 of"):
        read_source(path, DataConfig(), vocabulary={"label": ("0", "1", "2")})


def test_read_parquet__truth_values__are_called_so_whatever_their_order_in_train(
    tmp_path: Path, png: Callable[..., bytes]
) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("bool")})
    rows = {"image": [{"bytes": png(), "path": None}] * 3, "label": [True, False, True]}
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    assert read_source(path, DataConfig()).vocabulary["label"] == ("False", "True")
    aligned = read_source(path, DataConfig(), vocabulary={"label": ("True", "False")})
    assert aligned.columns["label"].values.tolist() == [0, 1, 0]


def test_read_parquet__column_in_another_form_of_a_letter__is_found(
    tmp_path: Path, shapes: InMemorySource, make_dataset: MakeDataset
) -> None:
    path = save_parquet(make_dataset(shapes).rename_column("label", "\u00e9tiquette"), tmp_path / "set.parquet")
    source = read_source(path, DataConfig(label_column="e\u0301tiquette"))
    assert torch.equal(source.columns["label"].values, shapes.columns["label"].values)


def test_read_parquet__class_names_that_look_alike__are_spelt_out(tmp_path: Path, png: Callable[..., bytes]) -> None:
    names = ["caf\u00e9", "cafe\u0301"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    rows = {"image": [{"bytes": png(), "path": None}] * 2, "label": [0, 1]}
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    with pytest.raises(DataError, match=r"got 'caf\\xe9' and 'cafe\\u0301' in 'set'"):
        read_source(path, DataConfig())


def test_read_parquet__labels_as_names__are_sorted(tmp_path: Path, png: Callable[..., bytes]) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [{"bytes": png(), "path": None}] * 3, "label": ["dog", "cat", "dog"]}
    path = save_parquet(datasets.Dataset.from_dict(rows, features=features), tmp_path / "set.parquet")
    source = read_source(path, DataConfig())
    assert (source.vocabulary["label"], source.columns["label"].values.tolist()) == (("cat", "dog"), [1, 0, 1])


def test_read_parquet__names_no_row_uses__may_be_unknown_to_training(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path]
) -> None:
    tees = shapes.subset((shapes.columns["label"].values == 2).nonzero().flatten(), "tees")
    path = write_parquet(tees, tmp_path / "set.parquet")
    mapped = read_source(str(path), DataConfig(), vocabulary={"label": ("other", "tee")})
    assert mapped.columns["label"].values.unique().tolist() == [1]
    with pytest.raises(DataError, match="got 'tee' at row 0"):
        read_source(str(path), DataConfig(), vocabulary={"label": ("arrow", "other")})


def test_read_parquet__no_rows__is_refused(tmp_path: Path, shapes: InMemorySource, make_dataset: MakeDataset) -> None:
    path = save_parquet(make_dataset(shapes).select([]), tmp_path / "set.parquet")
    with pytest.raises(DataError, match=r"at least one row, got none in .*set\.parquet"):
        read_source(path, DataConfig())


def test_table_images__pickled__reads_the_same(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path]
) -> None:
    source = read_streaming(str(write_parquet(shapes, tmp_path / "set.parquet")), DataConfig())
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.fetch(torch.tensor([3, 30])), shapes.images[[3, 30]])


def test_read_hub__saved_data_set__is_read_by_path(
    tmp_path: Path, shapes: InMemorySource, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(shapes).save_to_disk(str(tmp_path / "one"))
    source = read_source(f"hf://{tmp_path}/one", DataConfig())
    assert torch.equal(source.fetch(torch.arange(40)), shapes.images)
    monkeypatch.chdir(tmp_path)
    assert len(read_source("hf://./one", DataConfig())) == 40


def test_read_hub__saved_splits__are_chosen_by_name(
    tmp_path: Path, shapes: InMemorySource, make_dataset: MakeDataset
) -> None:
    whole = make_dataset(shapes)
    splits = {"train": whole.select(range(24)), "test": whole.select(range(24, 40))}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "two"))
    assert len(read_source(f"hf://{tmp_path}/two", DataConfig())) == 24
    test = read_source(f"hf://{tmp_path}/two:test", DataConfig())
    assert torch.equal(test.fetch(torch.arange(16)), shapes.images[24:])
    assert test.name == "two-test"
    with pytest.raises(DataError, match="one of the splits train, test, got 'val' of hf://"):
        read_source(f"hf://{tmp_path}/two:val", DataConfig())


def test_read_hub__image_folder__is_loaded(
    tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path]
) -> None:
    write_folder(shapes, tmp_path / "photos" / "train")
    write_folder(shapes.subset(torch.arange(8), "x"), tmp_path / "photos" / "test")
    source = read_source(f"hf://{tmp_path}/photos:train", DataConfig())
    assert source.vocabulary["label"] == tuple(sorted(shapes.vocabulary["label"]))
    assert set(pixel_hashes(source)) == set(shapes.content_hashes())


@pytest.mark.parametrize("spec", ["hf:///nowhere/at/all", "hf://./nowhere"])
def test_read_hub__missing_path__is_one_line(spec: str) -> None:
    with pytest.raises(DataError, match=f"a data set that can be loaded, got {spec}") as caught:
        read_source(spec, DataConfig())
    assert "\n" not in str(caught.value)


def test_read_hub__hub_out_of_reach__is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"can be loaded, got hf://nobody/nothing:test .*network") as caught:
        read_source("hf://nobody/nothing:test", DataConfig())
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_read_parquet__progress_and_logging__are_silent_and_put_back(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_parquet(shapes, tmp_path / "set.parquet")
    before = (datasets.are_progress_bars_disabled(), logging.getLogger("datasets").level)
    capfd.readouterr()
    read_source(str(path), DataConfig())
    assert capfd.readouterr() == ("", "")
    assert (datasets.are_progress_bars_disabled(), logging.getLogger("datasets").level) == before


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("owner/name", ("owner/name", None, None)),
        ("name", ("name", None, None)),
        ("owner/name/folder/inner", ("owner/name", "folder/inner", None)),
        ("owner/name/320px@refs/convert/parquet", ("owner/name", "320px", "refs/convert/parquet")),
        ("owner/name@v1", ("owner/name", None, "v1")),
    ],
)
def test_hub_address__folder_and_revision__are_taken_apart(
    address: str, parts: tuple[str, str | None, str | None]
) -> None:
    assert _hub_address(address) == parts
