"""Where a set says what the values of its masks stand for, and masks in tables."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset

from auxo.data.config import DataConfig
from auxo.data.load import load_splits
from auxo.data.readers import read_source
from auxo.errors import DataError
from auxo.tasks import Segmentation

Write = Callable[..., Path]
VALUES = (3, 10, 7)
TABLE = "name,index\nsky,3\ntree,7\nroad,10\n"


@pytest.fixture
def root(tmp_path: Path, write_pairs: Write) -> Path:
    """Bands of sky, road and tree, from left to right."""
    return write_pairs(tmp_path / "street", values=VALUES)


def read(spec: object, names: tuple[str, ...] | None = None, **options: object):
    vocabulary = None if names is None else {"mask": names}
    return read_source(str(spec), DataConfig(**options), vocabulary=vocabulary, mask="mask")


def show_bands(source) -> list[str]:
    """The class of the first and of the last column of the first mask."""
    mask = source.fetch_targets(torch.tensor([0]))["mask"][0, 0]
    return [source.vocabulary["mask"][int(mask[place])] for place in (0, -1)]


def write_parquet(root: Path, path: Path, *, names: object = None, empty: int | None = None) -> Path:
    def read_rows(folder: str) -> list[dict[str, object]]:
        files = sorted((root / folder).iterdir())
        return [{"bytes": file.read_bytes(), "path": file.name} for file in files]

    masks = [None if row == empty else cell for row, cell in enumerate(read_rows("masks"))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(read_rows("images"), kind), "annotation": pa.array(masks, kind)})
    metadata = {} if names is None else {"classes": json.dumps(names)}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_choose_legend__nothing_said__names_the_values_of_the_training_masks(root: Path) -> None:
    source = read(root)
    assert source.vocabulary["mask"] == ("3", "7", "10")
    assert show_bands(source) == ["3", "7"]


@pytest.mark.parametrize("is_option", [False, True])
def test_choose_legend__table__is_beside_the_images_or_an_option(root: Path, is_option: bool) -> None:
    table = (root.parent / "mine.csv") if is_option else root / "classes.csv"
    table.write_text(TABLE)
    source = read(root, **({"classes": str(table)} if is_option else {}))
    assert source.vocabulary["mask"] == ("sky", "tree", "road")
    assert show_bands(source) == ["sky", "tree"]


def test_choose_legend__other_set_without_a_table__takes_that_of_train(root: Path, write_pairs: Write) -> None:
    (root / "classes.csv").write_text(TABLE)
    other = write_pairs(root.parent / "elsewhere", values=VALUES)
    source = read(other, ("sky", "tree", "road"), train=str(root))
    assert show_bands(source) == ["sky", "tree"]


def test_choose_legend__other_set_with_a_table_of_its_own__is_matched_by_name(root: Path, write_pairs: Write) -> None:
    other = write_pairs(root.parent / "elsewhere", values=(1, 2, 0))
    (other / "classes.csv").write_text("name,index\ntree,0\nsky,1\nroad,2\n")
    source = read(other, ("sky", "tree", "road"))
    assert source.vocabulary["mask"] == ("sky", "tree", "road")
    assert show_bands(source) == ["sky", "tree"]


def test_choose_legend__names_that_are_no_values__asks_for_a_table(root: Path) -> None:
    with pytest.raises(DataError, match=r"what values of masks are sky, road, got nothing about it for .* classes.csv"):
        read(root, ("sky", "road"))
    assert show_bands(read(root, ("7", "3", "10"))) == ["3", "7"]


def test_read_parquet__masks_and_names_of_classes__are_read(root: Path) -> None:
    names = [*map(str, range(3)), "sky", "4", "5", "6", "tree", "8", "9", "road"]
    source = read(write_parquet(root, root.parent / "a.parquet", names=names), mask_column="annotation")
    assert show_bands(source) == ["sky", "tree"]
    assert source.vocabulary["mask"] == tuple(names)


def test_read_parquet__metadata_that_are_no_names__are_refused(root: Path) -> None:
    path = write_parquet(root, root.parent / "a.parquet", names={"sky": 3})
    with pytest.raises(DataError, match=r"a list of names under classes in the metadata of .*a.parquet"):
        read(path, mask_column="annotation")


def test_read_parquet__no_such_column__names_the_option(root: Path) -> None:
    path = write_parquet(root, root.parent / "a.parquet")
    with pytest.raises(DataError, match=r"a column 'mask', got the columns image, annotation .* --data.mask-column"):
        read(path)


def test_read_parquet__row_without_a_mask__is_named_or_left_out(root: Path) -> None:
    path = write_parquet(root, root.parent / "a.parquet", empty=4)
    with pytest.raises(DataError, match="a mask for every image, got none for row 4 of"):
        read(path, mask_column="annotation")
    assert len(read(path, mask_column="annotation", unknown="ignore")) == 11


def test_read_hub__masks__are_read(root: Path) -> None:
    parquet = write_parquet(root, root.parent / "a.parquet")
    Dataset.from_parquet(str(parquet), cache_dir=str(root.parent / "cache")).save_to_disk(str(root.parent / "saved"))
    assert show_bands(read(f"hf://{root.parent}/saved", mask_column="annotation")) == ["3", "7"]


def test_read_csv__paths_of_masks__are_read(root: Path, write_csv: Write) -> None:
    rows = [[f"images/{i:03d}.png", f"masks/{i:03d}.png"] for i in range(12)]
    table = write_csv([["path", "mask"], *rows], root / "pairs.csv")
    assert show_bands(read(table)) == ["3", "7"]
    write_csv([["path", "mask"], *rows[:3], [rows[3][0], ""]], table)
    with pytest.raises(DataError, match=r"a mask for every image, got none for .*003.png \(line 5 of"):
        read(table)
    assert len(read(table, unknown="ignore")) == 3
    write_csv([["path", "mask"], [rows[0][0], "masks/none.png"]], table)
    with pytest.raises(DataError, match=r"a mask that is there, got 'masks/none.png' in line 2"):
        read(table)


def test_leave_out_blank__training_mask_that_says_nothing__is_named_or_left_out(root: Path, write_pairs: Write) -> None:
    write_pairs(root, 1, first=5, values=(255, 255, 255))
    with pytest.raises(DataError, match=r"every training image, got only ignored ones in the mask of .*005.png"):
        load_splits(DataConfig(train=str(root)), seed=0, task=Segmentation)
    splits = load_splits(DataConfig(train=str(root), unknown="ignore"), seed=0, task=Segmentation)
    assert sum(len(split.source) for split in (splits.train, splits.val, splits.test)) == 11
    assert "left out 1 of 12 images of 'street': 1 whose mask says nothing" in splits.notes
