"""Which runs are made, and which folders are refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from auxo.backbones import BackboneConfig
from auxo.errors import CheckpointError, ConfigError
from auxo.files.tensor_file import write_tensor_file
from auxo.jobs import Job, check_jobs, is_finished
from auxo.jobs.job import check_job
from auxo.runs.document import config_digest, to_json

NET = (Path(__file__).parents[2] / "outside" / "net.py").read_text()


@pytest.fixture
def finished_job(finished_run, make_job):
    """A job whose run is in the directory of a finished run, with its config."""
    from auxo.runs.document import from_json

    path = finished_run / "config.json"
    return Job("finished", from_json(path.read_text(), origin=str(path)), finished_run)


def test_is_finished__model_and_end__only_with_both(finished_run, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    assert is_finished(run)
    rows = (run / "records.jsonl").read_text().splitlines(keepends=True)
    (run / "records.jsonl").write_text("".join(row for row in rows if json.loads(row)["kind"] != "end"))
    assert not is_finished(run)
    (run / "records.jsonl").write_text("".join(rows))
    (run / "model.safetensors").unlink()
    assert not is_finished(run)
    assert not is_finished(tmp_path / "nowhere")


def test_is_finished__damaged_records__refused(finished_run, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "records.jsonl").write_text("nonsense\n")
    with pytest.raises(CheckpointError, match="a record in line 1"):
        is_finished(tmp_path)


def test_check_job__finished_new_and_begun__only_the_first_is_finished(finished_job, make_job):
    assert check_job(finished_job)
    new = make_job()
    assert not check_job(new)
    new.folder.mkdir(parents=True)
    (new.folder / "config.json").write_text(to_json(new.config))
    assert not check_job(new)


def test_check_job__another_config__refused_with_what_differs(finished_job, make_job):
    other = make_job("ossl", folder=finished_job.folder)
    with pytest.raises(ConfigError, match=r"one of another config \(.*, not .*\)"):
        check_job(other)


def test_check_job__folder_is_a_file__refused(make_job, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="the file"):
        check_job(make_job(folder=tmp_path / "file"))


@pytest.mark.parametrize("same", ["name", "folder"])
def test_check_jobs__two_of_one_name_or_folder__refused(make_job, same, tmp_path):
    first = make_job(seed=0)
    second = make_job(seed=1, name=first.name, folder=tmp_path / "other")
    if same == "folder":
        second = make_job(seed=1, folder=first.folder)
    with pytest.raises(ConfigError, match="twice: rename one"):
        check_jobs([first, second])


def run_of(make_job, failing, place):
    """Return a job with a method of one file and a backbone of another."""
    net = place / "net.py"
    net.write_text(NET)
    job = make_job(f"{failing}:work", name="mine")
    return replace(job, config=replace(job.config, backbone=BackboneConfig(name=f"{net}:TinyNet")))


def as_if_trained(job):
    """Leave what a run leaves in its folder, as far as it is looked at."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "config.json").write_text(to_json(job.config))
    write_tensor_file(job.folder / "model.safetensors", {"weights": {}}, {"run": config_digest(job.config)})


def test_check_job__method_and_backbone_of_files__same_config_moved_or_not(make_job, failing, tmp_path):
    job = run_of(make_job, failing, tmp_path)
    as_if_trained(job)
    assert not check_job(job)  # it has no records of its end
    other = tmp_path / "other.py"
    other.write_text(NET)
    moved = replace(job, config=replace(job.config, backbone=BackboneConfig(name=f"{other}:TinyNet")))
    with pytest.raises(ConfigError, match=r"your leave to run what is outside auxo, got .*net\.py"):
        check_job(moved)
    (tmp_path / "net.py").unlink()
    assert not check_job(moved)


@pytest.mark.parametrize("edited", ["failing.py", "net.py"])
def test_check_job__finished_and_one_of_two_files_edited__refused(make_job, failing, tmp_path, edited, finished_run):
    job = run_of(make_job, failing, tmp_path)
    as_if_trained(job)
    shutil.copy(finished_run / "records.jsonl", job.folder)
    assert check_job(job)
    with (tmp_path / edited).open("a") as file:
        file.write("# other\n")
    with pytest.raises(ConfigError, match="one of an earlier text of such a file"):
        check_job(job)
