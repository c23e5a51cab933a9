"""``auxo verify`` of runs that are more than one stage in one process."""

import shutil

import pytest

from auxo.cli.train import read_run_config
from auxo.files.tensor_file import read_tensor_file, write_tensor_file

from .test_two_levels import FILE, QUICK
from .test_two_processes import run_together

STAGES = ("pretrain", "warm-up", "bilevel", "fine-tune")
BISSL = (
    *("--backbone.name", "lenet5", "--data.augment", "crop", "--training.log-every", "2", "--runtime.threads", "1"),
    *("--training.no-tensorboard", "--training.keep-every", "1", "--data.num-labelled", "None"),
    *(word for stage in STAGES for word in (f"--{stage}.batch-size", "32", f"--{stage}.epochs", "2")),
    *("--bilevel.method.pretext-ratio", "1", "--bilevel.method.lower-steps", "2"),
)


def status_of(answer, subject):
    """The statuses of the lines on a subject."""
    return [line.partition(": ")[0] for line in answer.out.splitlines() if line.partition(": ")[2].startswith(subject)]


def test_verify__method_that_prepares_and_learns_at_two_levels__every_segment_is_equal(auxo, shapes_folder, tmp_path):
    out = tmp_path / "run"
    words = ("--epochs", "2", "--training.keep-every", "1", "--training.log-every", "2", "--out", out)
    assert auxo("train", f"{FILE}:recipe", "--data.train", shapes_folder, *QUICK, *words).code == 0
    answer = auxo("verify", out, "--code", FILE, "--share", "1")
    assert answer.code == 0, answer.out
    assert status_of(answer, "segment") == ["equal"] * 2
    assert status_of(answer, "results") == ["equal"]

    prepared = out / "checkpoints" / "train-prepared.safetensors"
    tree, header = read_tensor_file(prepared)
    clusters = tree["targets"]["train"]["cluster"]
    clusters[0] = (clusters[0] + 1) % 3
    write_tensor_file(prepared, tree, header)
    answer = auxo("verify", out, "--code", FILE, "--segments", "1", "--no-evaluate")
    assert answer.code == 1
    assert f"{prepared.name}: 1 of" in answer.out
    assert auxo("verify", out).code == 2, "code of a stranger's is not run unless it is named"


@pytest.mark.slow
def test_verify__four_stages_of_two_levels__every_segment_of_each_is_equal(auxo, shapes_folder, tmp_path):
    out = tmp_path / "run"
    assert auxo("train", "bissl", "--data.train", shapes_folder, *BISSL, "--out", out).code == 0
    answer = auxo("verify", out, "--share", "1")
    assert answer.code == 0, answer.out
    assert status_of(answer, "segment") == ["equal"] * 8
    assert [stage for stage in STAGES if f", {stage} steps" in answer.out] == [*STAGES]

    path = sorted((out / "checkpoints").glob("warm-up-0*.safetensors"))[-1]
    for each in (path, path.with_name("warm-up-final.safetensors")):
        tree, header = read_tensor_file(each)
        tree["weights"]["semantic.weight"].view(-1)[0] += 1  # the head, which the next stage begins with
        write_tensor_file(each, tree, header)
    assert auxo("verify", out, "--share", "0", "--no-evaluate").code == 0, "the files agree: only a replay can tell"
    answer = auxo("verify", out, "--segments", "3", "4", "5", "--no-evaluate")
    assert answer.code == 1
    assert status_of(answer, "segment") == ["equal", "DIFFERS", "DIFFERS"]


@pytest.mark.slow
def test_verify__run_of_two_processes__is_equal_under_two_and_one_is_named(auxo, shapes_folder, tmp_path):
    out, found = tmp_path / "run", tmp_path / "found.json"
    words = ("--epochs", "2", "--batch-size", "32", "--training.no-tensorboard", "--runtime.threads", "1")
    run_together("train", "ossl", "--data.train", shapes_folder, *words, "--device", "cpu", "--out", out)
    run_together("verify", out, "--share", "1", "--out", found)
    assert '"verdict": "equal"' in found.read_text()
    answer = auxo("verify", out, "--share", "1")
    assert answer.code in (0, 4), answer.out
    assert "processes was 2 and is 1 here" in answer.out


def test_verify__run_with_the_default_checkpoints__replays_what_is_between_the_newest(auxo, finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    assert read_run_config(run).training.keep_every == 0
    answer = auxo("verify", run, "--no-evaluate")
    assert answer.code == 0, answer.out
    assert "1 of 1 segments" in answer.out
