"""A run is held against its own config: what was changed in it is found and named, and the run stays as it is."""

import hashlib
import json
import os
import shutil
import signal

import pytest
import torch

from auxo.cli.train import read_run_config
from auxo.errors import InterruptedRunError
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.runs.document import config_digest, to_json
from auxo.runtime import open_runtime
from auxo.training import SilentObserver, train_run

OPTIONS = (
    *("--epochs", "4", "--batch-size", "32", "--selection.keep", "best", "--data.augment", "crop_flip"),
    *("--training.no-tensorboard", "--training.log-every", "3", "--training.keep-every", "1", "--runtime.threads", "1"),
)


@pytest.fixture(scope="module")
def made(shapes_folder, tmp_path_factory):
    """Make a run of four epochs, each of whose checkpoints stays, under a seed."""
    from auxo.cli import main

    def make(seed, *more):
        out = tmp_path_factory.mktemp("verified") / "run"
        words = ["train", "supervised", "--data.train", shapes_folder, *OPTIONS, "--seed", seed, *more, "--out", out]
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        assert stop.value.code == 0
        return out

    return make


@pytest.fixture(scope="module")
def whole(made):
    return made(0)


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the run to be changed."""
    return shutil.copytree(whole, tmp_path / "run")


def steps_of(run):
    return [int(path.stem[-8:]) for path in sorted((run / "checkpoints").glob("train-0*.safetensors"))]


def checkpoint(run, epoch):
    """The checkpoint at the end of an epoch, from 1."""
    return sorted((run / "checkpoints").glob("train-0*.safetensors"))[epoch - 1]


def forge(path, change):
    """Change a file of tensors and write a digest that fits, as somebody who knows the format can."""
    tree, header = read_tensor_file(path)
    change(tree, header)
    write_tensor_file(path, tree, header)


def flip_bit(tree, _header):
    """Change the last bit of one weight."""
    bits = next(tensor for tensor in tree["weights"].values() if tensor.ndim > 1).view(torch.int32).view(-1)
    bits[7] ^= 1


def change_rows(run, change):
    path = run / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def change_config(run, change):
    path = run / "config.json"
    document = json.loads(path.read_text())
    change(document["run"])
    path.write_text(json.dumps(document))


def digest_folder(folder):
    """Bytes and times of all that is in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.is_file() and hashlib.sha256(path.read_bytes()).digest(),
        )
        for path in sorted([folder, *folder.rglob("*")])
    }


def found(answer, status):
    """The lines of a status."""
    return [line for line in answer.out.splitlines() if line.startswith(f"{status}: ")]


def test_keep_every__one_epoch__leaves_all_checkpoints(whole):
    assert len(steps_of(whole)) == 4


def test_verify__whole_run__is_equal_to_the_bit_and_untouched(auxo, whole, tmp_path):
    before = digest_folder(whole)
    answer = auxo("verify", whole, "--share", "1", "--out", tmp_path / "found.json")
    assert answer.code == 0, answer.out
    assert digest_folder(whole) == before
    said = json.loads((tmp_path / "found.json").read_text())
    assert said["verdict"] == "equal"
    assert said["share"]["segments"] == said["share"]["of_segments"] == 4
    assert said["share"]["steps"] == steps_of(whole)[-1]
    subjects = [each["subject"] for each in said["findings"] if each["status"] == "equal"]
    assert [subject for subject in subjects if subject.startswith("segment")] == [
        f"segment {number}, train steps {first + 1} to {last}"
        for number, (first, last) in enumerate(zip([0, *steps_of(whole)], steps_of(whole), strict=False), start=1)
    ]
    assert {"files", "records.jsonl", "model.safetensors", "report.md", "data", "choice of train", "results"} <= {
        *subjects
    }
    assert not list(tmp_path.parent.glob("auxo-verify-*"))


def test_verify__default__draws_one_segment_by_a_seed_that_repeats_it(auxo, whole):
    first = auxo("verify", whole, "--no-evaluate")
    assert first.code == 0
    assert "1 of 4 segments" in first.out
    seed = first.out.partition("--seed ")[2].split()[0]
    again = auxo("verify", whole, "--no-evaluate", "--seed", seed)
    assert again.out == first.out


def test_verify__one_bit_of_a_checkpoint__is_named_by_both_segments_beside_it(auxo, run):
    forge(checkpoint(run, 2), flip_bit)
    answer = auxo("verify", run, "--segments", "2", "3", "4", "--no-evaluate")
    assert answer.code == 1
    before, after = found(answer, "DIFFERS")
    assert before.startswith("DIFFERS: segment 2")
    assert "1 of" in before
    assert "weights.backbone" in before
    assert after.startswith("DIFFERS: segment 3")
    assert "segment 4" in "".join(found(answer, "equal"))


