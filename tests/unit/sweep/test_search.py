"""Sweeps of a few short runs: what is tried, what is chosen, what an interruption leaves."""

import csv
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxo.errors import CheckpointError, ConfigError, SelectionError
from auxo.runs.document import from_json
from auxo.runs.selection import SelectionRule
from auxo.sweep import (
    ValidationScore,
    check_contents,
    choose,
    contents_of,
    judged_table,
    make_trials,
    read_sweep,
    write_contents,
    write_files,
)
from auxo.tasks import Measure

from ...faults.spoil import check_complaints, complaint_of, spoil_bytes, spoil_value

LR = "method.optimizer.lr=log:1e-4,0.3"
GROUP = "worst_group/background"


def rows_of(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def validation(folder):
    """Accuracy and likelihood on the validation images, by the records alone."""
    (row,) = [
        row
        for row in rows_of(folder)
        if row["kind"] == "result" and row["split"] == "val" and row["head"] == "semantic"
    ]
    return row["measures"]["accuracy"]["value"], row["measures"]["nll"]["value"]


def files_of(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 50)), min_size=2, max_size=6), st.booleans())
def test_choose__any_scores__is_best_by_what_the_sampler_is_told(make_row, pairs, is_by_nll):
    rule = SelectionRule(measure="nll") if is_by_nll else SelectionRule()
    scores = [ValidationScore(rule, make_row(right / 40, nll)) for right, nll in pairs]
    chosen = scores[choose(dict(enumerate(scores)))]
    values = [score.measure.value for score in scores]
    assert chosen.measure.value == (min(values) if is_by_nll else max(values))
    equals = [score for score in scores if score.measure.value == chosen.measure.value]
    assert is_by_nll or chosen.row.measures["nll"].value == min(score.row.measures["nll"].value for score in equals)


def test_choose__equal_measure__the_tie_break_then_the_earlier(make_row):
    def best(rule, *pairs):
        return choose({number: ValidationScore(rule, make_row(*pair)) for number, pair in enumerate(pairs)})

    assert best(SelectionRule(), (0.8, 0.1), (0.82, 9.0), (0.82, 0.5), (0.82, 0.5)) == 2
    assert best(SelectionRule(measure="nll"), (0.8, 0.1), (0.9, 0.1), (0.7, 0.05)) == 2
    assert best(SelectionRule(measure="nll", tie_break="accuracy"), (0.8, 0.1), (0.9, 0.1), (0.7, 0.2)) == 1
    assert best(SelectionRule(tie_break="absent"), (0.8, 0.1), (0.8, 0.05)) == 0


@pytest.mark.parametrize("split", ["test", "train", "ood/usps"])
def test_validation_score__of_another_split__refused(make_row, split):
    with pytest.raises(SelectionError, match="on val to choose"):
        ValidationScore(SelectionRule(), make_row(1.0, 0.0, split=split))


def test_validation_score__measure_that_is_not_there__refused(make_row):
    with pytest.raises(ConfigError, match="a measure of accuracy, nll, got 'auroc'"):
        ValidationScore(SelectionRule(measure="auroc"), make_row(1.0, 0.0))


