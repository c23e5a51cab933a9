"""A run is held against its own config: what was changed in it is found and named, and the run stays as it is."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from auxo.cli.train import read_run_config
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.runs.document import config_digest, to_json

from .tampering import change_config, change_rows, checkpoint, flip_bit, forge, found, steps_of


def digest_folder(folder):
    """Bytes and times of all that is in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.is_file() and hashlib.sha256(path.read_bytes()).digest(),
        )
        for path in sorted([folder, *folder.rglob("*")])
    }


def test_keep_every__one_epoch__leaves_all_checkpoints(checkable):
    assert len(steps_of(checkable)) == 4


def test_verify__whole_run__is_equal_to_the_bit_and_untouched(auxo, checkable, tmp_path):
    before = digest_folder(checkable)
    answer = auxo("verify", checkable, "--share", "1", "--out", tmp_path / "found.json")
    assert answer.code == 0, answer.out
    assert digest_folder(checkable) == before
    said = json.loads((tmp_path / "found.json").read_text())
    assert said["verdict"] == "equal"
    assert said["share"]["segments"] == said["share"]["of_segments"] == 4
    assert said["share"]["steps"] == steps_of(checkable)[-1]
    subjects = [each["subject"] for each in said["findings"] if each["status"] == "equal"]
    assert [subject for subject in subjects if subject.startswith("segment")] == [
        f"segment {number}, train steps {first + 1} to {last}"
        for number, (first, last) in enumerate(
            zip([0, *steps_of(checkable)], steps_of(checkable), strict=False), start=1
        )
    ]
    assert {"files", "records.jsonl", "model.safetensors", "report.md", "data", "choice of train", "results"} <= {
        *subjects
    }
    assert not list(tmp_path.parent.glob("auxo-verify-*"))


@pytest.mark.parametrize(
    "tuning",
    [
        ("--tuning.patience", "1", "--method.optimizer.lr", "1e-30", "--tuning.ema-decay", "0.9"),
        ("--tuning.freeze-epochs", "1", "--tuning.accumulate", "3", "--tuning.ema-decay", "0.9"),
    ],
    ids=["stopped-early", "frozen-at-first"],
)
def test_verify__tuned_run__every_segment_is_equal(auxo, make_checkable, tuning):
    run = make_checkable(0, *tuning)
    answer = auxo("verify", run, "--share", "1")
    assert answer.code == 0, answer.out


def test_verify__replay_that_ends_before_the_run_did__differs(auxo, make_checkable):
    """A run whose patience was made smaller afterwards, with all files signed anew."""
    run = make_checkable(0, "--tuning.patience", "3", "--method.optimizer.lr", "1e-30")
    config = read_run_config(run)
    stage = config.stages[0]
    impatient = replace(config, stages=(replace(stage, tuning=replace(stage.tuning, patience=1)),))
    for path in [*(run / "checkpoints").iterdir(), run / "model.safetensors"]:
        tree, header = read_tensor_file(path)
        write_tensor_file(path, tree, {**header, "run": config_digest(impatient)})
    (run / "config.json").write_text(to_json(impatient))
    answer = auxo("verify", run, "--segments", "3", "--no-evaluate")
    assert answer.code == 1
    assert any("segment 3" in line and "the stage ends early" in line for line in found(answer, "DIFFERS"))


def test_verify__default__draws_one_segment_by_a_seed_that_repeats_it(auxo, checkable):
    first = auxo("verify", checkable, "--no-evaluate")
    assert first.code == 0
    assert "1 of 4 segments" in first.out
    seed = first.out.partition("--seed ")[2].split()[0]
    again = auxo("verify", checkable, "--no-evaluate", "--seed", seed)
    assert again.out == first.out


def test_verify__one_bit_of_a_checkpoint__is_named_by_both_segments_beside_it(auxo, tampered):
    forge(checkpoint(tampered, 2), flip_bit)
    answer = auxo("verify", tampered, "--segments", "2", "3", "4", "--no-evaluate")
    assert answer.code == 1
    before, after = found(answer, "DIFFERS")
    assert before.startswith("DIFFERS: segment 2")
    assert "1 of" in before
    assert "weights.backbone" in before
    assert after.startswith("DIFFERS: segment 3")
    assert "segment 4" in "".join(found(answer, "equal"))


def test_verify__one_bit_of_a_file__is_damaged_and_not_replayed(auxo, tampered):
    path = checkpoint(tampered, 2)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    answer = auxo("verify", tampered, "--share", "1", "--no-evaluate")
    assert answer.code == 1
    (line,) = found(answer, "DIFFERS")
    assert f"checkpoints/{path.name}: expected unchanged numbers" in line
    assert "2 of 2 segments" in answer.out


def test_verify__optimiser_state_changed__is_found(auxo, tampered):
    def change(tree, _header):
        state = tree["optimizers"]["main"]["state"]
        next(iter(state[0].values())).view(-1)[0] += 1

    forge(checkpoint(tampered, 1), change)
    answer = auxo("verify", tampered, "--segments", "1", "--no-evaluate")
    assert answer.code == 1
    assert "optimizers.main.state.0" in found(answer, "DIFFERS")[0]