def test_verify__one_bit_of_a_file__is_damaged_and_not_replayed(auxo, run):
    path = checkpoint(run, 2)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    answer = auxo("verify", run, "--share", "1", "--no-evaluate")
    assert answer.code == 1
    (line,) = found(answer, "DIFFERS")
    assert f"checkpoints/{path.name}: expected unchanged numbers" in line
    assert "2 of 2 segments" in answer.out


def test_verify__optimiser_state_changed__is_found(auxo, run):
    def change(tree, _header):
        state = tree["optimizers"]["main"]["state"]
        next(iter(state[0].values())).view(-1)[0] += 1

    forge(checkpoint(run, 1), change)
    answer = auxo("verify", run, "--segments", "1", "--no-evaluate")
    assert answer.code == 1
    assert "optimizers.main.state.0" in found(answer, "DIFFERS")[0]


def test_verify__row_of_losses_changed__is_named_with_its_line(auxo, run):
    def change(rows):
        number = next(i for i, row in enumerate(rows) if row["kind"] == "losses" and row["step"] > steps_of(run)[0])
        rows[number]["losses"]["classification_loss"] *= 1.5
        change.line = number + 1
        return rows

    change_rows(run, change)
    answer = auxo("verify", run, "--segments", "2", "--no-evaluate")
    assert answer.code == 1
    (line,) = found(answer, "DIFFERS")
    assert f"line {change.line}, losses of step" in line
    assert "losses.classification_loss is" in line


