"""A run is verified elsewhere, after an interruption, and of a stranger; options that make no sense are refused."""

import os
import shutil
import signal

import pytest
import torch

from auxo.cli.train import read_run_config
from auxo.errors import InterruptedRunError
from auxo.runs.document import config_digest, to_json
from auxo.runtime import open_runtime
from auxo.training import SilentObserver, train_run

from .tampering import change_config, change_rows, checkpoint, forge, found, steps_of


def say_made_by(tampered, **environment):
    """Let the files of a run say that they were computed elsewhere."""

    def change(tree, header):
        for holder in (tree, header):
            for each in holder.get("progress", {}).get("environments", ()):
                each.update(environment)

    for path in (tampered / "checkpoints").glob("*.safetensors"):
        forge(path, change)


def test_verify__made_by_another_torch__equal_bits_count_and_others_are_measured(auxo, tampered):
    say_made_by(tampered, torch="2.6.0")
    answer = auxo("verify", tampered, "--segments", "2")
    assert answer.code == 0
    assert f"although torch was 2.6.0 and is {torch.__version__} here" in answer.out

    def nudge(tree, _header):
        for tensor in tree["weights"].values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 1e-6)

    forge(checkpoint(tampered, 2), nudge)
    answer = auxo("verify", tampered, "--segments", "2", "--no-evaluate")
    assert answer.code == 4
    (line,) = found(answer, "not decided")
    assert "torch was 2.6.0" in line
    assert "at most by" in line
    share = float(line.partition("the weights end ")[2].split()[0])
    assert 0 < share < 1


def test_verify__set_that_only_judges_has_more_images_now__is_not_decided(auxo, tampered):
    def change(rows):
        for row in rows:
            if row["kind"] == "result" and row["split"] == "test":
                row["n"] += 1
        return rows

    change_rows(tampered, change)
    (tampered / "report.md").unlink()
    answer = auxo("verify", tampered, "--share", "0")
    assert answer.code == 4
    assert "results of test: it has" in found(answer, "not decided")[0]
    assert "equal: results: " in answer.out


def test_verify__threads_of_the_run__are_used(auxo, tampered):
    say_made_by(tampered, threads=1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        answer = auxo("verify", tampered, "--segments", "2", "--no-evaluate")
    finally:
        torch.set_num_threads(threads)
    assert answer.code == 0
    assert "although" not in answer.out


def test_verify__run_of_an_earlier_version__says_that_it_does_not_say_where(auxo, tampered):
    def change(tree, header):
        for holder in (tree, header):
            holder.get("progress", {}).pop("environments", None)

    for path in (tampered / "checkpoints").glob("*.safetensors"):
        forge(path, change)
    answer = auxo("verify", tampered, "--segments", "4", "--no-evaluate")
    assert answer.code == 0
    assert "although the run does not say where" in answer.out


def test_verify__images_not_here_or_others__cannot_be_decided(auxo, make_checkable, shapes_folder, tmp_path):
    own = shutil.copytree(shapes_folder, tmp_path / "own")
    tampered = make_checkable(0, "--data.train", own, "--epochs", "1")
    victim = next(own.rglob("*.png"))
    content = victim.read_bytes()
    shutil.copy(next(path for path in own.rglob("*.png") if path != victim), victim)
    changed = auxo("verify", tampered)
    victim.write_bytes(content)
    assert auxo("verify", tampered).code == 0
    own.rename(tmp_path / "moved")
    moved = auxo("verify", tampered)
    assert (changed.code, moved.code) == (4, 4)
    assert "data: others than recorded" in changed.out or "data: cannot be read here" in changed.out
    assert "data: cannot be read here, so nothing is replayed" in moved.out
    assert "equal: files: " in moved.out


class Interrupter(SilentObserver):
    """Sends this process SIGTERM after a step."""

    def __init__(self, step):
        self.step = step

    def step_done(self, step, *, images_per_second, losses):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_verify__interrupted_out_of_turn_and_gone_on_with__is_equal(auxo, checkable, tmp_path):
    config, out, step = read_run_config(checkable), tmp_path / "run", steps_of(checkable)[0] + 2
    with open_runtime(config.runtime) as runtime, pytest.raises(InterruptedRunError, match=f"at step {step + 1};"):
        train_run(
            config,
            document=to_json(config),
            digest=config_digest(config),
            folder=out,
            runtime=runtime,
            observer=Interrupter(step),
        )
    assert (step + 1) % 3, "a step without a row of its own"
    unfinished = auxo("verify", out, "--share", "1")
    assert unfinished.code == 0, unfinished.out
    assert "2 of 2 segments" in unfinished.out
    assert auxo("train", "--resume", out).code == 0
    assert step + 1 not in steps_of(out)
    answer = auxo("verify", out, "--segments", "2", "--no-evaluate")
    assert answer.code == 0, answer.out
    assert (out / "model.safetensors").read_bytes() == (checkable / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--segments", "9"], "expected --segments of 1 to 4, got 9"),
        (["--share", "1.5"], "share in [0, 1], got 1.5"),
        (["--seed", "-1"], "seed >= 0, got -1"),
        (["--out", "no/such/folder.json"], "no folder no/such"),
        (["--sharee", "1"], "did you mean --share"),
    ],
)
def test_verify__wrong_options__are_refused_in_one_line(auxo, checkable, words, says):
    answer = auxo("verify", checkable, *words)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1


def test_verify__stranger_names_a_python_file__is_not_run(auxo, tampered, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text("import pathlib; pathlib.Path('owned').touch()\n")
    change_config(tampered, lambda config: config["backbone"].update(name=f"{evil}:Net"))
    answer = auxo("verify", tampered)
    assert answer.code == 2
    assert "your leave to run what is outside auxo" in answer.err


def test_verify__every_hub_set_of_a_stranger__is_asked_for_leave(auxo, tampered):
    change_config(tampered, lambda config: config["data"].update(train="hf://stranger/beacon"))
    digest = config_digest(read_run_config(tampered))
    for path in [*(tampered / "checkpoints").glob("*.safetensors"), tampered / "model.safetensors"]:
        forge(path, lambda _tree, header: header.update(run=digest))
    answer = auxo("verify", tampered)
    assert answer.code == 4
    assert "your leave to contact the Hugging Face hub for hf://stranger/beacon" in answer.out
