"""A whole run: every stage in order, then the judgement on data the model never saw."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import auxo
from auxo.data import InputPipeline, Splits, load_splits
from auxo.errors import CheckpointError, ConfigError, DataError
from auxo.evaluation import Compute, EvaluationRow, Table, build_table, evaluate, to_markdown
from auxo.experiment import ExperimentConfig, StageConfig
from auxo.interfaces import AbstractMethod
from auxo.runtime import Runtime
from auxo.training.atomic import make_folder, remove_temporaries, write_atomically
from auxo.training.checkpoint import Checkpoints, Progress, check_pictures, load_matching, load_part, load_weights
from auxo.training.journal import Journal
from auxo.training.lock import locked_folder
from auxo.training.observer import Observer, SilentObserver
from auxo.training.signals import StopRequest, stop_on_signal
from auxo.training.tensor_file import TensorFile, read_tensor_file, write_tensor_file
from auxo.training.trainer import StageTrainer
from auxo.types import Task

__all__ = ["RunResult", "TrainedModel", "load_model", "train_run", "untrained_stages"]


@dataclass(frozen=True)
class RunResult:
    """What a finished run found.

    Args:
        rows: of every split and head, for the weights of ``model.safetensors``.
        table: the same as a table.
        folder: the run directory.
    """

    rows: list[EvaluationRow]
    table: Table
    folder: Path


@dataclass(frozen=True)
class TrainedModel:
    """A trained method, ready to predict.

    Args:
        method: on the device, in evaluation mode.
        pipeline: turns uint8 images into its inputs.
        task: classes and image size.
        data: digests of the pictures it was made with, from :meth:`auxo.data.Splits.digests`.
        path: the file it was read from.
    """

    method: AbstractMethod
    pipeline: InputPipeline
    task: Task
    data: Mapping[str, str]
    path: Path

    @property
    def image_size(self) -> int | None:
        """Side of a square model's input, to which pictures are brought; ``None`` if it is not square."""
        return self.task.height if self.task.height == self.task.width else None

    def check_splits(self, splits: Splits) -> None:
        """Refuse splits whose train, meta, unlabelled or val is not what the model was made with.

        Raises:
            DataError: one differs; pictures that were trained on could be among those that judge.
        """
        fix = "put them back, or judge it with auxo evaluate RUN --data SETS"
        check_pictures(self.data, splits.digests(), origin=str(self.path), fix=fix)

    def check_shape(self, shape: tuple[int, ...], *, where: str) -> None:
        """Refuse pictures that the model was not trained for.

        Args:
            shape: ``(channels, height, width)``.
            where: the set or file they come from.

        Raises:
            DataError: another shape than the model's input.
        """
        expected = (self.task.channels, self.task.height, self.task.width)
        if tuple(shape) != expected:
            size = "x".join(map(str, expected))
            got = f"{'x'.join(map(str, shape))} in {where}"
            raise DataError(f"pictures of {size} (channels, height, width)", got, "resize them as for training")


@dataclass(frozen=True)
class _Run:
    """What the stages of a run share."""

    config: ExperimentConfig
    document: str
    digest: str
    folder: Path
    splits: Splits
    data: Mapping[str, str]
    pipeline: InputPipeline
    runtime: Runtime
    observer: Observer
    stop: StopRequest

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints are."""
        return self.folder / "checkpoints"

    def checkpoints(self, stage: StageConfig) -> Checkpoints:
        """Return the checkpoints of a stage."""
        keep = self.config.training.keep_checkpoints
        return Checkpoints(self.checkpoint_folder, stage.name, self.digest, keep, self.data)


def train_run(
    config: ExperimentConfig,
    *,
    document: str,
    digest: str,
    folder: Path,
    runtime: Runtime,
    observer: Observer,
    splits: Splits | None = None,
) -> RunResult:
    """Train every stage that is not yet finished, measure the final weights, and write everything into ``folder``.

    Nothing is written before the data are read and the method is built. A folder in which a run was interrupted is gone
    on with from its newest checkpoint, to the same bits; it is refused if its train, meta, unlabelled or val pictures
    have changed.

    Args:
        config: the run.
        document: what ``config.json`` is to hold, from :func:`auxo.config.to_json`.
        digest: of the config, from :func:`auxo.config.config_digest`; guards against foreign checkpoints.
        folder: the run directory; made if missing.
        runtime: device and processes.
        observer: is told of progress.
        splits: the data of ``config.data`` and ``config.seed``, if they are at hand already.

    Raises:
        AuxoError: bad input, a full disk, a damaged checkpoint, a loss that is not finite, or a signal.
    """
    if splits is None:
        with runtime.main_first():
            splits = load_splits(config.data, seed=config.seed)
    pipeline = InputPipeline.from_source(splits.train.source, augment=config.data.augment).to(runtime.device)
    data = splits.digests()
    with stop_on_signal() as stop:
        run = _Run(config, document, digest, folder, splits, data, pipeline, runtime, observer, stop)
        return _train_stages(run)


def _train_stages(run: _Run) -> RunResult:
    """Train the stages in order and measure the last one's weights."""
    config, runtime = run.config, run.runtime
    with ExitStack() as stack:
        is_new = not run.folder.exists()
        if runtime.is_main and not is_new:
            stack.enter_context(locked_folder(run.folder))
        runtime.barrier()
        number, start = _position(run)
        trainer = _stage_trainer(run, config.stages[number], first_weights=start is None)
        if start is not None:
            trainer.restore(start)
        # Refuse a later stage before an earlier one is trained.
        others = {
            stage.name: _untrained(run, stage, first_weights=index > number).num_steps
            for index, stage in enumerate(config.stages)
            if index != number
        }
        num_steps = [others.get(stage.name, trainer.num_steps) for stage in config.stages]
        runtime.barrier()
        journal = None
        if runtime.is_main:
            if is_new:
                stack.enter_context(locked_folder(run.folder))
            journal = stack.enter_context(closing(_open_folder(run, number, start, num_steps)))
        for index, stage in enumerate(config.stages[number:], start=number):
            if index > number:
                trainer = _stage_trainer(run, stage)
            trainer.journal = journal
            progress = trainer.train()
            if runtime.is_main:
                trainer.checkpoints.save_weights(trainer.checkpoints.final, trainer.method, progress)
            runtime.barrier()
        return _finish(run, trainer.method, trainer.num_steps, journal)


