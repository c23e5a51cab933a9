"""A sweep of runs of a second, made in this process."""

from dataclasses import replace

import pytest

from auxo.config import load_recipe
from auxo.data import DataConfig
from auxo.experiment import TrainingConfig
from auxo.runtime import RuntimeConfig
from auxo.sweep import open_study, parse_space


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
