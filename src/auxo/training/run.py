"""A whole run: every stage in order, then the judgement on data the model never saw."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import auxo
from auxo.backbones import stored_state
from auxo.data import Splits
from auxo.data.digests import SplitDigests
from auxo.evaluation import Reader, Table, build_table, to_markdown
from auxo.files.atomic import make_folder, write_atomically
from auxo.files.lock import locked_folder
from auxo.files.signals import StopRequest, stop_on_signal
from auxo.files.temporary import remove_temporaries
from auxo.files.tensor_file import write_tensor_file
from auxo.runs.adapted import require_trained
from auxo.runs.checkpoint import step_of
from auxo.runs.exhibits import write_exhibits
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.history import RunHistory
from auxo.runs.inputs import build_pipeline
from auxo.runs.journal import Journal
from auxo.runs.model import splits_of
from auxo.runs.networks import read_networks, record_columns, write_networks
from auxo.runs.records import EXTENSION
from auxo.runs.results import Compute, EvaluationRow
from auxo.runs.trackers import check_trackers, open_trackers
from auxo.runtime import Runtime
from auxo.training.observer import Observer, SilentObserver
from auxo.training.stages import OpenRun, build_trainer, build_untrained, count_steps
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
    require_trained(folder, "to go on with")
    if splits is None:
        with runtime.main_first():
            splits = splits_of(config)
    for note in splits.notes:
        observer.noted(note)
    pipeline, data = build_pipeline(config, splits).to(runtime.device), splits.digests()
    with stop_on_signal() as stop:
        kept = read_networks(folder)
        run = OpenRun(config, document, digest, folder, splits, data, pipeline, runtime, observer, stop, kept)
        return _train_stages(run)


def _train_stages(run: OpenRun) -> RunResult:
    """Train the stages in order and measure the last one's weights."""
    stages, runtime = run.stages, run.runtime
    with ExitStack() as stack:
        is_new = not run.folder.exists()
        if runtime.is_main and not is_new:
            stack.enter_context(locked_folder(run.folder))
        runtime.barrier()
        number, start = _find_position(run)
        trainer = build_trainer(run, stages[number], first_weights=start is None)
        if start is not None:
            trainer.restore(start)
        num_steps = [count_steps(run, stage) for stage in stages]
        for index, stage in enumerate(stages[number:]):  # refuse a later stage before an earlier one is trained
            each = build_untrained(run, stage, first_weights=True) if index else trainer
            each.check_selection()
            each.check_last_batch()
        runtime.barrier()
        journal = None
        if runtime.is_main:
            if is_new:
                stack.enter_context(locked_folder(run.folder))
            num_rows = trainer.progress.num_rows
            if start is None and number > 0:  # no checkpoint of this stage yet: the one before counted the rows
                num_rows = run.checkpoints(stages[number - 1]).final_progress().num_rows
            journal = stack.enter_context(closing(_open_folder(run, number, start, num_steps, num_rows=num_rows)))
            _note_extension(journal, trainer, RunHistory.read(run.folder))
            if start is not None:  # a process that was killed had perhaps not come to it
                trainer.checkpoints.delete_old(steps_per_epoch=trainer.steps_per_epoch)
        for index, stage in enumerate(stages[number:], start=number):
            if index > number:
                trainer = build_trainer(run, stage)
            trainer.journal = journal
            progress = trainer.train()
            exhibits = trainer.exhibits()
            if runtime.is_main:
                write_exhibits(run.folder, stage.name, exhibits)
                progress.num_rows = None if journal is None else journal.sync()
                trainer.checkpoints.save_weights(trainer.checkpoints.final, trainer.method, progress)
            runtime.barrier()
        return _finish_run(run, trainer, journal)


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
    run = OpenRun(config, "", "", Path(), splits, SplitDigests({}), pipeline, runtime, SilentObserver(), StopRequest())
    for stage in run.stages:
        yield build_untrained(run, stage, first_weights=True)


