"""The trained model of a run, read back from its files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch

from auxo.data import AbstractSource, DataConfig, InputPipeline, Splits, load_splits, read_source
from auxo.data.fitting import FitMethod
from auxo.data.hub import asking_hub
from auxo.data.readers import read_unlabelled
from auxo.errors import CheckpointError, ConfigError, DataError
from auxo.files.moved import finding_moved
from auxo.files.tensor_file import TensorFile, check_holding, read_tensor_file
from auxo.interfaces import AbstractMethod
from auxo.runs.checkpoint import Checkpoints, RunHeader, check_images, load_weights
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.inputs import build_pipeline
from auxo.runs.networks import Kept, Networks, read_columns, read_networks
from auxo.runtime import Runtime
from auxo.tasks import AbstractTask, Target


@dataclass(frozen=True)
class TrainedModel:
    """A trained method, ready to predict.

    Args:
        method: on the device, in evaluation mode.
        pipeline: turns uint8 images into its inputs.
        task: what is predicted, and the size of images.
        data: digests of the images it was made with, from :meth:`auxo.data.Splits.digests`.
        path: the file it was read from.
        task_name: what the run's options call the task.
        frozen: networks in it that no training moved, as the run keeps them.
        columns: further columns of the data that it has learned, by name.
        judged: digests of the images that it was judged on.
        was_resized: whether its training images were resized, to ``data.image-size`` or a size that was chosen.
        fit: how images of another shape are brought to its input.
    """

    method: AbstractMethod
    pipeline: InputPipeline
    task: AbstractTask
    data: Mapping[str, str]
    path: Path
    task_name: str
    frozen: Mapping[str, Kept] = field(default_factory=dict)
    columns: Mapping[str, Target] = field(default_factory=dict)
    judged: Mapping[str, str] = field(default_factory=dict)
    was_resized: bool = False
    fit: FitMethod = "crop"

    @property
    def image_size(self) -> int | None:
        """Side of a square model's input, to which images are brought; ``None`` if it is not square."""
        return self.task.height if self.task.height == self.task.width else None

    def check_splits(self, splits: Splits) -> None:
        """Refuse splits whose train, meta, unlabelled or val is not what the model was made with.

        Raises:
            DataError: one differs; images that were trained on could be among those that judge.
        """
        fix = "put them back, or judge it with auxo evaluate RUN --data SETS"
        check_images(self.data, splits.digests(), origin=str(self.path), fix=fix, judged=self.judged)

    def read_judged(self, spec: str, config: DataConfig) -> AbstractSource:
        """Return images from elsewhere at the model's size, their targets numbered as the model's.

        Args:
            spec: see :func:`auxo.data.read_source`.
            config: of the run; says what to do with values that are missing or unknown.

        Raises:
            ConfigError: a file of the user's does not run, or makes no source.
            DataError: the set cannot be used; the message names the file or row.
        """
        task, sized = self.task, self.size_images(config.at_places())
        with asking_hub(True), finding_moved(None):  # the user named it
            source = read_source(spec, sized, vocabulary=task.vocabulary, mask=task.mask_target)
        self.check_shape(source.image_shape, where=spec)
        return source

    def read_unlabelled(self, spec: str, config: DataConfig) -> AbstractSource:
        """Return images from elsewhere at the model's size, called as they are named; their targets are not read.

        Args:
            spec: see :func:`auxo.data.readers.read_unlabelled`.
            config: of the run.

        Raises:
            ConfigError: a file of the user's does not run, or makes no source.
            DataError: the set cannot be used; the message names the file or row.
        """
        with asking_hub(True), finding_moved(None):  # the user named it
            source = read_unlabelled(spec, self.size_images(config.at_places()), mask=self.task.mask_target)
        self.check_shape(source.image_shape, where=spec)
        source.name = spec
        return source

    def size_images(self, config: DataConfig) -> DataConfig:
        """Return options that bring images to the model's input, if it is square or its training images were, too."""
        if self.image_size is not None or not self.was_resized:
            return replace(config, image_size=self.image_size, image_width=None, fit=self.fit)
        return replace(config, image_size=self.task.height, image_width=self.task.width, fit=self.fit)

    def check_shape(self, shape: tuple[int, ...], *, where: str) -> None:
        """Refuse images that the model was not trained for; other sizes too, unless its task leaves them free.

        Args:
            shape: ``(channels, height, width)``.
            where: the set or file they come from.

        Raises:
            DataError: another shape than the model's input.
        """
        expected, compared = self.task.image_shape, 3 if self.task.is_size_fixed else 1
        if tuple(shape)[:compared] != expected[:compared]:
            size = "x".join(map(str, expected))
            got = f"{'x'.join(map(str, shape))} in {where}"
            raise DataError(f"images of {size} (channels, height, width)", got, "resize them as for training")


