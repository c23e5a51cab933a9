"""A pipe in the place of a file would be waited for: every reader of a run's files refuses it in one line."""

import os

import pytest

from auxo.errors import CheckpointError
from auxo.files.pipes import refuse_pipe
from auxo.files.tensor_file import read_tensor_file
from auxo.jobs import Job, check_jobs
from auxo.methods.supervised import Supervised
from auxo.runs.exhibits import read_exhibits
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.history import RunHistory

INDEX = '[{"title": "A curve", "file": "curve.json", "kind": "curve"}]'
READERS = {
    "model.safetensors": lambda root: read_tensor_file(root / "model.safetensors"),
    "records.jsonl": RunHistory.read,
    "config.json": lambda root: RunHistory(root, ()).document,
    "exhibits/train/curve.json": lambda root: read_exhibits(root, ["train"]),
}


def make_pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("name", READERS)
def test_reader__pipe_in_the_place_of_a_file__is_refused_and_not_waited_for(tmp_path, name):
    path = make_pipe(tmp_path / name)
    (path.parent / "index.json").write_text(INDEX)
    with pytest.raises(CheckpointError, match=rf"expected .* {path}, got a pipe, socket or device"):
        READERS[name](tmp_path)


def test_check_jobs__pipe_in_the_place_of_a_config__is_refused_and_not_waited_for(tmp_path):
    make_pipe(tmp_path / "run" / "config.json")
    (tmp_path / "run" / "model.safetensors").touch()
    config = ExperimentConfig(stages=(StageConfig(method=Supervised.Config()),))
    with pytest.raises(CheckpointError, match=r"the config of the run .*, got a pipe, socket or device"):
        check_jobs([Job("run", config, tmp_path / "run")])


@pytest.mark.parametrize(("make", "got"), [("mkdir", "a folder"), ("touch", None), (None, None)])
def test_refuse_pipe__folder_file_or_nothing__refuses_the_folder_alone(tmp_path, make, got):
    path = tmp_path / "file"
    if make is not None:
        getattr(path, make)()
    if got is None:
        refuse_pipe(path, expected="a file", fix="take it from a copy")
    else:
        with pytest.raises(CheckpointError, match=got):
            refuse_pipe(path, expected="a file", fix="take it from a copy")
