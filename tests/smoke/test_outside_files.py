"""A method of auxo with a backbone and data of two files: trained, resumed, judged, exported and compared."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from auxo.files.tensor_file import read_tensor_file

NET = (Path(__file__).parents[1] / "outside" / "net.py").read_text()
READER = """
from auxo.data.fake import oriented_shapes

def shapes(config):
    return oriented_shapes(96, size=16, seed=0)

def elsewhere(config):
    return oriented_shapes(16, size=16, seed=1)
"""
QUICK = ("--batch-size", "16", "--training.no-tensorboard", "--runtime.threads", "1", "--device", "cpu")
THINGS = ("--data.train", "reader.py:shapes", "--data.ood", "reader.py:elsewhere", "--backbone.name", "net.py:TinyNet")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working folder with the two files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "reader.py").write_text(READER)
    return tmp_path


@pytest.fixture
def run(auxo, work):
    """A finished run of two epochs."""
    answer = auxo("train", "supervised", *THINGS, *QUICK, "--epochs", "2", "--out", "run")
    assert answer.code == 0, answer.err
    return work / "run"


def weights_of(folder):
    """Return the weights of a finished run."""
    return read_tensor_file(folder / "model.safetensors").tree["weights"]


def test_run__with_leave_for_both_files__goes_on_and_is_judged_anywhere(auxo, run, work, monkeypatch):
    config = json.loads((run / "config.json").read_text())["run"]
    assert config["backbone"]["name"] == f"{work}/net.py:TinyNet"
    assert (config["data"]["train"], config["data"]["ood"]) == (
        f"{work}/reader.py:shapes",
        [f"{work}/reader.py:elsewhere"],
    )
    (work / "sub").mkdir()
    monkeypatch.chdir(work / "sub")
    again = shutil.copytree(run, work / "sub" / "again")
    for path in (*again.glob("checkpoints/train-*12.safetensors"), again / "model.safetensors"):
        path.unlink()
    (again / "checkpoints" / "train-final.safetensors").unlink()
    code = ("--code", "../reader.py", "../net.py")
    answer = auxo("train", "--resume", "again", *code)
    assert answer.code == 0, answer.err
    one, other = weights_of(run), weights_of(again)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    answer = auxo("evaluate", run, "--data", "../reader.py:elsewhere", "--device", "cpu", *code)
    assert answer.code == 0, answer.err
    assert auxo("train", "--config", run, *code, "--out", "third").code == 0


@pytest.mark.parametrize("allowed", ["", "net.py", "reader.py"])
def test_run__without_leave_for_a_file__is_refused_with_the_words_that_are_needed(auxo, run, work, allowed):
    answer = auxo("evaluate", run, *(("--code", allowed) if allowed else ()))
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert "your leave to run what is outside auxo" in answer.err
    for name in ("net.py", "reader.py"):
        assert f"--code {work}/{name}" in answer.err


@pytest.mark.parametrize("edited", ["net.py", "reader.py"])
def test_resume__one_of_the_files_edited__is_refused_and_moved_ones_are_not(auxo, run, work, edited):
    (run / "model.safetensors").unlink()
    (work / "new").mkdir()
    for name in ("net.py", "reader.py"):
        (work / name).rename(work / "new" / name)
    code = ("--code", "new/net.py", "--code", "new/reader.py")
    assert auxo("train", "--resume", run, *code).code == 0
    (run / "model.safetensors").unlink()
    with (work / "new" / edited).open("a") as file:
        file.write("# edited\n")
    answer = auxo("train", "--resume", run, *code)
    assert answer.code == 2, answer.out
    assert len(answer.err.splitlines()) == 1


def test_export__backbone_of_a_file__predicts_with_leave_for_that_alone(auxo, run, work, shapes_folder):
    code = ("--code", "net.py", "reader.py")
    answer = auxo("export", run, *code, "--format", "safetensors", "--out", "export")
    assert answer.code == 0, answer.err
    assert "auxo predict export IMAGES --code net.py" in answer.out
    card = (work / "export" / "README.md").read_text()
    assert "Backbone `net.py:TinyNet`. Source: Nobody, 2026." in card
    assert all(str(work) not in path.read_text() for path in work.glob("export/*.[jm]*") if path.suffix != ".jsonl")
    pictures = next(path for path in shapes_folder.iterdir() if path.is_dir())
    for model, named in (("run", code), ("export", ("--code", "net.py"))):
        answer = auxo("predict", model, pictures, *named, "--device", "cpu", "--out", f"{model}.csv")
        assert answer.code == 0, answer.err
    assert (work / "run.csv").read_text() == (work / "export.csv").read_text()
    answer = auxo("predict", "export", pictures, "--out", "refused.csv")
    assert "your leave to run what is outside auxo, got net.py: pass --code net.py" in answer.err


def test_compare__backbone_and_data_of_files__are_run_in_processes_and_reused(auxo, work):
    words = ("--methods", "supervised", "--seeds", "1", "--epochs", "1", "--processes", "2", "--out", "grid")
    options = ("--training.no-tensorboard", "--device", "cpu")
    answer = auxo("compare", *THINGS, *words, *options)
    assert answer.code == 0, answer.err + answer.out
    assert "finished supervised-seed0" in answer.out
    answer = auxo("compare", *THINGS, *words, *options)
    assert answer.code == 0, answer.err
    assert "finished supervised-seed" not in answer.out
    with (work / "net.py").open("a") as file:
        file.write("# edited\n")
    answer = auxo("compare", *THINGS, *words, *options)
    assert answer.code == 2
    assert "one of an earlier text of such a file" in answer.err


GATE = """
from dataclasses import dataclass
from typing import Annotated

