"""What methods show of themselves, as files of a run: images, CSV, JSON and text under ``exhibits/STAGE/``."""

import csv
import io
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from PIL import Image

from auxo.errors import CheckpointError, ConfigError
from auxo.files.atomic import make_folder, write_atomically
from auxo.files.json_text import read_json
from auxo.files.pipes import refuse_pipe
from auxo.interfaces import CurveExhibit, Exhibit, ImageExhibit, TableExhibit, TextExhibit

_FOLDER = "exhibits"
_INDEX = "index.json"
_MOST_LETTERS = 40
_FIX = "delete its folder, or take it from a copy"


class _Entry(TypedDict):
    """A line of the index."""

    title: str
    file: str
    kind: Literal["images", "curve", "table", "text"]
    columns: NotRequired[int]
    count: NotRequired[int]
    height: NotRequired[int]
    width: NotRequired[int]
    captions: NotRequired[list[str]]
    is_open: NotRequired[bool]


class _Curve(TypedDict):
    """A curve's file."""

    x: str
    y: str
    lines: dict[str, list[list[float]]]


class ShownExhibit(NamedTuple):
    """An exhibit read back.

    Args:
        stage: of the run that it was made at the end of.
        path: of its file.
        exhibit: the value.
    """

    stage: str
    path: Path
    exhibit: Exhibit


def write_exhibits(folder: Path, stage: str, exhibits: Sequence[Exhibit]) -> None:
    """Write what a method shows at the end of a stage in place of what is there; nothing for nothing.

    Args:
        folder: the run directory.
        stage: name of the stage.
        exhibits: in the order in which they are to be shown.

    Raises:
        ConfigError: one does not hold together.
        OutputError: the place cannot be written.
    """
    place = folder / _FOLDER / stage
    shutil.rmtree(place, ignore_errors=True)
    if not exhibits:
        return
    make_folder(place)
    entries = []
    for number, exhibit in enumerate(exhibits, start=1):
        _check_exhibit(exhibit)
        words = re.sub(r"[^a-z0-9]+", "-", exhibit.title.lower()).strip("-")[:_MOST_LETTERS]
        suffix, content, entry = _encode_exhibit(exhibit)
        name = f"{number:02d}-{words or 'exhibit'}{suffix}"
        write_atomically(place / name, content)
        entries.append({"title": exhibit.title, "file": name, **entry})
    write_atomically(place / _INDEX, json.dumps(entries, indent=2) + "\n")


def read_exhibits(folder: Path, stages: Sequence[str]) -> list[ShownExhibit]:
    """Return what the methods of a run show, stage by stage; none where they show nothing.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    found = []
    for stage in stages:
        place = folder / _FOLDER / stage
        if not (place / _INDEX).is_file():
            continue
        try:
            entries = read_json((place / _INDEX).read_bytes(), list[_Entry], expected=f"exhibits in {place}", fix=_FIX)
            for entry in entries:
                path = place / Path(entry["file"]).name
                found.append(ShownExhibit(stage, path, _decode_exhibit(path, entry)))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, Image.DecompressionBombError) as error:
            got, fix = f"a damaged one ({type(error).__name__}: {error})", _FIX
            raise CheckpointError(f"an exhibit in {place}", got, fix) from error
    return found


def _check_exhibit(exhibit: Exhibit) -> None:
    """Refuse an exhibit whose parts do not fit each other."""
    problem = ""
    if isinstance(exhibit, ImageExhibit):
        shape = tuple(exhibit.images.shape)
        if exhibit.images.dtype != torch.uint8 or len(shape) != 4 or shape[1] not in (1, 3) or not shape[0]:
            problem = f"{exhibit.images.dtype} of shape {shape} for uint8 images (n, 1 or 3, height, width)"
        elif exhibit.captions and len(exhibit.captions) != shape[0]:
            problem = f"{len(exhibit.captions)} captions for {shape[0]} images"
    elif isinstance(exhibit, TableExhibit):
        lengths = {len(row) for row in exhibit.rows} - {len(exhibit.columns)}
        problem = f"rows of {min(lengths)} cells for {len(exhibit.columns)} columns" if lengths else ""
    if problem:
        raise ConfigError(f"an exhibit {exhibit.title!r} that holds together", problem, "mend the method's exhibits")


def _encode_exhibit(exhibit: Exhibit) -> tuple[str, bytes | str, dict[str, object]]:
    """Return the suffix and content of an exhibit's file, and what the index says beside it."""
    if isinstance(exhibit, ImageExhibit):
        count, _, height, width = exhibit.images.shape
        columns = max(1, min(exhibit.columns, count))
        entry = {"kind": "images", "columns": columns, "count": count, "height": height, "width": width}
        return ".png", _encode_grid(exhibit, columns), {**entry, "captions": list(exhibit.captions)}
    if isinstance(exhibit, CurveExhibit):
        lines = {name: [list(map(float, pair)) for pair in pairs] for name, pairs in exhibit.lines.items()}
        return ".json", json.dumps({"x": exhibit.x, "y": exhibit.y, "lines": lines}) + "\n", {"kind": "curve"}
    if isinstance(exhibit, TableExhibit):
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows([exhibit.columns, *exhibit.rows])
        return ".csv", written.getvalue(), {"kind": "table", "is_open": exhibit.is_open}
    return ".txt", exhibit.text.rstrip("\n") + "\n", {"kind": "text"}


def _encode_grid(exhibit: ImageExhibit, columns: int) -> bytes:
    """Return the images row by row as one PNG."""
    images = exhibit.images.cpu().expand(-1, 3, -1, -1)
    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.zeros((rows * columns, 3, height, width), dtype=torch.uint8)
    sheet[:count] = images
    pixels = sheet.view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2).reshape(rows * height, -1, 3)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.numpy())).save(stream, format="PNG")
    return stream.getvalue()


def _decode_exhibit(path: Path, entry: _Entry) -> Exhibit:
    """Return the exhibit in a file."""
    title, kind = entry["title"], entry["kind"]
    refuse_pipe(path, expected=f"an exhibit in {path}", fix=_FIX)
    if kind == "images":
        with Image.open(path) as opened:
            sheet = torch.from_numpy(np.asarray(opened.convert("RGB")).copy())
        columns, height, width = entry["columns"], entry["height"], entry["width"]
        tiles = sheet.view(-1, height, columns, width, 3).permute(0, 2, 4, 1, 3).reshape(-1, 3, height, width)
        return ImageExhibit(title, tiles[: entry["count"]].contiguous(), tuple(entry["captions"]), columns)
    text = path.read_text(encoding="utf-8")
    if kind == "curve":
        found = read_json(text, _Curve, expected=f"a curve in {path}", fix=_FIX)
        lines = {name: [(x, y) for x, y in pairs] for name, pairs in found["lines"].items()}
        return CurveExhibit(title, found["x"], found["y"], lines)
    if kind == "table":
        header, *rows = csv.reader(io.StringIO(text))
        return TableExhibit(title, tuple(header), [tuple(row) for row in rows], entry.get("is_open", True))
    return TextExhibit(title, text.rstrip("\n"))
