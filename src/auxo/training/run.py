"""A whole run: every stage in order, then the judgement on data the model never saw."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

import auxo
from auxo.backbones import stored_state
from auxo.data import InputPipeline, Splits
from auxo.errors import CheckpointError, OptionError
from auxo.evaluation import Reader, Table, build_table, to_markdown
from auxo.files.atomic import make_folder, write_atomically
from auxo.files.lock import locked_folder
from auxo.files.signals import StopRequest, stop_on_signal
from auxo.files.temporary import remove_temporaries
from auxo.files.tensor_file import write_tensor_file
from auxo.interfaces import AbstractMethod, ImagePretextModule
from auxo.runs.checkpoint import Checkpoints, load_matching, load_part
from auxo.runs.exhibits import write_exhibits
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.inputs import build_pipeline
from auxo.runs.journal import Journal
from auxo.runs.model import splits_of
from auxo.runs.networks import Kept, Networks, read_networks, record_columns, write_networks
from auxo.runs.results import Compute, EvaluationRow
from auxo.runtime import Runtime
from auxo.training.observer import Observer, SilentObserver
from auxo.training.trainer import StageTrainer


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
    networks: dict[str, Kept] = field(default_factory=dict)
    """Frozen networks of its stages, by name; read once."""

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """What is trained, in order."""
        return self.config.trained_stages

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
    on with from its newest checkpoint, to the same bits; it is refused if its train, meta, unlabelled or val images
    have changed.

    Args:
        config: the run.
        document: what ``config.json`` is to hold, from :func:`auxo.runs.document.to_json`.
        digest: of the config, from :func:`auxo.runs.document.config_digest`; guards against foreign checkpoints.
        folder: the run directory; made if missing.
        runtime: device and processes.
        observer: is told of progress.
        splits: the data of ``config.data`` and ``config.seed``, if they are at hand already.

    Raises:
        AuxoError: bad input, a full disk, a damaged checkpoint, a loss that is not finite, or a signal.
    """
    if splits is None:
        with runtime.main_first():
            splits = splits_of(config)
    for note in splits.notes:
        observer.noted(note)
    pipeline, data = build_pipeline(config, splits).to(runtime.device), splits.digests()
    with stop_on_signal() as stop:
        kept = read_networks(folder)
        run = _Run(config, document, digest, folder, splits, data, pipeline, runtime, observer, stop, kept)
        return _train_stages(run)


def _train_stages(run: _Run) -> RunResult:
    """Train the stages in order and measure the last one's weights."""
    stages, runtime = run.stages, run.runtime
    with ExitStack() as stack:
        is_new = not run.folder.exists()
        if runtime.is_main and not is_new:
            stack.enter_context(locked_folder(run.folder))
        runtime.barrier()
        number, start = _find_position(run)
        trainer = _stage_trainer(run, stages[number], first_weights=start is None)
        if start is not None:
            trainer.restore(start)
        num_steps = []
        for index, stage in enumerate(stages):  # refuse a later stage before an earlier one is trained
            each = trainer if index == number else _build_untrained(run, stage, first_weights=index > number)
            if index >= number:
                each.check_selection()
                each.check_last_batch()
            num_steps.append(each.num_steps)
        runtime.barrier()
        journal = None
        if runtime.is_main:
            if is_new:
                stack.enter_context(locked_folder(run.folder))
            num_rows = trainer.progress.num_rows
            if start is None and number > 0:  # no checkpoint of this stage yet: the one before counted the rows
                num_rows = run.checkpoints(stages[number - 1]).final_progress().num_rows
            journal = stack.enter_context(closing(_open_folder(run, number, start, num_steps, num_rows=num_rows)))
        for index, stage in enumerate(stages[number:], start=number):
            if index > number:
                trainer = _stage_trainer(run, stage)
            trainer.journal = journal
            progress = trainer.train()
            exhibits = trainer.exhibits()
            if runtime.is_main:
                write_exhibits(run.folder, stage.name, exhibits)
                progress.num_rows = None if journal is None else journal.sync()
                trainer.checkpoints.save_weights(trainer.checkpoints.final, trainer.method, progress)
            runtime.barrier()
        return _finish_run(run, trainer.method, trainer.num_steps, journal)


def untrained_stages(config: ExperimentConfig, *, splits: Splits, runtime: Runtime) -> Iterator[StageTrainer]:
    """Yield a trainer of each stage, all with first weights; nothing is written.

    Args:
        config: the run.
        splits: the data of ``config.data`` and ``config.seed``.
        runtime: device and processes.

    Raises:
        AuxoError: a stage cannot take the data.
    """
    pipeline = build_pipeline(config, splits).to(runtime.device)
    run = _Run(config, "", "", Path(), splits, {}, pipeline, runtime, SilentObserver(), StopRequest())
    for stage in run.stages:
        yield _build_untrained(run, stage, first_weights=True)


