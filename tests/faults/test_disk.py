"""What a death leaves: kept of a copy, it is what a child leaves that really dies, and what a disk may hold then."""

import os
import shutil

import pytest

from .deaths import Command, keep_deaths
from .disk import KINDS

OLD = "what was there"


def begin(root):
    (root / "old").write_text(OLD)
    (root / "folder").mkdir()
    (root / "folder" / "inner").write_text(OLD)


def work(root):
    """Do every operation that is counted, some of it synchronised."""
    descriptor = os.open(root / "part", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, b"first ")
    os.fsync(descriptor)
    os.write(descriptor, b"second")
    os.replace(root / "part", root / "old")
    os.write(descriptor, b" third")
    os.close(descriptor)
    with (root / "rows").open("ab") as file:
        file.write(b"a row\n")
    with open(root / "rows", "a", encoding="utf-8") as file:
        file.write("another row\n")
        file.flush()
        os.fsync(file.fileno())
    os.symlink(root / "rows", root / "link")
    os.mkdir(root / "made")
    (root / "made" / "text").write_text("a text")
    os.rename(root / "made", root / "moved")
    synchronise(root)
    os.unlink(root / "link")
    os.rename(root / "rows", root / "moved" / "rows")
    shutil.rmtree(root / "folder")
    synchronise(root / "moved")
    return 0


def synchronise(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return keep_deaths(Command(work, read_texts, begin), tmp_path_factory.mktemp("kept"))


def read_texts(root):
    """Return the text of every file, nothing for a folder and where a link leads to, by the path."""
    return {str(path.relative_to(root)): read_text(path) for path in sorted(root.rglob("*"))}


def read_text(path):
    return path.readlink().name if path.is_symlink() else None if path.is_dir() else path.read_text()


def test_disk__one_run__counts_every_operation(kept):
    assert [f"{operation.name} {operation.place}" for operation in kept.operations] == [
        *("open part", "write part", "fsync part", "write part", "replace old", "write old"),
        *("open rows", "write rows", "write rows", "fsync rows", "symlink link"),
        *("mkdir made", "open made/text", "write made/text", "rename moved", "fsync ."),
        *("unlink link", "rename moved/rows", "unlink folder/inner", "rmdir folder", "fsync moved"),
    ]


BEGUN = {"folder": None, "folder/inner": OLD, "old": OLD}
ROWS = "a row\nanother row\n"


@pytest.mark.parametrize(
    ("number", "kind", "left"),
    [
        (3, "killed", {**BEGUN, "part": "first "}),
        (3, "half", {**BEGUN, "part": "first sec"}),
        (4, "torn", {**BEGUN, "part": "first "}),
        (4, "power", BEGUN),
        (5, "half", {**BEGUN, "old": "first second th"}),
        (5, "torn", {**BEGUN, "old": "first "}),
        (15, "torn", {**BEGUN, "link": "rows", "moved": None, "moved/text": "", "old": "first ", "rows": ROWS}),
        (15, "power", BEGUN),
        (20, "killed", {"moved": None, "moved/rows": ROWS, "moved/text": "a text", "old": "first second third"}),
        (20, "torn", {"moved": None, "moved/rows": ROWS, "moved/text": "", "old": "first "}),
        (20, "power", {**BEGUN, "link": "rows", "moved": None, "old": "first ", "rows": ROWS}),
    ],
)
def test_leave__death_of_a_kind__has_what_a_disk_then_has(kept, number, kind, left):
    (death,) = [death for death in kept.deaths if (death.number, death.kind) == (number, kind)]
    assert read_texts(kept.store / death.state) == left


def test_leave__every_death__is_what_a_child_leaves_that_dies(kept):
    assert {death.kind for death in kept.deaths} == {*KINDS}
    for death in kept.deaths:
        kept.die(death)
