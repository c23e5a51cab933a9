"""The images that a command line names: files, folders, and tables of images."""

import os
from collections.abc import Iterator
from pathlib import Path

from auxo.cli.words import say
from auxo.data import DataConfig
from auxo.data.decode import FORMATS
from auxo.data.hub import asking_hub
from auxo.data.readers import read_unlabelled
from auxo.data.readers.files import find_tree
from auxo.data.readers.leftovers import describe_leftovers
from auxo.data.readers.listing import HUB_PREFIX, FileImages, list_parquet
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.export import EncodedImage
from auxo.files.moved import finding_moved

_TABLES = (".parquet", ".csv")


def find_images(spec: str, out: Path, columns: DataConfig) -> Iterator[EncodedImage]:
    """Yield the images of a file, a folder and all below, or a table; tell what in a folder is no image.

    Args:
        spec: what the user named.
        out: the file of answers, which may lie among the images from the last time.
        columns: names the columns of tables.

    Raises:
        DataError: there are none.
    """
    place = Path(spec)
    is_folder = os.path.isdir(place)
    if spec.startswith(HUB_PREFIX) or place.suffix.lower() in _TABLES or (is_folder and list_parquet(place)):
        yield from _list_table(spec, columns)
        return
    if is_folder:
        yield from _name_files(_list_folder(place, out))
        return
    if not os.path.isfile(place):
        got = f"'{place}', which is " + ("a pipe, socket or device" if os.path.exists(place) else "not there")
        raise DataError("an image, a folder, a Parquet or CSV file, or hf://owner/name", got, "check it")
    yield from _name_files([place])


def _list_folder(place: Path, out: Path) -> list[Path]:
    """Return the images in a folder and below it, as sets without labels have them."""
    images, _, others, leftovers = find_tree(place)
    strange = [path for path in others if not _is_answer(path, out)]
    if not images:
        raise DataError(f"images ({', '.join(FORMATS)}) in {place} or below", "none", "name another folder")
    for note in describe_leftovers(str(place), [*strange, *leftovers]):
        say(f"note: {note}", is_error=True)
    return list(images)


def _is_answer(path: Path, out: Path) -> bool:
    """Whether a file is one of answers, or an earlier one that was kept under ``NAME-1``, or their embeddings."""
    if path.parent.resolve() != out.parent.resolve() or not path.name.startswith(out.stem):
        return False
    rest = path.name.removeprefix(out.stem).removeprefix("-embeddings")
    number = rest.removesuffix(out.suffix).removesuffix(".npy")
    return not number or (number.startswith("-") and number[1:].isdecimal())


def _name_files(paths: list[Path]) -> Iterator[EncodedImage]:
    """Yield images in files."""
    encoded = FileImages(paths)
    for row, path in enumerate(paths):
        yield EncodedImage(str(path), path.stem, encoded, row)


def _list_table(spec: str, columns: DataConfig) -> Iterator[EncodedImage]:
    """Yield the images of a table in the order of its rows; those in files that a CSV lists by their paths."""
    with asking_hub(True), finding_moved(None):  # the user named it
        source = read_unlabelled(spec, columns)
    if not isinstance(source, StreamingSource):
        raise DataError("images in files or tables", f"'{spec}'", "write them into a folder")
    encoded = source.encoded
    for row in source.rows.tolist():
        if isinstance(encoded, FileImages):
            yield EncodedImage(encoded.paths[row], Path(encoded.paths[row]).stem, encoded, row)
        else:
            yield EncodedImage(encoded.describe(row), f"row-{row}", encoded, row)
