"""Jobs of a second, and a method that fails in the way that is asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from auxo.data import DataConfig
from auxo.jobs import Job
from auxo.runs.document import load_recipe
from auxo.runs.experiment import TrainingConfig
from auxo.runtime import RuntimeConfig

FAILING = '''
"""A supervised method that fails at its second step."""

import os
import signal
from dataclasses import dataclass

from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.interfaces import MethodConfig
from auxo.methods.supervised import Supervised


class Failing(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        how: str = "raise"

    def update(self, state, batches, runtime):
        how = self.config.how
        if state.step == 1 and how == "raise":
            raise TypeError("no such thing\\nin this file")
        if state.step == 1 and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if state.step == 1 and how == "leave":
            os._exit(7)
        return super().update(state, batches, runtime)


def recipe(how="raise"):
    return ExperimentConfig(stages=(StageConfig(method=Failing.Config(how=how)),))


def kill():
    return recipe("kill")


def leave():
    return recipe("leave")


def work():
    return recipe("work")
'''


@pytest.fixture
def failing(tmp_path):
    """A file with a method that fails."""
    path = tmp_path / "failing.py"
    path.write_text(FAILING, encoding="utf-8")
    return path


@pytest.fixture
def make_job(shapes_folder, tmp_path):
    """Make a job of one epoch on a few images."""

    def make(recipe="supervised", *, name=None, seed=0, epochs=1, folder=None):
        config = load_recipe(str(recipe))
        name = name or f"{Path(str(recipe)).stem}-seed{seed}"
        made = replace(
            config,
            stages=tuple(replace(stage, epochs=epochs, batch_size=32) for stage in config.stages),
            data=DataConfig(train=str(shapes_folder)),
            training=TrainingConfig(tensorboard=False),
            runtime=RuntimeConfig(device="cpu"),
            seed=seed,
        )
        return Job(name, made, tmp_path / "runs" / name if folder is None else folder)

    return make
