"""What is read from the files of a run."""

import json
import shutil
from pathlib import Path

import pytest

from auxo.cli.train import read_run_config
from auxo.errors import CheckpointError
from auxo.reporting import read_run_record, run_names
from auxo.reporting.run_record import group_name, grouped


@pytest.fixture
def copied(finished_run, tmp_path):
    """A copy of the finished run, and how to read it."""
    folder = shutil.copytree(finished_run, tmp_path / "run")
    return folder, lambda: read_run_record(folder, read_run_config(folder), name="run")


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a"], ["a"]),
        (["runs/a/seed0", "runs/b/seed0"], ["a/seed0", "b/seed0"]),
        (["runs/a/seed0", "runs/a/seed1"], ["seed0", "seed1"]),
    ],
)
def test_run_names__below_the_common_folder__tell_runs_apart(folders, names):
    assert run_names([Path(folder) for folder in folders]) == names


@pytest.mark.parametrize("lost", ["model", "end"])
def test_read_run_record__unfinished__is_refused_with_the_way_on(copied, lost):
    folder, read = copied
    if lost == "model":
        (folder / "model.safetensors").unlink()
    else:
        path = folder / "records.jsonl"
        kept = [line for line in path.read_text().splitlines() if json.loads(line)["kind"] != "end"]
        path.write_text("\n".join(kept) + "\n")
    with pytest.raises(CheckpointError, match=r"a finished run in .*: auxo train --resume"):
        read()


def test_read_run_record__many_records__are_means_of_consecutive_ones_of_a_stage(copied):
    folder, read = copied
    path = folder / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    loss = next(row for row in rows if row["kind"] == "losses")
    many = []
    for number, stage in enumerate(("first", "second")):
        for step in range(1, 302):
            place = {"stage_number": number, "stage": stage, "step": step, "global_step": 301 * number + step}
            losses = {"a_loss": float(step), **({"seldom": 1.0} if step % 7 == 0 else {})}
            many.append({**loss, **place, "epoch": step / 10, "losses": losses})
    rest = [{**row, "stage_number": 1} for row in rows if row["kind"] != "losses"]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*many, *rest]))
    found = read()
    assert found.records_per_point == 4  # 602 records on at most 200 points
    first = [row for row in found.measured if row.stage == "first"]
    assert [row.step for row in first] == [*range(4, 301, 4), 301]
    assert [row.values["a_loss"] for row in first] == [*(step - 1.5 for step in range(4, 301, 4)), 301.0]
    assert [row.values.get("seldom") for row in first[:3]] == [None, 1.0, None]
    assert len(found.measured) == 2 * 76


def test_grouped__runs_of_other_seeds__are_together_and_of_other_options_apart(two_runs, finished_run, tmp_path):
    other = shutil.copytree(finished_run, tmp_path / "faster")
    document = json.loads((other / "config.json").read_text())
    document["run"]["stages"][0]["method"]["optimizer"]["lr"] = 0.5
    (other / "config.json").write_text(json.dumps(document))
    folders = [two_runs[0], other, two_runs[1]]
    runs = [read_run_record(folder, read_run_config(folder), name=folder.name) for folder in folders]
    groups = grouped(runs)
    assert [[run.name for run in members] for members in groups] == [["finished", "other"], ["faster"]]
    assert [group_name(members) for members in groups] == ["ossl (2 runs)", "faster"]