def splits_of(config: ExperimentConfig) -> Splits:
    """Return the data of a run.

    Raises:
        DataError: a set cannot be used.
    """
    learned = tuple(dict.fromkeys(name for stage in config.stages for name in stage.method.learned_columns))
    return load_splits(config.data, seed=config.seed, task=config.task.kind(), learned=learned)


def load_model(config: ExperimentConfig, folder: Path, *, runtime: Runtime, stage: str | None = None) -> TrainedModel:
    """Return the trained model of a run, or what one of its stages ended with.

    Its input is normalised as in ``model.safetensors``; for a stage of a run that is not finished as its options say,
    for which the training images are read.

    Args:
        config: of the run.
        folder: the run directory.
        runtime: the device to put it on.
        stage: name of a stage that is finished; ``None`` means the model that the whole run ended with.

    Raises:
        ConfigError: the run has no stage of that name.
        CheckpointError: the run or the stage is not finished, or a file is damaged or of another run.
        DataError: the run is not finished and its images are not those that the stage was trained on.
    """
    names = [each.name for each in config.stages]
    if stage is not None and stage not in names:
        raise ConfigError(f"a stage of {folder}", repr(stage), f"name one of {', '.join(names)}")
    end = folder / "model.safetensors"
    path = end if stage is None else Checkpoints(folder / "checkpoints", stage, "").final
    if not path.exists():
        finished = "run" if stage is None else f"stage {stage}"
        raise CheckpointError(f"a finished {finished} in {folder}", f"no {path.name}", f"auxo train --resume {folder}")
    file = read_tensor_file(path, header=RunHeader, holds=("weights",))
    task, pipeline, columns, was_resized = _read_inputs(config, end, path, file)
    chosen = config.trained_stages[-1 if stage is None else names.index(stage)]
    networks = Networks(
        config.backbone,
        task,
        seed=config.seed,
        given=pipeline.normalisation,
        first_weights=False,
        kept=read_networks(folder),
        columns=columns,
    )
    method = chosen.method.build(networks)
    load_weights(method, file.tree["weights"], origin=str(path))
    runtime.prepare(method, networks=method.networks)
    data, own_pipeline = file.header.get("data", {}), pipeline.to(runtime.device)
    return TrainedModel(
        method.eval(),
        own_pipeline,
        task,
        data,
        path,
        config.task.name,
        frozen=networks.loaded,
        columns=columns,
        judged=file.header.get("judged", {}),
        was_resized=was_resized,
        fit=config.data.fit,
    )


class _Inputs(NamedTuple):
    """What a run learns from, and what normalises its images."""

    task: AbstractTask
    pipeline: InputPipeline
    columns: Mapping[str, Target]
    was_resized: bool


def _read_inputs(config: ExperimentConfig, end: Path, path: Path, file: TensorFile) -> _Inputs:
    """Return the task of a run, what normalises its images, and the further columns that it learns.

    Args:
        config: of the run.
        end: the model of the finished run, if there is one.
        path: of the weights that are asked for.
        file: what is there.
    """
    if not end.exists():
        splits = splits_of(config)
        recorded, fix = file.header.get("data", {}), "put them back, or train anew"
        check_images(recorded, splits.digests(), origin=str(path), fix=fix, judged=file.header.get("judged"))
        was_resized = config.data.is_resized or splits.was_resized
        return _Inputs(splits.task(), build_pipeline(config, splits), splits.columns(), was_resized)
    tree, header = file if path == end else read_tensor_file(end, header=RunHeader)
    if "task" not in header:
        raise CheckpointError(f"a trained model at {end}", "another file of auxo's", "take the one that the run wrote")
    check_holding(tree, ("pipeline",), path=end)
    if header.get("run") != file.header.get("run"):
        raise CheckpointError(f"a stage of the run that wrote {end}", f"one of another at {path}", "put its own there")
    task = config.task.kind().from_record(header["task"], origin=str(end))
    pipeline = InputPipeline(torch.zeros(task.channels), torch.ones(task.channels), image_shape=task.image_shape)
    load_weights(pipeline, tree["pipeline"], origin=str(end))
    was_resized = header.get("resized", config.data.is_resized)  # unknown to runs that never chose a size
    return _Inputs(task, pipeline, read_columns(header), was_resized)
