"""Which runs are made, and which folders are refused."""

import json

import pytest

from auxo.errors import CheckpointError, ConfigError
from auxo.jobs import Job, check_jobs, is_finished
from auxo.jobs.job import check_job, foreign_file
from auxo.runs.document import load_recipe, to_json


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


def test_foreign_file__of_a_method_in_a_file__that_file(make_job, failing):
    assert foreign_file(make_job().config) is None
    assert foreign_file(make_job(failing).config) == failing.resolve()


def test_foreign_file__methods_of_two_files__refused(failing, tmp_path):
    from dataclasses import replace

    other = tmp_path / "another.py"
    other.write_text(failing.read_text())
    first, second = load_recipe(str(failing)), load_recipe(str(other))
    both = replace(first, stages=(replace(first.stages[0], name="one"), replace(second.stages[0], name="two")))
    with pytest.raises(ConfigError, match="methods of one Python file"):
        foreign_file(both)