@pytest.mark.parametrize(
    ("measure", "is_up", "best", "told"),
    [
        ("primary", True, 4, "the highest accuracy, then the lowest NLL, then the earliest"),
        ("nll", False, 1, "the lowest NLL, then the earliest"),
        (GROUP, True, 2, "the highest worst group/background, then the lowest NLL, then the earliest"),
    ],
)
def test_make_trials__by_any_measure__the_best_is_chosen_and_the_journal_has_plain_values(
    make_space, open_sweep, make_row, write_runs, tmp_path, measure, is_up, best, told
):
    """Trials of 1 to 4 epochs: accuracy is best after 4, likelihood after 1, the worst group after 2."""

    def rows_of(config):
        epochs = config.stages[0].epochs
        group = {GROUP: Measure(0.5 - abs(epochs - 2) / 10)}
        val = make_row(0.5 + epochs / 10, epochs / 4, **group)
        return [val, make_row(1 - epochs / 10, 1 / epochs, split="test", **group)]  # the test set says the opposite

    space, rule = make_space("epochs=int:1,4"), SelectionRule(measure=measure)
    study = open_sweep(space, strategy="grid", rule=rule, higher_is_better=is_up)
    make_trials(study, tmp_path / "sweep", num_trials=4, executor=write_runs(rows_of))
    sweep = read_sweep(study, tmp_path / "sweep")
    assert sweep.best.values == {"epochs": best}
    report = write_files(sweep)[0].read_text()
    assert f"Chosen on 40 validation images (head semantic) by {told}." in report

    optuna_study = open_sweep(space, strategy="grid", rule=rule, higher_is_better=is_up).study
    assert optuna_study.direction.name == ("MAXIMIZE" if is_up else "MINIMIZE")
    name = "accuracy" if measure == "primary" else measure
    expected = [rows_of(space.run(trial.values))[0].measures[name].value for trial in sweep.trials]
    assert [trial.value for trial in optuna_study.trials] == expected
    assert optuna_study.best_params == {"epochs": best}
    table = list(csv.DictReader((tmp_path / "sweep" / "sweep.csv").read_text().splitlines()))
    assert [float(row[f"val_{name}"]) for row in table] == expected


def test_make_trials__head_of_a_pretext__decides_and_is_judged(make_space, open_sweep, make_row, write_runs, tmp_path):
    def rows_of(config):
        value = 1 / config.stages[0].epochs
        pretext = {"head": "rotation", "kind": "pretext"}
        return [make_row(0.5, 1.0), make_row(value, 1.0, **pretext), make_row(value, 1.0, split="test", **pretext)]

    study = open_sweep(make_space("epochs=int:1,3"), strategy="grid", rule=SelectionRule(head="rotation"))
    make_trials(study, tmp_path / "sweep", num_trials=3, executor=write_runs(rows_of))
    sweep = read_sweep(study, tmp_path / "sweep")
    assert sweep.best.values == {"epochs": 1}
    judged = judged_table(sweep)
    assert judged.lines == (("test", "40", "100.0", "1.000"),)
    assert "Head rotation" in judged.caption


def test_make_trials__run_without_the_measure__fails_as_a_trial(make_space, open_sweep, make_row, write_runs, tmp_path):
    def rows_of(config):
        return [make_row(0.5, 1.0, **({GROUP: Measure(0.5)} if config.stages[0].epochs == 1 else {}))]

    study = open_sweep(make_space("epochs=int:1,2"), strategy="grid", rule=SelectionRule(measure=GROUP))
    make_trials(study, tmp_path / "sweep", num_trials=2, executor=write_runs(rows_of))
    assert [trial.state for trial in study.trials] == ["finished", "failed"]
    assert "a measure of accuracy, nll, got 'worst_group/background'" in study.trials[1].error


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
    assert f"| test | {test['n']} | {100 * test['measures']['accuracy']['value']:.1f} [" in md.read_text()
    assert f"| trial-{best:04d} |" in md.read_text().partition("| ---")[2].splitlines()[1]

    # Test rows that say the opposite change nothing.
    for number in found:
        path = folder / f"trial-{number:04d}" / "records.jsonl"
        turned = [
            {**row, "measures": {**row["measures"], "accuracy": {"value": 1.0 - number / 10}}}
            if row.get("split") == "test"
            else row
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
    for lock in ("study.journal.lock", "study.journal.lock01-23.rename"):
        (folder / lock).symlink_to("study.journal")

    again = open_sweep(space)
    assert not [*folder.glob("study.journal.*")]
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
def test_ask__same_seed__same_values_and_none_twice(make_space, open_sweep, make_row, strategy):
    space = make_space(LR, "epochs=int:1,4")

    def values(folder, seed):
        study = open_sweep(space, strategy=strategy, seed=seed, folder=folder)
        for number in range(14):
            study = open_sweep(space, strategy=strategy, seed=seed, folder=folder) if number == 5 else study
            trial = study.ask()
            study.tell(trial, ValidationScore(SelectionRule(), make_row(trial.values["epochs"] / 40, 1.0)))
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


def test_open_study__journal_damaged_at_random__says_so_in_one_line_or_reads_it(
    make_space, open_sweep, make_row, tmp_path
):
    space = make_space(LR)
    study = open_sweep(space)
    for _ in range(2):
        study.tell(study.ask(), ValidationScore(SelectionRule(), make_row(0.5, 1.0)))
    study.fail(study.ask(), "it failed")
    path, draws = tmp_path / "sweep" / "study.journal", random.Random(0)
    lines, complaints = path.read_text().splitlines(), []
    for count in range(120):
        number = draws.randrange(len(lines))
        spoiled = (spoil_value, spoil_bytes)[count % 2](lines[number], draws)
        content = spoiled if isinstance(spoiled, bytes) else spoiled.encode()
        path.write_bytes(
            b"".join((content if place == number else line.encode()) + b"\n" for place, line in enumerate(lines))
        )
        complaints.append(complaint_of(lambda: open_sweep(space).ask()))
    check_complaints(complaints, least=30)


def test_open_study__journal_that_is_no_file__refused(make_space, open_sweep, tmp_path):
    (tmp_path / "sweep" / "study.journal").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"expected a journal of Optuna's in .*, got a (folder|pipe)"):
        open_sweep(make_space(LR))