@pytest.mark.parametrize(
    ("kind", "says"),
    [("evaluation", "choice of train"), ("result", "report.md"), ("end", "records.jsonl: the last row")],
)
def test_verify__other_rows_changed__are_found_without_a_replay(auxo, run, kind, says):
    def change(rows):
        row = next(row for row in rows if row["kind"] == kind)
        if kind == "end":
            row["images"] += 1
        else:
            row["measures"]["accuracy"]["value"] = 1.5
        return rows

    change_rows(run, change)
    answer = auxo("verify", run, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert says in "".join(found(answer, "DIFFERS"))


def test_verify__result_and_table_changed__is_found_by_measuring(auxo, run):
    def change(rows):
        row = next(row for row in rows if row["kind"] == "result" and row["split"] == "test")
        row["measures"]["nll"]["value"] /= 2
        return rows

    change_rows(run, change)
    (run / "report.md").unlink()
    assert auxo("verify", run, "--share", "0", "--no-evaluate").code == 0
    answer = auxo("verify", run, "--share", "0")
    assert answer.code == 1
    assert "measures.nll.value is" in found(answer, "DIFFERS")[0]


def test_verify__row_removed__is_found_by_the_counts(auxo, run):
    change_rows(run, lambda rows: rows[:1] + rows[2:])
    answer = auxo("verify", run, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert "rows up to step" in found(answer, "DIFFERS")[0]


def test_verify__config_changed__is_named_and_nothing_is_replayed(auxo, run):
    change_config(run, lambda config: config["stages"][0].update(batch_size=16))
    answer = auxo("verify", run)
    assert answer.code == 1
    assert any("config.json: it, or a file that it names, was changed" in line for line in found(answer, "DIFFERS"))
    assert "nothing was trained again" in answer.out


def test_verify__how_often_to_log_changed__is_found_by_a_replay(auxo, run):
    change_config(run, lambda config: config["training"].update(log_every=2))
    assert auxo("verify", run, "--share", "0", "--no-evaluate").code == 0
    answer = auxo("verify", run, "--segments", "1", "--no-evaluate")
    assert answer.code == 1
    assert "records.jsonl: line" in found(answer, "DIFFERS")[0]


def test_verify__checkpoint_of_another_seed__is_named_and_so_is_one_that_lies_about_it(auxo, run, made):
    other, path = made(1), checkpoint(run, 3)
    shutil.copy(checkpoint(other, 3), path)
    answer = auxo("verify", run, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert f"{path.name}: of a run with another config or seed" in found(answer, "DIFFERS")[0]

    own = read_tensor_file(checkpoint(run, 2)).header
    forge(path, lambda _tree, header: header.update(run=own["run"], data=own["data"]))
    assert "of another seed" in found(auxo("verify", run, "--share", "0", "--no-evaluate"), "DIFFERS")[0]

    forge(path, lambda _tree, header: header.update(seed=own["seed"]))
    assert auxo("verify", run, "--share", "0", "--no-evaluate").code == 0
    answer = auxo("verify", run, "--segments", "3", "--no-evaluate")
    assert answer.code == 1
    assert path.name in found(answer, "DIFFERS")[0]


@pytest.mark.parametrize("name", ["model", "checkpoints/train-final", "checkpoints/train-best"])
def test_verify__final_weights_changed__are_named(auxo, run, name):
    forge(run / f"{name}.safetensors", flip_bit)
    answer = auxo("verify", run, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert any(f"{name}.safetensors: not the weights of" in line for line in found(answer, "DIFFERS"))


def test_verify__export_of_other_weights__is_named(auxo, run):
    assert auxo("export", run, "--format", "safetensors").code == 0
    assert "export/model.safetensors" in "".join(found(auxo("verify", run, "--share", "0", "--no-evaluate"), "equal"))
    forge(run / "export" / "model.safetensors", flip_bit)
    answer = auxo("verify", run, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert "export/model.safetensors: 1 of" in found(answer, "DIFFERS")[0]


def say_made_by(run, **environment):
    """Let the files of a run say that they were computed elsewhere."""

    def change(tree, header):
        for holder in (tree, header):
            for each in holder.get("progress", {}).get("environments", ()):
                each.update(environment)

    for path in (run / "checkpoints").glob("*.safetensors"):
        forge(path, change)


def test_verify__made_by_another_torch__equal_bits_count_and_others_are_measured(auxo, run):
    say_made_by(run, torch="2.6.0")
    answer = auxo("verify", run, "--segments", "2")
    assert answer.code == 0
    assert f"although torch was 2.6.0 and is {torch.__version__} here" in answer.out

    def nudge(tree, _header):
        for tensor in tree["weights"].values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 1e-6)

    forge(checkpoint(run, 2), nudge)
    answer = auxo("verify", run, "--segments", "2", "--no-evaluate")
    assert answer.code == 4
    (line,) = found(answer, "not decided")
    assert "torch was 2.6.0" in line
    assert "at most by" in line
    share = float(line.partition("the weights end ")[2].split()[0])
    assert 0 < share < 1


def test_verify__threads_of_the_run__are_used(auxo, run):
    say_made_by(run, threads=1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        answer = auxo("verify", run, "--segments", "2", "--no-evaluate")
    finally:
        torch.set_num_threads(threads)
    assert answer.code == 0
    assert "although" not in answer.out


def test_verify__run_of_an_earlier_version__says_that_it_does_not_say_where(auxo, run):
    def change(tree, header):
        for holder in (tree, header):
            holder.get("progress", {}).pop("environments", None)

    for path in (run / "checkpoints").glob("*.safetensors"):
        forge(path, change)
    answer = auxo("verify", run, "--segments", "4", "--no-evaluate")
    assert answer.code == 0
    assert "although the run does not say where" in answer.out


def test_verify__images_not_here_or_others__cannot_be_decided(auxo, made, shapes_folder, tmp_path):
    own = shutil.copytree(shapes_folder, tmp_path / "own")
    run = made(0, "--data.train", own, "--epochs", "1")
    victim = next(own.rglob("*.png"))
    content = victim.read_bytes()
    shutil.copy(next(path for path in own.rglob("*.png") if path != victim), victim)
    changed = auxo("verify", run)
    victim.write_bytes(content)
    assert auxo("verify", run).code == 0
    own.rename(tmp_path / "moved")
    moved = auxo("verify", run)
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


def test_verify__interrupted_out_of_turn_and_gone_on_with__is_equal(auxo, whole, tmp_path):
    config, out, step = read_run_config(whole), tmp_path / "run", steps_of(whole)[0] + 2
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
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


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
def test_verify__wrong_options__are_refused_in_one_line(auxo, whole, words, says):
    answer = auxo("verify", whole, *words)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1


def test_verify__stranger_names_a_python_file__is_not_run(auxo, run, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text("import pathlib; pathlib.Path('owned').touch()\n")
    change_config(run, lambda config: config["backbone"].update(name=f"{evil}:Net"))
    answer = auxo("verify", run)
    assert answer.code == 2
    assert "your leave to run what is outside auxo" in answer.err


def test_verify__every_hub_set_of_a_stranger__is_asked_for_leave(auxo, run):
    change_config(run, lambda config: config["data"].update(train="hf://stranger/beacon"))
    digest = config_digest(read_run_config(run))
    for path in [*(run / "checkpoints").glob("*.safetensors"), run / "model.safetensors"]:
        forge(path, lambda _tree, header: header.update(run=digest))
    answer = auxo("verify", run)
    assert answer.code == 4
    assert "your leave to contact the Hugging Face hub for hf://stranger/beacon" in answer.out