def untrained_stages(config: ExperimentConfig, *, splits: Splits, runtime: Runtime) -> Iterator[StageTrainer]:
    """Yield a trainer of each stage, all with first weights; nothing is written.

    Args:
        config: the run.
        splits: the data of ``config.data`` and ``config.seed``.
        runtime: device and processes.

    Raises:
        AuxoError: a stage cannot take the data.
    """
    pipeline = InputPipeline.from_source(splits.train.source, augment=config.data.augment).to(runtime.device)
    run = _Run(config, "", "", Path(), splits, {}, pipeline, runtime, SilentObserver(), StopRequest())
    for stage in config.stages:
        yield _untrained(run, stage, first_weights=True)


def _position(run: _Run) -> tuple[int, Path | None]:
    """Return the number of the first stage to train and the checkpoint to begin it from."""
    for number, stage in enumerate(run.config.stages):
        checkpoints = run.checkpoints(stage)
        is_last = number == len(run.config.stages) - 1
        if is_last or not checkpoints.final.exists():
            saved = checkpoints.saved()
            return number, saved[-1] if saved else None
    raise AssertionError("a run has at least one stage")


def _open_folder(run: _Run, number: int, start: Path | None, num_steps: list[int]) -> Journal:
    """Make the run directory, write the config, and open records and curves where the run goes on."""
    remove_temporaries(make_folder(run.checkpoint_folder))
    remove_temporaries(run.folder)
    if not (run.folder / "config.json").exists():
        write_atomically(run.folder / "config.json", run.document)
    step = int(start.stem.rpartition("-")[2]) if start is not None else 0
    return Journal(
        run.folder,
        stages=[stage.name for stage in run.config.stages],
        first_steps=[sum(num_steps[:i]) for i in range(len(num_steps))],
        position=(number, step),
        tensorboard=run.config.training.tensorboard,
    )


def _stage_trainer(run: _Run, stage: StageConfig, *, first_weights: bool = True) -> StageTrainer:
    """Build the method of a stage on the device, with the weights it starts from."""
    trainer = _untrained(run, stage, first_weights=first_weights)
    for name in stage.sources:
        checkpoints = run.checkpoints(next(other for other in run.config.stages if other.name == name))
        weights, origin = checkpoints.read_weights(checkpoints.final), str(checkpoints.final)
        transfers = [transfer for transfer in stage.transfers if transfer.stage == name]
        for transfer in transfers:
            load_part(trainer.method, weights, part=transfer.part, to=transfer.to, origin=origin)
        if not transfers and not load_matching(trainer.method, weights):
            fix = "use one backbone for both stages"
            raise CheckpointError(f"weights that fit stage {stage.name}", f"none in {origin}", fix)
    return trainer


def _untrained(run: _Run, stage: StageConfig, *, first_weights: bool) -> StageTrainer:
    """Build the method of a stage on the device with its first weights, refusing data that it cannot take."""
    task = run.splits.task()
    backbone = run.config.backbone.build(task, seed=run.config.seed, first_weights=first_weights)
    method = stage.method.build(backbone, task, seed=run.config.seed)
    for head in method.pretext_heads().values():
        head.pretext.make_all(torch.zeros(1, task.channels, task.height, task.width))
    run.runtime.prepare(method, backbone=method.backbone)
    return StageTrainer(
        config=run.config,
        stage=stage,
        method=method,
        splits=run.splits,
        pipeline=run.pipeline,
        runtime=run.runtime,
        checkpoints=run.checkpoints(stage),
        observer=run.observer,
        stop=run.stop,
    )


