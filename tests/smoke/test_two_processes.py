"""What two processes report is what the model that they saved achieves."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from auxo.files.tensor_file import read_tensor_file
from auxo.runs.records import read_records


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def run_together(*words):
    """Run a command in two processes that form a group."""
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "auxo", *map(str, words)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=1500)
        assert process.returncode == 0, errors


@pytest.mark.slow
def test_evaluate__probes__find_what_one_process_finds(auxo, tmp_path, finished_run):
    words = ("evaluate", finished_run, "--probe", "all", "--device", "cpu", "--out")
    assert auxo(*words, tmp_path / "one.jsonl").code == 0
    run_together(*words, tmp_path / "two.jsonl")
    one, two = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("one.jsonl", "two.jsonl")
    )
    assert [row["measures"]["accuracy"] for row in one] == [row["measures"]["accuracy"] for row in two]
    one_nll, two_nll = ([row["measures"]["nll"]["value"] for row in rows] for rows in (one, two))
    assert one_nll == pytest.approx(two_nll, rel=1e-4)


def test_train__batch_norm_of_each_process_alone__reports_what_the_saved_model_achieves(
    auxo, tmp_path, shapes_folder, tiny_options
):
    out = tmp_path / "two"
    network = ("--backbone.name", "resnet8", "--runtime.no-sync-batch-norm", "--device", "cpu")
    run_together("train", "supervised", "--data.train", shapes_folder, *network, *tiny_options, "--out", out)
    assert auxo("evaluate", out, "--device", "cpu").code == 0
    again = [json.loads(line) for line in (out / "evaluation.jsonl").read_text().splitlines()]
    reported = [row for row in read_records(out / "records.jsonl") if row["kind"] == "result"]
    assert [row["split"] for row in reported] == ["val", "test"]
    for ours, theirs in zip(again, reported, strict=True):
        assert ours["measures"]["nll"]["value"] == pytest.approx(theirs["measures"]["nll"]["value"], rel=1e-6)
        assert ours["parts"]["class"] == theirs["parts"]["class"]


@pytest.mark.slow
def test_train__labels_learned_anew__found_by_two_processes_as_by_one(auxo, tmp_path, shapes_folder):
    out, checkpoints = tmp_path / "two", tmp_path / "two" / "checkpoints"
    words = ("--invent.epochs", "1", "--learn.epochs", "1", "--training.no-tensorboard", "--runtime.threads", "1")
    recipe = "auxo.recipes.maxl:relabelled"
    run_together("train", recipe, "--data.train", shapes_folder, *words, "--device", "cpu", "--out", out)
    prepared = checkpoints / "learn-prepared.safetensors"
    found = read_tensor_file(prepared).tree["targets"]["train"]["sub_class"]
    for path in (*checkpoints.glob("learn-*"), out / "model.safetensors"):
        path.unlink()
    assert auxo("train", "--resume", out).code == 0
    assert torch.equal(read_tensor_file(prepared).tree["targets"]["train"]["sub_class"], found)
