"""Local tables are what is in them, whatever they are called and whenever they were written."""

import os
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow
import pytest
import torch
from pyarrow import parquet

from auxo.data.config import DataConfig
from auxo.data.readers import read_source, read_streaming
from auxo.data.readers.converted import link_folder, open_parquet
from auxo.data.sources import InMemorySource
from auxo.errors import DataError, OutputError

NAMES = ["what?", "set [v2]", "a*b", "{a,b}", "50%20", "no #1", "a::b", "zip:", "kind=train", "~", "ünï"]


def write_table(path: Path, **columns: list[object]) -> Path:
    with path.open("wb") as file:
        parquet.write_table(pyarrow.table(columns), file)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows of numbers as a Parquet file."""

    def write_rows(path: Path, *numbers: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_table(path, n=list(numbers))

    return write_rows


def cache() -> list[str]:
    return sorted(path.name for path in Path(datasets.config.HF_DATASETS_CACHE, "auxo").glob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_open_parquet__any_name__is_that_file_alone(tmp_path: Path, write: Callable[..., Path], name: str) -> None:
    for other in ("whats", "set v", "axb", "a", "b", "50 "):
        write(tmp_path / other / "x.parquet", 0)
    write(tmp_path / name / f"{name}.parquet", 1, 2)
    assert open_parquet([tmp_path / name / f"{name}.parquet"])["n"][:] == [1, 2]


def test_open_parquet__many_files_of_odd_names__are_in_their_order(tmp_path: Path, write: Callable[..., Path]) -> None:
    files = [write(tmp_path / f"{number:02d}[a]::b.parquet", number) for number in range(18)]
    assert open_parquet(files)["n"][:] == list(range(18))


def test_open_parquet__replaced_under_the_same_time_and_size__gives_the_new_rows(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    path = write(tmp_path / "x.parquet", 1, 2)
    before = path.stat()
    assert open_parquet([path])["n"][:] == [1, 2]
    write(path, 2, 1)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert open_parquet([path])["n"][:] == [2, 1]
    path.rename(tmp_path / "y.parquet")  # and what is known is known under any name
    open_parquet([tmp_path / "y.parquet"])
    assert len(cache()) == 2


def test_open_parquet__kept_file_that_is_damaged__is_made_anew(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "x.parquet", 1, 2)
    open_parquet([path])
    (kept,) = cache()
    Path(datasets.config.HF_DATASETS_CACHE, "auxo", kept).write_bytes(b"")
    assert open_parquet([path])["n"][:] == [1, 2]


def test_open_parquet__features__are_those_of_the_library(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path]
) -> None:
    path = write_parquet(shapes, tmp_path / "x.parquet")
    ours = open_parquet([path])
    theirs = datasets.Dataset.from_parquet(str(path))
    assert ours.features == theirs.features
    assert ours[3] == theirs[3]


def test_open_parquet__other_columns_in_the_second__is_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    write_table(tmp_path / "set.parquet", m=["x"])
    write(tmp_path / "a.parquet", 1)
    with pytest.raises(DataError, match=r"a data set that can be loaded, got .*m"):
        read_source(str(tmp_path), DataConfig())
    assert cache() == []


def test_open_parquet__full_disk__says_so(
    tmp_path: Path, write: Callable[..., Path], full_disk: Callable[..., object]
) -> None:
    path = write(tmp_path / "x.parquet", *range(4000))
    with full_disk(1000), pytest.raises(OutputError, match=r"auxo"):
        open_parquet([path])
    assert open_parquet([path])["n"][:] == list(range(4000))


@pytest.mark.parametrize("name", ["set [v2]", "what?", "a#b%20"])
def test_read_source__set_of_any_name__has_its_labels(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path], name: str
) -> None:
    other = InMemorySource(
        "x", shapes.images[:3], {"label": shapes.columns["label"]._replace(values=torch.zeros(3).long())}
    )
    (tmp_path / "whats").mkdir()
    write_parquet(other, tmp_path / "whats" / "x.parquet")
    (tmp_path / name).mkdir()
    path = write_parquet(shapes, tmp_path / name / "x.parquet")
    for spec in (str(path), str(tmp_path / name), f"hf://{tmp_path / name}"):
        source = read_streaming(spec, DataConfig())
        assert torch.equal(source.columns["label"].values, shapes.columns["label"].values)


def test_link_folder__changed_under_the_same_time__is_another(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "set [v2]" / "data" / "x.parquet", 1, 2)
    (tmp_path / "set [v2]" / "up").symlink_to(tmp_path / "set [v2]")
    first = link_folder(tmp_path / "set [v2]")
    assert (first / "data" / "x.parquet").resolve() == path
    assert link_folder(tmp_path / "set [v2]") == first
    before = path.stat()
    write(path, 2, 1)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert link_folder(tmp_path / "set [v2]") != first


@pytest.mark.parametrize("name", ["set [v2]", "what?", "a#b%20"])
def test_read_source__saved_set_of_any_name__is_read(
    tmp_path: Path, make_dataset: Callable[..., datasets.Dataset], shapes: InMemorySource, name: str
) -> None:
    datasets.disable_progress_bars()
    make_dataset(shapes).save_to_disk(str(tmp_path / name))
    datasets.enable_progress_bars()
    assert len(read_streaming(f"hf://{tmp_path / name}", DataConfig())) == len(shapes)