from auxo.gates import GateConfig
from auxo.gates.uniform import UniformGate
from auxo.options import Range


class Mine(UniformGate):
    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        push: Annotated[float, Range(above=0)] = 1.0

        def build(self, *, num_features, num_outputs, seed):
            return Mine()
"""


def test_gate__of_a_file__trains_with_its_options_and_needs_leave_to_go_on(auxo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.py").write_text(GATE)
    words = ("--method.pretexts.gate.name", "gate.py:Mine", "--method.pretexts.gate.push")
    answer = auxo("train", "gssl", *words, "0", "--out", "run")
    assert "--method.pretexts.gate.push > 0, got 0" in answer.err
    answer = auxo("train", "gssl", *words, "2", *QUICK, "--epochs", "1", "--data.num-train", "40", "--out", "run")
    assert answer.code == 0, answer.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())["run"]
    gate = config["stages"][0]["method"]["pretexts"]["gate"]
    assert gate == {"name": f"{tmp_path}/gate.py:Mine", "push": 2.0}
    assert f"--code {tmp_path}/gate.py" in auxo("train", "--resume", "run").err
    assert auxo("train", "--resume", "run", "--code", "gate.py").code == 0


def test_solver__of_a_file__answers_in_the_bilevel_stage_with_its_options(auxo, tmp_path, monkeypatch, shapes_folder):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "outside" / "shrunk.py").read_text()
    (tmp_path / "shrunk.py").write_text(text)
    words = ["--data.train", shapes_folder, "--data.num-labelled", "None"]
    words += ["--bilevel.method.solver.name", "shrunk.py:Shrunk"]
    for stage in ("pretrain", "warm-up", "bilevel", "fine-tune"):
        words += [f"--{stage}.epochs", "1", f"--{stage}.batch-size", "16"]
    words += ["--bilevel.method.lower-steps", "2", "--bilevel.method.upper-steps", "2", "--device", "cpu"]
    words += ["--training.no-tensorboard", "--runtime.threads", "1", "--training.log-every", "1"]
    answer = auxo("train", "bissl", *words, "--bilevel.method.solver.part", "2", "--out", "run")
    assert "--bilevel.method.solver.part in (0, 1], got 2" in answer.err
    answer = auxo("train", "bissl", *words, "--bilevel.method.solver.part", "0.5", "--out", "run")
    assert answer.code == 0, answer.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())["run"]
    solver = next(stage for stage in config["stages"] if stage["name"] == "bilevel")["method"]["solver"]
    assert (solver["name"], solver["part"]) == (f"{tmp_path}/shrunk.py:Shrunk", 0.5)
    records = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    told = [row["losses"]["response_residual"] for row in records if "response_residual" in row.get("losses", {})]
    assert told
    assert all(value > 0 for value in told)  # the product was taken
    assert f"--code {tmp_path}/shrunk.py" in auxo("evaluate", "run").err
