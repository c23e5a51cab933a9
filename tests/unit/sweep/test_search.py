"""Sweeps of a few short runs: what is tried, what is chosen, what an interruption leaves."""

import csv
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxo.config import from_json
from auxo.errors import CheckpointError, ConfigError, SelectionError
from auxo.sweep import ValidationScore, check_contents, choose, contents_of, make_trials, read_sweep, write_files
from auxo.sweep.folder import write_contents

LR = "method.optimizer.lr=log:1e-4,0.3"
SCORES = st.builds(
    lambda right, nll: ValidationScore("val", "semantic", 40, right / 40, nll), st.integers(0, 40), st.floats(0, 50)
)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def validation(folder):
    """Accuracy and likelihood on the validation images, by the records alone."""
    (row,) = [
        row
        for row in rows_of(folder)
        if row["kind"] == "result" and row["split"] == "val" and row["head"] == "semantic"
    ]
    return row["accuracy"], row["nll"]


def files_of(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@given(st.lists(SCORES, min_size=2, max_size=6), st.sampled_from(["accuracy", "nll"]))
def test_choose__any_scores__is_what_the_sampler_is_told_is_best(scores, objective):
    chosen = choose(dict(enumerate(scores)), objective)
    values = [score.value(objective) for score in scores]
    assert values[chosen] == (max(values) if objective == "accuracy" else min(values))
    if objective == "accuracy":
        assert scores[chosen].accuracy == max(score.accuracy for score in scores)


def test_choose__equal_accuracy__the_likelier_then_the_earlier():
    def score(right, nll):
        return ValidationScore("val", "semantic", 500, right / 500, nll)

    assert choose({0: score(400, 0.1), 1: score(401, 9.0), 2: score(401, 0.5), 3: score(401, 0.5)}, "accuracy") == 2
    assert choose({0: score(400, 0.1), 1: score(401, 0.1), 2: score(401, 0.5)}, "nll") == 1
    assert score(401, 9.0).value("accuracy") > score(400, 0.0).value("accuracy")
    assert math.isclose(score(400, 0.0).value("accuracy"), 0.8 + 1 / 1000)


@pytest.mark.parametrize("split", ["test", "train", "ood/usps"])
def test_validation_score__of_another_split__refused(split):
    with pytest.raises(SelectionError, match="on val to choose"):
        ValidationScore(split, "semantic", 500, 1.0, 0.0)


def test_make_trials__three__the_best_by_the_records_is_chosen(make_space, open_sweep, here, tmp_path):
    space = make_space(LR)
    folder = tmp_path / "sweep"
    study = open_sweep(space)
    told = []
    make_trials(study, folder, num_trials=3, executor=here, on_outcome=told.append)
    assert [outcome.status for outcome in told] == ["finished"] * 3
    sweep = read_sweep(study, folder)
    found = {number: validation(folder / f"trial-{number:04d}") for number in range(3)}
    best = min(found, key=lambda number: (-found[number][0], found[number][1], number))
    assert sweep.best.number == best
    assert sweep.trials[0].values["method.optimizer.lr"] == 0.01, "the recipe's own comes first"

    md, table, config = write_files(sweep)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(float(row["val_accuracy"]), float(row["val_nll"])) for row in rows] == [found[n] for n in range(3)]
    assert [row["state"] for row in rows] == ["finished"] * 3
    ends = [rows_of(folder / f"trial-{n:04d}")[-1] for n in range(3)]
    assert [float(row["flops"]) for row in rows] == [end["flops"] for end in ends]
    chosen = from_json(config.read_text(), origin="best.json")
    assert config.read_text() == (folder / f"trial-{best:04d}" / "config.json").read_text()
    assert chosen.stages[0].method.optimizer.lr == float(rows[best]["method.optimizer.lr"])
    (test,) = [
        row for row in rows_of(folder / f"trial-{best:04d}") if row["kind"] == "result" and row["split"] == "test"
    ]
    assert f"| test | {test['n']} | {100 * test['accuracy']:.1f} [" in md.read_text()
    assert f"| trial-{best:04d} |" in md.read_text().partition("| ---")[2].splitlines()[1]

    # Test rows that say the opposite change nothing.
    for number in found:
        path = folder / f"trial-{number:04d}" / "records.jsonl"
        turned = [
            {**row, "accuracy": 1 - row["accuracy"]} if row.get("split") == "test" else row
            for row in rows_of(path.parent)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in turned))
    assert read_sweep(study, folder).best.number == best


def test_make_trials__interrupted_with_one_running__goes_on_with_the_same_values(
    make_space, open_sweep, here, tmp_path
):
    space, folder = make_space(LR, "batch-size=choice:16,32"), tmp_path / "sweep"
    study = open_sweep(space)
    make_trials(study, folder, num_trials=1, executor=here)
    begun = study.ask()
    before = files_of(folder / "trial-0000")
    journal = folder / "study.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code":6,"half')  # what a kill may leave
    (folder / "study.journal.lock").symlink_to("study.journal")

    again = open_sweep(space)
    assert again.trials[1].values == begun.values
    make_trials(again, folder, num_trials=3, executor=here)
    assert [trial.state for trial in again.trials] == ["finished"] * 3
    assert again.trials[1].values == begun.values
    assert files_of(folder / "trial-0000") == before
    assert (
        json.loads((folder / "trial-0001/config.json").read_text())["run"]["stages"][0]["batch_size"]
        == begun.values["batch-size"]
    )
    done = files_of(folder)
    make_trials(again, folder, num_trials=3, executor=here)
    assert files_of(folder) == done

    whole = open_sweep(space, folder="whole")
    make_trials(whole, tmp_path / "whole", num_trials=3, executor=here)
    assert [trial.values for trial in whole.trials] == [trial.values for trial in again.trials]