def test_verify__row_of_losses_changed__is_named_with_its_line(auxo, tampered):
    def change(rows):
        number = next(
            i for i, row in enumerate(rows) if row["kind"] == "losses" and row["step"] > steps_of(tampered)[0]
        )
        rows[number]["losses"]["classification_loss"] *= 1.5
        change.line = number + 1
        return rows

    change_rows(tampered, change)
    answer = auxo("verify", tampered, "--segments", "2", "--no-evaluate")
    assert answer.code == 1
    (line,) = found(answer, "DIFFERS")
    assert f"line {change.line}, losses of step" in line
    assert "losses.classification_loss is" in line


@pytest.mark.parametrize(
    ("kind", "says"),
    [("evaluation", "choice of train"), ("result", "report.md"), ("end", "records.jsonl: the last row")],
)
def test_verify__other_rows_changed__are_found_without_a_replay(auxo, tampered, kind, says):
    def change(rows):
        row = next(row for row in rows if row["kind"] == kind)
        if kind == "end":
            row["images"] += 1
        else:
            row["measures"]["accuracy"]["value"] = 1.5
        return rows

    change_rows(tampered, change)
    answer = auxo("verify", tampered, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert says in "".join(found(answer, "DIFFERS"))


def test_verify__result_and_table_changed__is_found_by_measuring(auxo, tampered):
    def change(rows):
        row = next(row for row in rows if row["kind"] == "result" and row["split"] == "test")
        row["measures"]["nll"]["value"] /= 2
        return rows

    change_rows(tampered, change)
    (tampered / "report.md").unlink()
    assert auxo("verify", tampered, "--share", "0", "--no-evaluate").code == 0
    answer = auxo("verify", tampered, "--share", "0")
    assert answer.code == 1
    assert "measures.nll.value is" in found(answer, "DIFFERS")[0]


def test_verify__row_removed__is_found_by_the_counts(auxo, tampered):
    change_rows(tampered, lambda rows: rows[:1] + rows[2:])
    answer = auxo("verify", tampered, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert "rows up to step" in found(answer, "DIFFERS")[0]


def test_verify__config_changed__is_named_and_nothing_is_replayed(auxo, tampered):
    change_config(tampered, lambda config: config["stages"][0].update(batch_size=16))
    answer = auxo("verify", tampered)
    assert answer.code == 1
    assert any("config.json: it, or a file that it names, was changed" in line for line in found(answer, "DIFFERS"))
    assert "nothing was trained again" in answer.out


def test_verify__how_often_to_log_changed__is_found_by_a_replay(auxo, tampered):
    change_config(tampered, lambda config: config["training"].update(log_every=2))
    assert auxo("verify", tampered, "--share", "0", "--no-evaluate").code == 0
    answer = auxo("verify", tampered, "--segments", "1", "--no-evaluate")
    assert answer.code == 1
    assert "records.jsonl: line" in found(answer, "DIFFERS")[0]


def test_verify__checkpoint_of_another_seed__is_named_and_so_is_one_that_lies_about_it(auxo, tampered, make_checkable):
    other, path = make_checkable(1), checkpoint(tampered, 3)
    shutil.copy(checkpoint(other, 3), path)
    answer = auxo("verify", tampered, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert f"{path.name}: of a run with another config or seed" in found(answer, "DIFFERS")[0]

    own = read_tensor_file(checkpoint(tampered, 2)).header
    forge(path, lambda _tree, header: header.update(run=own["run"], data=own["data"]))
    assert "of another seed" in found(auxo("verify", tampered, "--share", "0", "--no-evaluate"), "DIFFERS")[0]

    forge(path, lambda _tree, header: header.update(seed=own["seed"]))
    assert auxo("verify", tampered, "--share", "0", "--no-evaluate").code == 0
    answer = auxo("verify", tampered, "--segments", "3", "--no-evaluate")
    assert answer.code == 1
    assert path.name in found(answer, "DIFFERS")[0]


@pytest.mark.parametrize("name", ["model", "checkpoints/train-final", "checkpoints/train-best"])
def test_verify__final_weights_changed__are_named(auxo, tampered, name):
    forge(tampered / f"{name}.safetensors", flip_bit)
    answer = auxo("verify", tampered, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert any(f"{name}.safetensors: not the weights of" in line for line in found(answer, "DIFFERS"))


@pytest.mark.slow  # an export traces the network
def test_verify__export_of_other_weights__is_named(auxo, tampered):
    assert auxo("export", tampered, "--format", "safetensors").code == 0
    assert "export/model.safetensors" in "".join(
        found(auxo("verify", tampered, "--share", "0", "--no-evaluate"), "equal")
    )
    forge(tampered / "export" / "model.safetensors", flip_bit)
    answer = auxo("verify", tampered, "--share", "0", "--no-evaluate")
    assert answer.code == 1
    assert "export/model.safetensors: 1 of" in found(answer, "DIFFERS")[0]