def _find_position(run: _Run) -> tuple[int, Path | None]:
    """Return the number of the first stage to train and the checkpoint to begin it from."""
    for number, stage in enumerate(run.stages):
        checkpoints = run.checkpoints(stage)
        is_last = number == len(run.stages) - 1
        if is_last or not checkpoints.final.exists():
            saved = checkpoints.saved()
            return number, saved[-1] if saved else None
    raise AssertionError("a run has at least one stage")


def _open_folder(run: _Run, number: int, start: Path | None, num_steps: list[int], *, num_rows: int | None) -> Journal:
    """Make the run directory, write the config, and open records and curves where the run goes on."""
    remove_temporaries(make_folder(run.folder))
    if not (run.folder / "config.json").exists():
        write_atomically(run.folder / "config.json", run.document)  # first: what has it can be gone on with
    remove_temporaries(make_folder(run.checkpoint_folder))
    write_networks(run.folder, run.networks)
    step = int(start.stem.rpartition("-")[2]) if start is not None else 0
    return Journal(
        run.folder,
        stages=[stage.name for stage in run.stages],
        first_steps=[sum(num_steps[:i]) for i in range(len(num_steps))],
        position=(number, step),
        num_rows=num_rows,
        tensorboard=run.config.training.tensorboard,
    )


def _stage_trainer(run: _Run, stage: StageConfig, *, first_weights: bool = True) -> StageTrainer:
    """Build the method of a stage on the device, with the weights it starts from."""
    trainer = _build_untrained(run, stage, first_weights=first_weights)
    for name in stage.sources:
        checkpoints = run.checkpoints(next(other for other in run.stages if other.name == name))
        weights, origin = checkpoints.read_weights(checkpoints.final), str(checkpoints.final)
        transfers = [transfer for transfer in stage.transfers if transfer.stage == name]
        for transfer in transfers:
            load_part(trainer.method, weights, part=transfer.part, to=transfer.to, origin=origin)
        if not transfers and not load_matching(trainer.method, weights, origin=origin):
            fix = "use one backbone for both stages"
            raise CheckpointError(f"weights that fit stage {stage.name}", f"none in {origin}", fix)
    return trainer


def _build_untrained(run: _Run, stage: StageConfig, *, first_weights: bool) -> StageTrainer:
    """Build the method of a stage on the device with its first weights, refusing data that it cannot take."""
    task = run.splits.task()
    stage.method.check_task(type(task))
    networks = Networks(
        run.config.backbone,
        task,
        seed=run.config.seed,
        given=run.pipeline.normalisation,
        first_weights=first_weights,
        kept=run.networks,
        columns=run.splits.columns(),
    )
    try:
        method = stage.method.build(networks)
    except OptionError as error:  # an option that does not fit the network or the data: say which, with its whole path
        raise error.under(*([stage.name] if len(run.stages) > 1 else []), "method") from error
    run.networks.update(networks.loaded)
    pretexts = [head.pretext for head in method.pretext_heads().values()]
    pretexts += [module.pretext for module in method.modules() if isinstance(module, ImagePretextModule)]
    for pretext in pretexts:
        pretext.make_all(torch.zeros(1, *task.image_shape))
    run.runtime.prepare(method, networks=method.networks)
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


def _finish_run(run: _Run, method: AbstractMethod, step: int, journal: Journal | None) -> RunResult:
    """Measure the final weights on every split, and write the model and the table."""
    stage = run.stages[-1]
    stages = [run.checkpoints(each).final_progress() for each in run.stages]
    selection = stages[-1].best if stage.selection.keeps_best else None
    compute = Compute.total([each.compute for each in stages])
    rows: list[EvaluationRow] = []
    reader = Reader(
        method=method,
        pipeline=run.pipeline,
        runtime=run.runtime,
        batch_size=run.config.training.eval_batch_size,
        workers=run.config.data.workers,
    )
    for split in run.splits.evaluation():
        found = reader.evaluate(split)
        rows += stage.selection.add_test(found, method, reader.images(split)) if split is run.splits.val else found
    if journal is not None:  # the model first: nothing after it can lose what was trained
        known = {"task": run.splits.task().to_record(), "columns": record_columns(run.splits.columns())}
        header = {"auxo": auxo.__version__, "run": run.digest, "data": run.data, **known}
        tree = {"weights": stored_state(method), "pipeline": run.pipeline.state_dict()}
        write_tensor_file(run.folder / "model.safetensors", tree, header)
    table = build_table(rows, selection=selection, compute=compute)
    if journal is not None:
        journal.evaluation(stage.name, step, stage.epochs, rows, kind="result")
        journal.write("end", stage.name, step, {"selection": selection and asdict(selection), **asdict(compute)})
        journal.sync()
        write_atomically(run.folder / "report.md", f"# {run.folder.name}\n\n{to_markdown(table)}")
    run.runtime.barrier()
    return RunResult(rows, table, run.folder)