def test_make_trials__finished_before_it_was_told__is_told_and_not_made_again(make_space, open_sweep, here, tmp_path):
    space, folder = make_space(LR), tmp_path / "sweep"
    study = open_sweep(space)
    make_trials(study, folder, num_trials=1, executor=here)
    lines = (folder / "study.journal").read_text().splitlines(keepends=True)
    (folder / "study.journal").write_text("".join(lines[:-1]))
    before = files_of(folder / "trial-0000")
    again = open_sweep(space)
    assert [trial.state for trial in again.trials] == ["running"]
    told = []
    make_trials(again, folder, num_trials=1, executor=here, on_outcome=told.append)
    assert [outcome.status for outcome in told] == ["reused"]
    assert files_of(folder / "trial-0000") == before
    assert [trial.state for trial in again.trials] == ["finished"]


def test_make_trials__values_that_diverge_or_do_not_go_together__fail_and_the_others_go_on(
    make_space, open_sweep, here, tmp_path
):
    words = ("method.optimizer.lr=choice:0.01,1e30", "method.optimizer.minimum-lr=choice:0,0.02")
    space, folder = make_space(*words), tmp_path / "sweep"
    study = open_sweep(space, strategy="grid")
    make_trials(study, folder, num_trials=9, executor=here)
    sweep = read_sweep(study, folder)
    assert [trial.state for trial in sweep.trials] == ["finished", "failed", "failed", "failed"]
    assert "optimizer.minimum-lr in [0, 0.01], the lr, got 0.02" in sweep.trials[1].error
    assert "finite" in sweep.trials[2].error
    assert not (folder / "trial-0001").exists()
    report = write_files(sweep)[0].read_text()
    assert report.count("* trial-000") == 3
    assert "1 of 4 trials finished" in report
    again = open_sweep(space, strategy="grid")
    make_trials(again, folder, num_trials=9, executor=here)
    assert again.trials == sweep.trials


@pytest.mark.parametrize("strategy", ["tpe", "random"])
def test_ask__same_seed__same_values_and_none_twice(make_space, open_sweep, strategy):
    space = make_space(LR, "epochs=int:1,4")

    def values(folder, seed):
        study = open_sweep(space, strategy=strategy, seed=seed, folder=folder)
        for number in range(14):
            study = open_sweep(space, strategy=strategy, seed=seed, folder=folder) if number == 5 else study
            trial = study.ask()
            study.tell(trial, ValidationScore("val", "semantic", 40, trial.values["epochs"] / 40, 1.0))
        return [trial.values for trial in study.trials], study

    first, study = values("first", 0)
    assert values("second", 0)[0] == first
    assert values("third", 1)[0][1:] != first[1:]
    assert len({tuple(each.values()) for each in first}) == 14
    assert max(study.importances(), key=study.importances().get) == "epochs"


@pytest.mark.parametrize("strategy", ["tpe", "random", "grid"])
def test_ask__few_combinations__ends_when_all_are_tried(make_space, open_sweep, strategy):
    study = open_sweep(make_space("epochs=int:1,2", "drop-last=choice:true,false"), strategy=strategy)
    asked = [study.ask() for _ in range(5)]
    assert asked[4] is None
    assert len({tuple(trial.values.values()) for trial in asked[:4]}) == 4


def test_open_study__file_of_something_else__refused(make_space, open_sweep, tmp_path):
    open_sweep(make_space(LR))
    (tmp_path / "sweep" / "study.journal").write_text("no journal\n")
    with pytest.raises(CheckpointError, match="a journal of Optuna's"):
        open_sweep(make_space(LR))


def test_check_contents__another_sweep_or_other_files__refused(make_space, tmp_path):
    space, folder = make_space(LR), tmp_path / "sweep"
    contents = contents_of(space, recipe="supervised", strategy="tpe", objective="accuracy")
    check_contents(folder, contents)
    write_contents(folder, contents)
    check_contents(folder, contents)
    wider = make_space("method.optimizer.lr=log:1e-5,0.3")
    other = contents_of(wider, recipe="supervised", strategy="random", objective="accuracy")
    with pytest.raises(ConfigError, match="another search space and sampler"):
        check_contents(folder, other)
    (folder / "sweep.json").write_text("{}")
    with pytest.raises(CheckpointError, match="description"):
        check_contents(folder, contents)
    (folder / "sweep.json").unlink()
    (folder / "notes.txt").touch()
    with pytest.raises(ConfigError, match="with other files"):
        check_contents(folder, contents)
