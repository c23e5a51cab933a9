"""A sweep of runs of a second, made in this process."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from auxo.data import DataConfig
from auxo.jobs import AbstractExecutor, Outcome
from auxo.runs.document import load_recipe
from auxo.runs.experiment import TrainingConfig
from auxo.runs.records import RecordWriter
from auxo.runs.results import EvaluationRow
from auxo.runs.selection import SelectionRule
from auxo.runtime import RuntimeConfig
from auxo.sweep import Objective, open_study, parse_space
from auxo.tasks import Measure

PRIMARY = SelectionRule()


@pytest.fixture(scope="session")
def make_row():
    """What a head achieved: accuracy, likelihood in nats and any other measures."""

    def make(accuracy, nll, *, split="val", n=40, head="semantic", kind="task", **others):
        measures = {"accuracy": Measure(accuracy), "nll": Measure(nll, unit="nats", higher_is_better=False), **others}
        return EvaluationRow(split, head, kind, n, "accuracy", measures, chance=0.25)

    return make


@pytest.fixture
def write_runs():
    """What writes finished runs down without training them: a function of a trial's config gives their rows."""

    @dataclass(frozen=True, kw_only=True)
    class Writing(AbstractExecutor):
        rows_of: Any

        def check(self):
            """Refuse nothing."""

        def execute(self, jobs, report):
            """Write records."""
            for job in jobs:
                job.folder.mkdir(parents=True)
                position = {"stage_number": 0, "stage": "train", "step": 3, "global_step": 3}
                writer = RecordWriter(job.folder / "records.jsonl")
                for row in self.rows_of(job.config):
                    writer.write({"kind": "result", **position, "epoch": 1, **row.to_record()})
                cost = {"train_seconds": 1.0, "images": 96, "flops": 1e6}
                writer.write({"kind": "end", **position, "selection": None, **cost})
                writer.close()
                (job.folder / "model.safetensors").touch()
                report(Outcome(job, "finished", 1.0))

    return lambda rows_of: Writing(rows_of=rows_of)


@pytest.fixture
def make_space(shapes_folder):
    """The search space of a recipe at one epoch on a few images."""

    def make(*words, recipe="supervised"):
        config = load_recipe(recipe)
        tiny = replace(
            config,
            stages=tuple(replace(stage, epochs=1, batch_size=32) for stage in config.stages),
            data=DataConfig(train=str(shapes_folder), val_fraction=0.25),
            training=TrainingConfig(tensorboard=False),
            runtime=RuntimeConfig(device="cpu", threads=1),
        )
        return parse_space(tiny, words)

    return make


@pytest.fixture
def open_sweep(tmp_path):
    """Open the study in a folder, as a command that is started again does."""

    def open_it(space, *, strategy="tpe", rule=PRIMARY, higher_is_better=True, seed=0, folder="sweep"):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        return open_study(place, space, strategy=strategy, objective=Objective(rule, higher_is_better), seed=seed)

    return open_it
