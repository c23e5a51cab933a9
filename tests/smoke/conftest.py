"""A small set of pictures, a finished run of one epoch, and the command line in this process."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import datasets
import pytest
import torch
from PIL import Image

from auxo.cli import main
from auxo.data.fake import oriented_shapes

TINY = ("--epochs", "1", "--batch-size", "32", "--training.no-tensorboard")


class Answer(NamedTuple):
    """What the command line said and how it left."""

    code: int
    out: str
    err: str


class Place:
    """Where a test works: its own folder, with pictures and a finished run to spoil."""

    def __init__(self, root, shapes, finished):
        self.root = root
        self.shapes = shapes
        self.finished = finished
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
        return ["train", "ossl", "--data.train", data, *TINY, "--out", self.out, *options]

    def write(self, name, content):
        """Write a file and return its path."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def copied(source, target):
    """Return ``target``, a copy of ``source`` made at the first call."""
    return target if target.exists() else Path(shutil.copytree(source, target))


def contents(root):
    """Return every path below a folder with its bytes, folders with None."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}


@pytest.fixture
def auxo(capsys):
    """Run the command line in this process; whatever it raises but SystemExit fails the test."""

    def run(*words):
        capsys.readouterr()
        threads = torch.get_num_threads()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        torch.set_num_threads(threads)
        said = capsys.readouterr()
        return Answer(int(stop.value.code or 0), said.out, said.err)

    return run


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
def shapes(tmp_path_factory):
    """A folder of class folders with 160 pictures of 28x28 pixels."""
    root = tmp_path_factory.mktemp("shapes")
    source = oriented_shapes(160, size=28, seed=0)
    for number, (image, label) in enumerate(zip(source.images, source.labels, strict=True)):
        folder = root / source.class_names[int(label)]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:03d}.png")
    return root


@pytest.fixture(scope="session")
def finished(shapes, tmp_path_factory):
    """The directory of a run that finished."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    with pytest.raises(SystemExit) as stop:
        main(["train", "ossl", "--data.train", str(shapes), *TINY, "--out", str(out)])
    assert stop.value.code == 0
    return out


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where the library datasets keeps what it read."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path, monkeypatch, shapes, finished, cache):
    """A working folder that is also the current one, so that nothing is written elsewhere, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return Place(tmp_path, shapes, finished)
