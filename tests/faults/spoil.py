"""The generator of bad input: small changes of bytes, text, JSON, tables, images, folders and words, drawn by a seed.

A change of a file takes its bytes and a ``random.Random`` and returns others. Changes compose: :func:`spoil_file`
applies one or two of those that a file is given. The tests of bad input and ``make fuzz`` draw from the same ones.
"""

import csv
import io
import json
import os
import shutil
import struct
import zlib

import numpy as np
from PIL import Image

from auxo.errors import AuxoError

STRANGE = [
    *("null", "true", "0", "-1", "1.5", "NaN", "-Infinity", '""', '"x"', "[]", "[1]", "{}", '{"a": 1}', "1e999"),
    *("1" * 25, "1" * 5000, "[" * 90 + "]" * 90, "[" * 200_000, '"\\ud800"', '"\\u0000"', '"/"', '"~nobody/x"'),
]
"""Values as JSON has them, some of which no reader can hold."""

STRANGE_WORDS = [
    *("", " ", "x", "nan", "inf", "-inf", "1e999", "-1", "0", "1.5", "1e3", "0x10", "1_000", "9" * 30, "1" * 5000),
    *("\x00", "\x1b[2J", "a\nb", "\u202eabc", "\udcff", "\U0001f98a", "=1+1", "x" * 5000, "None", "[]", "{}", "a,,b"),
    *(".", "..", "/", "/dev/null", "/proc/self/mem", "~nobody/x", "hf://", "hf://x", "hf://./", "x.py:", ":", "=", ","),
]
"""Words that somebody could type, a program could pass on, or a cell could hold."""


# Bytes.


def cut_short(content, draws):
    return content[: draws.randrange(len(content) + 1)]


def change_bytes(content, draws):
    changed = bytearray(content or b"x")
    for _ in range(draws.randint(1, 3)):
        changed[draws.randrange(len(changed))] = draws.randrange(256)
    return bytes(changed)


def take_out(content, draws):
    start = draws.randrange(len(content) + 1)
    return content[:start] + content[start + draws.randint(1, 40) :]


def put_in(content, draws):
    start = draws.randrange(len(content) + 1)
    return content[:start] + draws.randbytes(draws.randint(1, 40)) + content[start:]


def repeat(content, draws):
    start = draws.randrange(len(content) + 1)
    part = content[start : start + draws.randint(1, 400)]
    return content[:start] + part * draws.randint(2, 4) + content[start:]


