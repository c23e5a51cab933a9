"""What the records of a run say, finished or not."""

import json
from dataclasses import replace

import pytest

from auxo.backbones import BackboneConfig
from auxo.errors import CheckpointError
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runs.checkpoint import Checkpoints, Progress
from auxo.runs.document import to_json
from auxo.runs.experiment import ExperimentConfig, StageConfig, Transfer
from auxo.runs.history import RunHistory, _list_with_sources
from auxo.runs.journal import Journal
from auxo.runs.results import Compute, EvaluationRow, Selection
from auxo.runs.selection import SelectionRule
from auxo.tasks import Classification, Measure

TASK = Classification(("a", "b"), channels=3, height=28, width=28)
BEST = SelectionRule(keep="best")
CONFIG = ExperimentConfig(
    stages=(
        StageConfig(method=Supervised.Config(), name="first", epochs=2, selection=BEST),
        StageConfig(method=Supervised.Config(), name="apart", epochs=1),
        StageConfig(method=Supervised.Config(), name="last", epochs=3, start_from="first"),
    )
)
CHOSEN = Selection("val", "semantic", "accuracy", 0.5, "nll", 0.7, step=4, epoch=2)
SPENT = Compute(train_seconds=9.0, images=90, flops=None)


def row(split="val", head="semantic", kind="task", n=10, value=0.5):
    measures = {"accuracy": Measure(value), "nll": Measure(0.7, unit="nats", higher_is_better=False)}
    return EvaluationRow(split, head, kind, n, "accuracy", measures)


