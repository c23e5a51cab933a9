"""More epochs for a finished run: its files become those of the longer run, and what was done is noted beside them."""

import json
from dataclasses import replace
from pathlib import Path

from auxo.errors import CheckpointError, ConfigError, OptionError
from auxo.files.atomic import write_atomically
from auxo.files.lock import locked_folder
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.runs.checkpoint import Checkpoints, RunHeader, step_of
from auxo.runs.document import config_digest, to_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import EXTENSIONS, Extension, RunHistory


def lengthen_config(config: ExperimentConfig, epochs: int, *, folder: Path) -> ExperimentConfig:
    """Return the config of a finished run with more epochs in its last stage.

    Args:
        config: of the run.
        epochs: of the longer run, those that it has had among them.
        folder: the run directory.

    Raises:
        OptionError: they are not more.
        ConfigError: the last stage ended early, as it would again.
        CheckpointError: the run is not finished.
    """
    stage, history = config.stages[-1], RunHistory.read_finished(folder)
    if epochs <= stage.epochs:
        fix = "name all epochs of the longer run"
        raise OptionError("epochs", f"above the {stage.epochs} that {folder} has had", str(epochs), fix)
    if any(stop.stage == stage.name for stop in history.early_stops()):
        got, fix = "one that stopped before its last epoch", "train anew with another --tuning.patience"
        raise ConfigError("a run that came to its last epoch", got, fix)
    return replace(config, stages=(*config.stages[:-1], replace(stage, epochs=epochs)))


def extend_run(folder: Path, config: ExperimentConfig, longer: ExperimentConfig) -> None:
    """Make the files of a finished run those of a longer one, which then goes on from its last checkpoint.

    May be repeated where it was interrupted: config.json, by which a run is known, is written last.

    Args:
        folder: the run directory.
        config: of the run.
        longer: from :func:`lengthen_config`.

    Raises:
        CheckpointError: the last checkpoint is missing, or a file is damaged or another run's.
    """
    old, new, stage = config_digest(config), config_digest(longer), config.stages[-1]
    with locked_folder(folder):
        places = sorted((folder / "checkpoints").glob("*.safetensors"))
        saved = Checkpoints(folder / "checkpoints", stage.name, old).saved()
        if not saved:
            fix = "take it from a copy, or train anew with more --epochs"
            raise CheckpointError(f"the last checkpoint of stage {stage.name} in {folder}", "none", fix)
        own = Extension(stage.name, step_of(saved[-1]), stage.epochs, longer.stages[-1].epochs, old)
        noted = RunHistory.read(folder).extensions
        entries = noted if noted and noted[-1] == own else (*noted, own)
        write_atomically(folder / EXTENSIONS, json.dumps([each._asdict() for each in entries], indent=2) + "\n")
        for path in places:
            _sign_anew(path, old, new)
        write_atomically(folder / "config.json", to_json(longer))


def _sign_anew(path: Path, old: str, new: str) -> None:
    """Write a file of one run as that of another."""
    tree, header = read_tensor_file(path, header=RunHeader)
    if header.get("run") == new:
        return
    if header.get("run") != old:
        raise CheckpointError(f"a file of this run at {path}", "one of another", "take it away")
    write_tensor_file(path, tree, {**header, "run": new})