def blank(content, draws):
    start = draws.randrange(len(content) + 1)
    length = min(draws.randint(1, 400), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def replace_whole(_content, draws):
    wholes = (b"", b"\n", b"\x00" * 100, b"PK\x03\x04", b"\x1f\x8b\x08", b"<html></html>", b"PAR1PAR1", b"\xff\xfe\x00")
    return draws.choice(wholes)


def encode_otherwise(content, draws):
    text = content.decode("latin-1")
    return draws.choice(
        [text.encode("utf-16"), text.encode("utf-32"), b"\xef\xbb\xbf" * 2 + content, content + b"\xff"]
    )


BYTES = (cut_short, change_bytes, change_bytes, take_out, put_in, repeat, blank, replace_whole, encode_otherwise)
"""What may happen to any file."""


# Text and tables.


def change_word(content, draws):
    """Put a strange word in the place of a line, or of a part of one."""
    lines = content.decode("latin-1").split("\n")
    number = draws.randrange(len(lines))
    word = draws.choice(STRANGE_WORDS)
    parts = lines[number].split(",")
    parts[draws.randrange(len(parts))] = word
    lines[number] = draws.choice([word, ",".join(parts)])
    return "\n".join(lines).encode("latin-1", "replace")


def _change_table(change):
    """Return a change of a CSV, given one of its list of rows."""

    def spoil(content, draws):
        rows = [*csv.reader(io.StringIO(content.decode("latin-1").replace("\x00", "")))] or [[""]]
        change(rows, draws)
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        return text.getvalue().encode("utf-8", "surrogateescape")

    return spoil


def _cell(rows, draws):
    number = draws.randrange(len(rows))
    return number, draws.randrange(max(len(rows[number]), 1))


def _change_cell(rows, draws):
    number, place = _cell(rows, draws)
    rows[number][place : place + 1] = [draws.choice(STRANGE_WORDS)]


def _drop_cell(rows, draws):
    number, place = _cell(rows, draws)
    del rows[number][place : place + 1]


def _add_cell(rows, draws):
    number, place = _cell(rows, draws)
    rows[number].insert(place, draws.choice(STRANGE_WORDS))


def _double_column(rows, draws):
    place = _cell(rows[:1], draws)[1]
    for row in rows:
        row.append(row[place] if place < len(row) else "")


def _rename_column(rows, draws):
    place = _cell(rows[:1], draws)[1]
    rows[0][place : place + 1] = [draws.choice(["", "Path ", "image", *rows[0]])]


def _double_row(rows, draws):
    rows.append([*draws.choice(rows)])


def _drop_rows(rows, draws):
    del rows[draws.randint(0, 1) :]


TABLE = (
    *map(_change_table, (_change_cell, _drop_cell, _add_cell, _double_column, _rename_column, _double_row, _drop_rows)),
    *(change_word, change_bytes, cut_short, encode_otherwise),
)
"""What may happen to a CSV."""


# JSON.


def places(value, path=()):
    """Yield the way to everything in a value from JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def spoil_value(text, draws):
    """Return JSON with a strange value in the place of one of its own, or without it."""
    value = json.loads(text)
    path = draws.choice([*places(value)])
    if not path:
        return draws.choice(STRANGE)
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    if isinstance(holder, dict) and draws.random() < 0.2:
        del holder[path[-1]]
        return json.dumps(value)
    holder[path[-1]] = "\x00here\x00"
    strange = draws.choice([*STRANGE, json.dumps(draws.choice(STRANGE_WORDS))])
    return json.dumps(value).replace(json.dumps("\x00here\x00"), strange, 1)


def spoil_bytes(text, draws):
    """Return JSON with some bytes changed, or cut short."""
    content = change_bytes(text.encode(), draws)
    return cut_short(content, draws) if draws.random() < 0.2 else content


def change_value(content, draws):
    """Put a strange value into JSON, or into one line of several."""
    try:
        json.loads(content)
    except ValueError:
        lines = content.decode("latin-1").splitlines(keepends=True)
        number = draws.randrange(len(lines))
        try:
            lines[number] = spoil_value(lines[number], draws) + "\n"
        except ValueError:
            return change_bytes(content, draws)
        return "".join(lines).encode("latin-1", "replace")
    return spoil_value(content, draws).encode()


def double_key(content, draws):
    """Give an object of JSON one of its keys again, with a strange value."""
    value = json.loads(content)
    key = draws.choice([*value]) if isinstance(value, dict) and value else "x"
    return b"{" + f"{json.dumps(key)}: {draws.choice(STRANGE)}, ".encode() + content.strip()[1:]


JSON = (change_value, change_value, change_value, change_bytes, cut_short, replace_whole, encode_otherwise)
"""What may happen to JSON, or to lines of it."""


def change_header(content, draws):
    """Change the header of a safetensors file, whose length follows."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    changed = draws.choice([change_value, change_value, change_bytes])(header, draws)
    return len(changed).to_bytes(8, "little") + changed + content[8 + length :]


WEIGHTS = (change_header, change_header, change_bytes, cut_short, put_in, replace_whole)
"""What may happen to a safetensors file."""


# Images.


def _encode(image, file_format, **more):
    file = io.BytesIO()
    image.save(file, file_format, **more)
    return file.getvalue()


def _claim_size(_content, draws):
    """A PNG that says that it is larger than any memory."""
    sides = draws.choice([(100_000, 100_000), (2**31 - 1, 2**31 - 1), (0, 8), (2**31 - 1, 1)])
    head = struct.pack(">IIBBBBB", *sides, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def encode_image(_content, draws):
    """An image of another size, depth or kind."""
    width, height = draws.choice([(1, 1), (7, 9), (28, 8), (16, 16), (300, 2), (9, 900)])
    noise = np.random.default_rng(draws.randrange(2**32)).integers(0, 256, (height, width), dtype=np.uint8)
    made = draws.choice(
        [
            lambda: _encode(Image.fromarray(noise.astype(np.uint16) * 256), "PNG"),
            lambda: _encode(Image.fromarray(noise.astype(np.int32)), "TIFF"),
            lambda: _encode(Image.fromarray(np.full((height, width), np.nan, dtype=np.float32)), "TIFF"),
            lambda: _encode(Image.fromarray(noise), "ICO") if min(width, height) >= 16 else b"ico",
            lambda: _encode(Image.fromarray(noise), "BMP"),
            lambda: _encode(Image.fromarray(noise).convert("CMYK"), "JPEG"),
            lambda: _encode(Image.fromarray(noise).convert("P"), "PNG", transparency=0),
            lambda: _encode(Image.fromarray(noise > 99), "PNG"),
            lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        ]
    )
    return made()


IMAGE = (_claim_size, encode_image, encode_image, change_bytes, change_bytes, cut_short, cut_short, replace_whole)
"""What may happen to an image or a mask."""


# Folders.


def _any_path(root, draws, *, is_file=None):
    found = [path for path in sorted(root.rglob("*")) if is_file is None or path.is_file() == is_file]
    return draws.choice(found or [root])


def _new_name(draws):
    names = ("x.png", "notes.txt", ".hidden.png", "a\nb.png", "\x1b[2Jx.png", "\udcff.png", "é.PNG", "x" * 200 + ".png")
    return draws.choice(names)


def _remove(root, draws):
    path = _any_path(root, draws)
    if path != root:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _rename(root, draws):
    path = _any_path(root, draws)
    if path != root:
        path.rename(path.with_name(_new_name(draws)))


def _add_file(root, draws):
    path = _any_path(root, draws)
    (path if path.is_dir() else path.parent).joinpath(_new_name(draws)).write_bytes(draws.randbytes(9))


def _add_folder(root, draws):
    path = _any_path(root, draws)
    (path if path.is_dir() else path.parent).joinpath(_new_name(draws)).mkdir(exist_ok=True)


def _add_link(root, draws):
    path = _any_path(root, draws)
    place = (path if path.is_dir() else path.parent) / f"link{draws.choice(['', '.png', '.csv', '.parquet'])}"
    target = draws.choice(["gone", "/dev/zero", "/dev/null", ".", "..", place.name, "/proc/self/mem"])
    if not place.exists() and not place.is_symlink():
        place.symlink_to(target)


def _replace(root, draws):
    """Put a folder, a pipe or a link in the place of a file."""
    path = _any_path(root, draws, is_file=True)
    if path == root:
        return
    path.unlink()
    makers = (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(path.name), lambda: path.symlink_to("gone"))
    draws.choice(makers)()


FOLDER = (_remove, _rename, _add_file, _add_folder, _add_link, _replace)
"""What may happen to a folder."""


def spoil_file(path, changes, draws):
    """Apply one of some changes to a file, or two."""
    content = path.read_bytes()
    for change in draws.choices(changes, k=draws.choice([1, 1, 2])):
        try:
            content = change(content, draws)
        except (ValueError, RecursionError):  # what a first change left is not of the kind that a second one takes
            content = change_bytes(content, draws)
    path.write_bytes(content)


def complaint_of(read, *words, what=""):
    """What a reader says of a file that it refuses; nothing where it reads it.

    Args:
        read: the reader.
        words: for it.
        what: it reads, named where it raises anything else.
    """
    try:
        read(*words)
    except AuxoError as error:
        return str(error)
    except OSError as error:
        if error.filename is None:
            raise
        return f"expected {error}"  # the command line says it in one line, whatever file it is
    except Exception as error:
        error.add_note(what)
        raise
    return ""


def check_complaints(complaints, *, least):
    """Check that files were refused, some of them at least, and each in one short line."""
    refused = [said for said in complaints if said]
    assert len(refused) >= least
    lines = [" ".join(said.split()) for said in refused]  # as the command line prints them
    assert [line for line in lines if len(line) >= 2000 or not line.startswith("expected ")] == []