def begin(folder):
    """Write what a run writes up to its last evaluation."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(to_json(CONFIG))
    names = ["first", "apart", "last"]
    journal = Journal(folder, stages=names, first_steps=[0, 8, 12], tensorboard=False)
    journal.losses("first", 4, 1.0, {"class_loss": 2.0}, {"main": 0.1}, 50.0)
    journal.evaluation("first", 8, 2, [row(value=0.25), row(head="mean")])
    journal.losses("apart", 4, 1.0, {"other_loss": 1.0}, {"main": 0.1}, 50.0)
    journal.losses("last", 2, 0.5, {"class_loss": 1.0}, {"main": 0.01}, 50.0)
    journal.evaluation("last", 12, 3, [row(value=0.75)])
    return journal


def finish(folder, journal):
    """Write what a run ends with."""
    rows = [row(value=0.75), row(head="rotation", kind="pretext", n=40), row("test", n=20, value=0.5)]
    journal.evaluation("last", 12, 3, rows, kind="result")
    end = {"selection": None, "train_seconds": 9.0, "images": 90, "flops": None}
    journal.write("end", "last", 12, end)
    (folder / "model.safetensors").touch()


@pytest.fixture
def unfinished(tmp_path):
    folder = tmp_path / "unfinished"
    begin(folder).close()
    return folder


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "finished"
    journal = begin(folder)
    finish(folder, journal)
    journal.close()
    return folder


def change(folder, kind, edit):
    """Rewrite the records of a kind."""
    path = folder / "records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if record["kind"] == kind:
            edit(record)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_read__finished_run__has_results_selection_and_cost(finished):
    history = RunHistory.read_finished(finished)
    assert history.is_finished
    assert (history.selection, history.compute, history.steps) == (None, SPENT, 24)
    assert [(each.split, each.head) for each in history.rows] == [
        ("val", "semantic"),
        ("val", "rotation"),
        ("test", "semantic"),
    ]
    assert [each.split for each in history.first_head()] == ["val", "test"]
    assert [record["kind"] for record in history.results] == ["result"] * 3 + ["end"]


def test_read__unfinished_run__has_its_course_and_no_end(unfinished):
    history = RunHistory.read(unfinished)
    assert not history.is_finished
    assert history.rows == []
    assert [(each.stage, each.step, each.row.main.value) for each in history.evaluated()] == [
        ("first", 8, 0.25),
        ("first", 8, 0.5),
        ("last", 24, 0.75),
    ]
    with pytest.raises(CheckpointError, match=r"the results of a finished run in .*records\.jsonl, got none"):
        _ = history.compute


def test_read_finished__unfinished_run__is_refused_with_the_command_that_goes_on(unfinished):
    says = f"a finished run in {unfinished}, got one that is not: auxo train --resume {unfinished}"
    with pytest.raises(CheckpointError, match=says):
        RunHistory.read_finished(unfinished)


def test_is_finished__model_gone_or_records_gone__is_not(finished):
    (finished / "model.safetensors").unlink()
    assert not RunHistory.read(finished).is_finished
    (finished / "model.safetensors").touch()
    (finished / "records.jsonl").unlink()
    assert not RunHistory.read(finished).is_finished


def test_read__no_records__is_an_empty_history(tmp_path):
    history = RunHistory.read(tmp_path)
    assert (history.records, history.is_finished, history.rows, history.stage_starts()) == ((), False, [], {})


def test_read__damaged_line__is_named(finished):
    path = finished / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]) + "\n")
    with pytest.raises(CheckpointError, match=r"a record in line 2 of .*records\.jsonl"):
        RunHistory.read(finished)


def test_read__half_written_last_line__counts_as_not_written(finished):
    path = finished / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert not RunHistory.read(finished).is_finished


@pytest.mark.parametrize(
    ("kind", "name", "read"),
    [
        ("end", "images", lambda history: history.is_finished),
        ("result", "measures", lambda history: history.rows),
        ("evaluation", "primary", lambda history: list(history.evaluated())),
        ("losses", "lr", lambda history: list(history.measured())),
    ],
)
def test_records__of_another_version__are_refused_in_one_line(finished, kind, name, read):
    change(finished, kind, lambda record: record.pop(name))
    with pytest.raises(
        CheckpointError, match=rf"records of auxo .* in .*records\.jsonl, got others .*{name}"
    ) as caught:
        read(RunHistory.read(finished))
    assert "\n" not in str(caught.value)


def test_selection__in_fields_of_another_version__is_refused(finished):
    change(finished, "end", lambda record: record.update(selection={"split": "val", "accuracy": 0.5}))
    with pytest.raises(CheckpointError, match=r"records of auxo .*, got others \(TypeError"):
        _ = RunHistory.read(finished).selection


def test_measured__losses__are_in_the_order_of_the_steps(finished):
    found = list(RunHistory.read(finished).measured())
    assert [(each.stage, each.step, each.epoch) for each in found] == [
        ("first", 4, 1.0),
        ("apart", 12, 1.0),
        ("last", 14, 0.5),
    ]
    assert (found[2].values, found[2].rates) == ({"class_loss": 1.0}, {"main": 0.01})


def test_stage_starts__three_stages__are_their_first_steps_in_order(finished):
    assert list(RunHistory.read(finished).stage_starts().items()) == [("first", 0), ("apart", 8), ("last", 12)]


def test_document__config__tells_epochs_and_version(finished):
    history = RunHistory.read(finished)
    assert history.epochs == (2, 1, 3)
    assert history.version == json.loads((finished / "config.json").read_text())["auxo"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"run": {"stages": [{}]}}'])
def test_document__missing_or_damaged__is_refused_in_one_line(finished, text):
    path = finished / "config.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CheckpointError, match=r"the config of a run in .*config\.json") as caught:
        _ = RunHistory.read(finished).epochs
    assert "\n" not in str(caught.value)


def test_of_stage__end_of_the_run__is_what_its_last_record_says(finished):
    change(finished, "end", lambda record: record.update(selection=vars(CHOSEN)))
    assert RunHistory.read(finished).of_stage(CONFIG, None) == (CHOSEN, SPENT)


def test_of_stage__one_that_starts_from_another__costs_both_and_no_others(finished):
    method = Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    spent = {
        "first": Progress(train_seconds=1.0, images=10, steps={"step": 2}, flops_per_step={"step": 5}, best=CHOSEN),
        "apart": Progress(train_seconds=50.0, images=500),
        "last": Progress(train_seconds=2.0, images=20, steps={"step": 1}, flops_per_step={"step": 7}, best=CHOSEN),
    }
    for name, progress in spent.items():
        checkpoints = Checkpoints(finished / "checkpoints", name, "digest")
        checkpoints.save_weights(checkpoints.final, method, progress)
    history = RunHistory.read(finished)
    assert history.of_stage(CONFIG, "first") == (CHOSEN, Compute(1.0, 10, 10.0))
    # The last stage kept its last weights, whatever was the best on the way.
    assert history.of_stage(CONFIG, "last") == (None, Compute(3.0, 30, 17.0))


def test_changed_sets__other_number_of_images__is_told_of_the_first_head_alone(finished):
    history = RunHistory.read(finished)
    now = [row(n=10), row("test", n=21), row("test", head="mean", n=99), row("ood/new", n=3)]
    assert history.changed_sets(now) == [
        "note: test has 21 images and had 20 when the run ended: its results do not compare"
    ]
    assert history.changed_sets([row(n=10), replace(row(n=7), kind="pretext")]) == []


def test_stage_starts__record_without_a_stage__is_refused_in_one_line(finished):
    path = finished / "records.jsonl"
    path.write_text('{"kind": "losses", "stage_number": 0, "step": 1}\n')
    with pytest.raises(CheckpointError, match=r"records of auxo .*, got others \(KeyError: "):
        RunHistory.read(finished).stage_starts()


def test_read__many_rows_of_metrics__are_not_held(tmp_path):
    row = {"kind": "losses", "stage_number": 0, "stage": "train", "epoch": 0.5, "lr": {"main": 0.1}}
    lines = [json.dumps({**row, "step": i, "global_step": i, "losses": {"a_loss": i / 7}}) for i in range(100)]
    (tmp_path / "records.jsonl").write_text("\n".join([*lines, "damaged"]) + "\n")
    with pytest.raises(CheckpointError, match="line 101"):
        RunHistory.read(tmp_path)
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    history = RunHistory.read(tmp_path)
    assert history.records == ()
    assert [metrics.step for metrics in history.measured()] == [*range(100)]
    assert history.stage_starts() == {"train": 0}


def test_of_stage__sixty_stages_that_start_from_all_earlier_ones__are_walked_once_each():
    names = [f"s{number}" for number in range(60)]
    stages = {
        name: StageConfig(
            method=Supervised.Config(),
            name=name,
            transfers=tuple(Transfer(stage=other, part="backbone", to="backbone") for other in names[:number]),
        )
        for number, name in enumerate(names)
    }
    found = _list_with_sources(stages, "s59")
    assert found[0] == "s59"
    assert sorted(found) == sorted(names)