def test_check_contents__another_sweep_or_other_files__refused(make_space, tmp_path):
    space, folder = make_space(LR), tmp_path / "sweep"
    contents = contents_of(space, recipe="supervised", strategy="tpe", rule=SelectionRule())
    check_contents(folder, contents)
    write_contents(folder, contents)
    check_contents(folder, contents)
    wider = make_space("method.optimizer.lr=log:1e-5,0.3")
    other = contents_of(wider, recipe="supervised", strategy="random", rule=SelectionRule(measure="nll"))
    with pytest.raises(ConfigError, match="another search space and sampler and selection"):
        check_contents(folder, other)
    (folder / "sweep.json").write_text('{"format": 1, "auxo": "0.1.0", "objective": "accuracy"}')
    with pytest.raises(CheckpointError) as error:
        check_contents(folder, contents)
    fix = "auxo 0.1.0 wrote it; use that version or another --out"
    assert str(error.value) == f"expected a sweep of format 2 in {folder / 'sweep.json'}, got format 1: {fix}"
    (folder / "sweep.json").write_text("{}")
    with pytest.raises(CheckpointError, match="description"):
        check_contents(folder, contents)
    (folder / "sweep.json").unlink()
    (folder / "notes.txt").touch()
    with pytest.raises(ConfigError, match="with other files"):
        check_contents(folder, contents)


def test_ask__name_among_the_options__is_written_down_and_read_again_with_its_own(make_space, open_sweep, make_row):
    gate = "method.pretexts.gate"
    words = [f"{gate}.name=choice:uniform,learned", f"{gate}.entropy=log:0.1,2"]
    study = open_sweep(make_space(*words, recipe="gssl"))
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, ValidationScore(SelectionRule(), make_row(0.5 + trial.number / 100, 1.0)))
    again = open_sweep(make_space(*words, recipe="gssl"))
    assert again.trials == study.trials
    assert {trial.values[f"{gate}.name"] for trial in again.trials} == {"uniform", "learned"}
    for trial in again.trials:
        assert (f"{gate}.entropy" in trial.values) == (trial.values[f"{gate}.name"] == "learned")
    assert sum(trial.values[f"{gate}.name"] == "uniform" for trial in again.trials) == 1  # it has nothing else to vary
    assert set(again.importances()) <= {f"{gate}.name"}
