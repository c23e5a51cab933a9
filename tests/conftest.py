"""The command line in this process, a small folder of images and a finished run of one epoch on it."""

import resource
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch
from PIL import Image


class Answer(NamedTuple):
    """What the command line said and how it left."""

    code: int
    out: str
    err: str


@pytest.fixture
def auxo(capsys):
    """Run the command line in this process; whatever it raises but SystemExit fails the test."""
    from auxo.cli import main

    def run(*words):
        capsys.readouterr()
        threads = torch.get_num_threads()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        torch.set_num_threads(threads)
        said = capsys.readouterr()
        return Answer(int(stop.value.code or 0), said.out, said.err)

    return run


@pytest.fixture(scope="session")
def write_picture():
    """Write uint8 pixels of shape (3, height, width) as an image, and its folder if that is missing."""

    def write(path, pixels):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)

    return write


@pytest.fixture(scope="session")
def tiny_options():
    """Options of a run that takes a second; one thread, so that every process rounds alike."""
    return ("--epochs", "1", "--batch-size", "32", "--training.no-tensorboard", "--runtime.threads", "1")


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory, write_picture):
    """A folder of class folders with 160 images of 28x28 pixels."""
    from auxo.data.fake import oriented_shapes

    root = tmp_path_factory.mktemp("shapes")
    source = oriented_shapes(160, size=28, seed=0)
    for number, (image, label) in enumerate(zip(source.images, source.columns["label"].values, strict=True)):
        write_picture(root / source.vocabulary["label"][int(label)] / f"{number:03d}.png", image)
    return root


@pytest.fixture(scope="session")
def finished_run(shapes_folder, tiny_options, tmp_path_factory):
    """The directory of a finished run; copy it before you change it."""
    from auxo.cli import main

    out = tmp_path_factory.mktemp("runs") / "finished"
    with pytest.raises(SystemExit) as stop:
        main(["train", "ossl", "--data.train", str(shapes_folder), *tiny_options, "--out", str(out)])
    assert stop.value.code == 0
    return out


@pytest.fixture(scope="session")
def here():
    """What makes runs one after the other in this process, which begins faster; a deliberate error fails one."""
    from dataclasses import dataclass

    from auxo.errors import AuxoError
    from auxo.jobs import AbstractExecutor, Outcome
    from auxo.runs.document import config_digest, to_json
    from auxo.runtime import open_runtime
    from auxo.training import SilentObserver, train_run

    @dataclass(frozen=True, kw_only=True)
    class Here(AbstractExecutor):
        def check(self):
            """Refuse nothing."""

        def execute(self, jobs, report):
            """Make runs here."""
            for job in jobs:
                error, document = None, to_json(job.config)
                try:
                    with open_runtime(job.config.runtime) as runtime:
                        digest, silent = config_digest(job.config), SilentObserver()
                        train_run(
                            job.config,
                            document=document,
                            digest=digest,
                            folder=job.folder,
                            runtime=runtime,
                            observer=silent,
                        )
                except AuxoError as caught:
                    error = str(caught)
                report(Outcome(job, "failed" if error else "finished", 1.0, error))

    return Here()


@pytest.fixture
def full_disk():
    """Let no file grow beyond a size: writing then fails as it does on a full disk."""

    @contextmanager
    def limit(num_bytes):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
