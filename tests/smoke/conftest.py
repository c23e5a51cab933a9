"""A place with images and a run to spoil, and the check that a refusal is one line and changes nothing."""

import re
import shutil
from pathlib import Path

import datasets
import pytest


class Place:
    """Where a test works: its own folder, with images and a finished run to spoil."""

    def __init__(self, root, shapes, finished, tiny_options):
        self.root = root
        self.shapes = shapes
        self.finished = finished
        self.tiny_options = tiny_options
        self.out = root / "out"

    @property
    def pictures(self):
        """A copy of the folder of class folders."""
        return copied(self.shapes, self.root / "pictures")

    @property
    def run(self):
        """A copy of the finished run."""
        return copied(self.finished, self.root / "run")

    def train(self, *options, data=None):
        """Return the words that train on ``data`` for an epoch."""
        data = self.shapes if data is None else data
        return ["train", "ossl", "--data.train", data, *self.tiny_options, "--out", self.out, *options]

    def write(self, name, content):
        """Write a file and return its path."""
        path = self.root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def copied(source, target):
    """Return ``target``, a copy of ``source`` made at the first call."""
    return target if target.exists() else Path(shutil.copytree(source, target))


def contents(root):
    """Return every path below a folder with its bytes, folders with None."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}


@pytest.fixture
def assert_refused(auxo, place):
    """Run a command and check that it ends with one line of expected, got and fix, and that no file changes."""

    def check(*words, says, code=2):
        before = contents(place.root)
        answer = auxo(*words)
        lines = answer.err.splitlines()
        assert len(lines) == 1, answer.err
        assert re.fullmatch(r"auxo: expected .+, got .+: .+", lines[0]), lines[0]
        assert re.search(says, lines[0]), lines[0]
        assert answer.code == code, lines[0]
        assert contents(place.root) == before

    return check


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where the library datasets keeps what it read."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path, monkeypatch, shapes_folder, finished_run, tiny_options, cache):
    """A working folder that is also the current one, so that nothing is written elsewhere, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return Place(tmp_path, shapes_folder, finished_run, tiny_options)
