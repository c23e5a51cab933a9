"""A set with further columns in every form that the readers take."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import datasets
import pytest

from auxo.data.sources import InMemorySource

Columns = Mapping[str, Sequence[str | None]]


def as_rows(columns: Columns, count: int) -> list[list[str]]:
    return [[values[i] or "" for values in columns.values()] for i in range(count)]


def write_table(header: list[str], rows: list[list[str]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def write_set(
    write_folder: Callable[..., Path], make_dataset: Callable[..., datasets.Dataset]
) -> Callable[[str, InMemorySource, Columns, Path], str]:
    """Write a source with further columns as "csv", "folder", "parquet" or "hub"; return how the command line names it.

    The images are in the order of the source, but for a folder, whose order is that of its classes.
    """

    def write(kind: str, source: InMemorySource, columns: Columns, place: Path) -> str:
        place.mkdir(parents=True, exist_ok=True)
        if kind in ("csv", "folder"):
            root = write_folder(source, place / "images")
            files = sorted(root.rglob("*.png"), key=lambda file: file.name)
            further = as_rows(columns, len(source))
            if kind == "folder":
                paths = [str(file.relative_to(root)) for file in files]
                rows = [[path, *cells] for path, cells in zip(paths, further, strict=True)]
                write_table(["path", *columns], rows, root / "labels.csv")
                return str(root)
            rows = [[str(file), file.parent.name, *cells] for file, cells in zip(files, further, strict=True)]
            write_table(["path", "label", *columns], rows, place / "set.csv")
            return str(place / "set.csv")
        dataset = make_dataset(source)
        for name, values in columns.items():
            dataset = dataset.add_column(name, list(values))
        if kind == "parquet":
            with (place / "set.parquet").open("wb") as file:
                dataset.to_parquet(file)
            return str(place / "set.parquet")
        datasets.disable_progress_bars()
        dataset.save_to_disk(str(place / "saved"))
        datasets.enable_progress_bars()
        return f"hf://{place}/saved"

    return write