def _finish(run: _Run, method: AbstractMethod, step: int, journal: Journal | None) -> RunResult:
    """Measure the final weights on every split, and write the model and the table."""
    stage = run.config.stages[-1]
    stages = [run.checkpoints(each).final_progress() for each in run.config.stages]
    selection = stages[-1].best if stage.selection == "best_val" else None
    compute = _total(stages)
    rows: list[EvaluationRow] = []
    for split in run.splits.evaluation():
        rows += evaluate(
            method,
            split,
            pipeline=run.pipeline,
            runtime=run.runtime,
            batch_size=run.config.training.eval_batch_size,
            workers=run.config.data.workers,
        )
    if journal is not None:  # the model first: nothing after it can lose what was trained
        header = {"auxo": auxo.__version__, "task": asdict(run.splits.task()), "run": run.digest, "data": run.data}
        tree = {"weights": method.state_dict(), "pipeline": run.pipeline.state_dict()}
        write_tensor_file(run.folder / "model.safetensors", tree, header)
    table = build_table(rows, selection=selection, compute=compute)
    if journal is not None:
        journal.evaluation(stage.name, step, stage.epochs, rows, kind="result")
        journal.write("end", stage.name, step, {"selection": selection and asdict(selection), **asdict(compute)})
        write_atomically(run.folder / "report.md", f"# {run.folder.name}\n\n{to_markdown(table)}")
    run.runtime.barrier()
    return RunResult(rows, table, run.folder)


def _total(stages: list[Progress]) -> Compute:
    """Return what all stages cost together."""
    flops = [stage.flops for stage in stages]
    counted = [value for value in flops if value is not None]
    return Compute(
        train_seconds=sum(stage.train_seconds for stage in stages),
        images=sum(stage.images for stage in stages),
        flops=sum(counted) if len(counted) == len(flops) else None,
    )


def load_model(config: ExperimentConfig, folder: Path, *, runtime: Runtime, stage: str | None = None) -> TrainedModel:
    """Return the trained model of a run, or what one of its stages ended with.

    Its input is normalised as in ``model.safetensors``; for a stage of a run that is not finished by its training
    images, which are read for that.

    Args:
        config: of the run.
        folder: the run directory.
        runtime: the device to put it on.
        stage: name of a stage that is finished; ``None`` means the model that the whole run ended with.

    Raises:
        ConfigError: the run has no stage of that name.
        CheckpointError: the run or the stage is not finished, or a file is damaged or of another run.
        DataError: the run is not finished and its pictures are not those that the stage was trained on.
    """
    names = [each.name for each in config.stages]
    if stage is not None and stage not in names:
        raise ConfigError(f"a stage of {folder}", repr(stage), f"name one of {', '.join(names)}")
    end = folder / "model.safetensors"
    path = end if stage is None else Checkpoints(folder / "checkpoints", stage, "").final
    if not path.exists():
        finished = "run" if stage is None else f"stage {stage}"
        raise CheckpointError(f"a finished {finished} in {folder}", f"no {path.name}", f"auxo train --resume {folder}")
    file = read_tensor_file(path)
    task, pipeline = _task_and_pipeline(config, end, path, file)
    backbone = config.backbone.build(task, seed=config.seed, first_weights=False)
    chosen = config.stages[-1 if stage is None else names.index(stage)]
    method = chosen.method.build(backbone, task, seed=config.seed)
    load_weights(method, file.tree["weights"], origin=str(path))
    runtime.prepare(method, backbone=method.backbone)
    return TrainedModel(method.eval(), pipeline.to(runtime.device), task, file.header.get("data", {}), path)


def _task_and_pipeline(config: ExperimentConfig, end: Path, path: Path, file: TensorFile) -> tuple[Task, InputPipeline]:
    """Return the task of a run and what normalises its images.

    Args:
        config: of the run.
        end: the model of the finished run, if there is one.
        path: of the weights that are asked for.
        file: what is there.
    """
    if not end.exists():
        splits = load_splits(config.data, seed=config.seed)
        recorded, fix = file.header.get("data", {}), "put them back, or train anew"
        check_pictures(recorded, splits.digests(), origin=str(path), fix=fix)
        return splits.task(), InputPipeline.from_source(splits.train.source)
    tree, header = file if path == end else read_tensor_file(end)
    if "task" not in header:
        raise CheckpointError(f"a trained model at {end}", "another file of auxo's", "take the one that the run wrote")
    if header.get("run") != file.header.get("run"):
        raise CheckpointError(f"a stage of the run that wrote {end}", f"one of another at {path}", "put its own there")
    listed = {name: tuple(value) for name, value in header["task"].items() if isinstance(value, list)}
    task = Task(**{**header["task"], **listed})
    shape = (task.channels, task.height, task.width)
    pipeline = InputPipeline(torch.zeros(task.channels), torch.ones(task.channels), image_shape=shape)
    load_weights(pipeline, tree["pipeline"], origin=str(end))
    return task, pipeline