def _find_position(run: OpenRun) -> tuple[int, Path | None]:
    """Return the number of the first stage to train and the checkpoint to begin it from."""
    for number, stage in enumerate(run.stages):
        checkpoints = run.checkpoints(stage)
        is_last = number == len(run.stages) - 1
        if is_last or not checkpoints.final.exists():
            saved = checkpoints.saved()
            return number, saved[-1] if saved else None
    raise AssertionError("a run has at least one stage")


def _open_folder(
    run: OpenRun, number: int, start: Path | None, num_steps: list[int], *, num_rows: int | None
) -> Journal:
    """Make the run directory, write the config, and open records and curves where the run goes on."""
    training = run.config.training
    check_trackers(training.trackers)
    remove_temporaries(make_folder(run.folder))
    if not (run.folder / "config.json").exists():
        write_atomically(run.folder / "config.json", run.document)  # first: what has it can be gone on with
    remove_temporaries(make_folder(run.checkpoint_folder))
    write_networks(run.folder, run.networks)
    step = step_of(start) if start is not None else 0
    return Journal(
        run.folder,
        stages=[stage.name for stage in run.stages],
        first_steps=[sum(num_steps[:i]) for i in range(len(num_steps))],
        position=(number, step),
        num_rows=num_rows,
        tensorboard=training.tensorboard,
        trackers=open_trackers(
            training.trackers,
            folder=run.folder,
            document=run.document,
            project=training.trackers_project,
            is_offline=training.trackers_offline,
        ),
    )


def _note_extension(journal: Journal, trainer: StageTrainer, history: RunHistory) -> None:
    """Write a record where a finished run goes on for more epochs."""
    for each in history.extensions:
        if (each.stage, each.step) == (trainer.stage.name, trainer.state.step):
            journal.write(EXTENSION, each.stage, each.step, {"epoch": each.before, "epochs": each.epochs})


def measure_sets(reader: Reader, stage: StageConfig, splits: Splits) -> list[EvaluationRow]:
    """Return what the final weights achieve on every set that a run is judged on.

    Args:
        reader: of the method of the last stage.
        stage: that one.
        splits: of the run.
    """
    rows: list[EvaluationRow] = []
    for split in splits.evaluation():
        found = reader.evaluate(split)
        rows += stage.selection.add_test(found, reader.method, reader.images(split)) if split is splits.val else found
    return rows


def _finish_run(run: OpenRun, trainer: StageTrainer, journal: Journal | None) -> RunResult:
    """Measure the final weights on every split, and write the model and the table."""
    stage, method, step = run.stages[-1], trainer.method, trainer.state.step
    stages = [run.checkpoints(each).final_progress() for each in run.stages]
    selection = stages[-1].best if stage.selection.keeps_best else None
    compute = Compute.total([each.compute for each in stages])
    rows = measure_sets(trainer.reader, stage, run.splits)
    table = build_table(rows, selection=selection, compute=compute)
    if journal is not None:  # the model first: nothing after it can lose what was trained
        known = {"task": run.splits.task().to_record(), "columns": record_columns(run.splits.columns())}
        resized = run.config.data.is_resized or run.splits.was_resized
        header = {
            "auxo": auxo.__version__,
            "run": run.digest,
            "data": run.data,
            "judged": run.data.judged,
            **known,
            "resized": resized,
        }
        tree = {"weights": stored_state(method), "pipeline": run.pipeline.state_dict()}
        write_tensor_file(run.folder / "model.safetensors", tree, header)
        notes = RunHistory.read(run.folder).describe_course()
        write_atomically(run.folder / "report.md", f"# {run.folder.name}\n\n{to_markdown(table, notes=notes)}")
        # The end last: a comparison or a sweep does not come back to a run that says that it is finished.
        journal.evaluation(stage.name, step, step // trainer.steps_per_epoch, rows, kind="result")
        journal.write("end", stage.name, step, {"selection": selection and asdict(selection), **asdict(compute)})
        journal.sync()
    run.runtime.barrier()
    return RunResult(rows, table, run.folder)
