"""A sweep of runs of a second, made in this process."""

from dataclasses import dataclass, replace

import pytest

from auxo.config import config_digest, load_recipe, to_json
from auxo.data import DataConfig
from auxo.errors import AuxoError
from auxo.experiment import TrainingConfig
from auxo.jobs import AbstractExecutor, Outcome
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.sweep import open_study, parse_space
from auxo.training import SilentObserver, train_run


@dataclass(frozen=True, kw_only=True)
class Here(AbstractExecutor):
    """Makes runs one after the other; a deliberate error fails one."""

    def check(self):
        """Refuse nothing."""

    def execute(self, jobs, report):
        """Make runs."""
        for job in jobs:
            error = None
            try:
                with open_runtime(job.config.runtime) as runtime:
                    train_run(
                        job.config,
                        document=to_json(job.config),
                        digest=config_digest(job.config),
                        folder=job.folder,
                        runtime=runtime,
                        observer=SilentObserver(),
                    )
            except AuxoError as caught:
                error = str(caught)
            report(Outcome(job, "failed" if error else "finished", 1.0, error))


@pytest.fixture
def here():
    return Here()


@pytest.fixture
def make_space(shapes_folder):
    """The search space of a recipe at one epoch on a few pictures."""

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

    def open_it(space, *, strategy="tpe", objective="accuracy", seed=0, folder="sweep"):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        return open_study(place, space, strategy=strategy, objective=objective, seed=seed)

    return open_it
