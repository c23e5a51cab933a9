"""A segment of a run trained again in a temporary folder, as a resumed run goes on, and what came of it."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from auxo.backbones import stored_state
from auxo.errors import InterruptedRunError
from auxo.files.atomic import make_folder
from auxo.files.signals import StopRequest
from auxo.runs.checkpoint import Checkpoints
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.journal import Journal
from auxo.runs.records import read_records
from auxo.runs.results import EvaluationRow
from auxo.training.observer import Observer, SilentObserver
from auxo.training.stages import OpenRun, build_trainer, build_untrained, count_steps
from auxo.training.trainer import StageTrainer
from auxo.training.verification.consistency import RECORDS
from auxo.training.verification.differences import NumberedRow
from auxo.training.verification.segments import Segment
from auxo.training.verification.stored import StoredRun


class Replayed(NamedTuple):
    """What a segment came to.

    Args:
        checkpoints: of the temporary folder, with the checkpoint that it ends with.
        rows: of the records.
        first_weights: those that it began with, on the CPU.
    """

    checkpoints: Checkpoints
    rows: list[dict[str, Any]]
    first_weights: Mapping[str, Tensor]


def adapt_config(config: ExperimentConfig) -> ExperimentConfig:
    """Return the config of a run with what a replay needs otherwise: nothing that changes a number or a row."""
    often = replace(config.training, cache=None, tensorboard=False, trackers=(), keep_checkpoints=1, keep_every=0)
    return replace(config, training=often)


def replay_segment(run: OpenRun, stored: StoredRun, segment: Segment, folder: Path) -> Replayed:
    """Train a segment again.

    Where a signal stopped the run within it, which wrote a row at a step that has none else, the replay stops as well.

    Args:
        run: with the config of :func:`adapt_config`, and the folder of the run, which is only read.
        stored: the files of the run.
        segment: of the run.
        folder: a new one, for what is written.

    Raises:
        InterruptedRunError: a signal came.
        AuxoError: the segment cannot be trained here.
    """
    stage = run.stages[segment.stage_number]
    build = build_untrained if segment.start is not None else build_trainer
    trainer = build(run, stage, first_weights=segment.start is None)
    if segment.start is not None:
        trainer.restore(segment.start.path)
    first_weights = {name: tensor.detach().cpu().clone() for name, tensor in stored_state(trainer.method).items()}
    trainer.checkpoints = replace(run.checkpoints(stage), folder=folder / "checkpoints")
    if run.runtime.is_main:
        make_folder(trainer.checkpoints.folder)
        prepared = stored.stages[segment.stage_number].prepared
        if segment.start is not None and prepared is not None:
            trainer.checkpoints.prepared.symlink_to(prepared.resolve())
    run.runtime.barrier()
    with ExitStack() as stack:
        if run.runtime.is_main:
            trainer.journal = stack.enter_context(closing(_open_journal(run, segment, folder)))
        _train_until(trainer, segment.last, stops=_find_stops(trainer, stored, segment), outer=run.stop)
    return Replayed(trainer.checkpoints, list(read_records(folder / RECORDS)), first_weights)


def _open_journal(run: OpenRun, segment: Segment, folder: Path) -> Journal:
    """Return what the records of a replay go to."""
    counts = [count_steps(run, stage) for stage in run.stages[: segment.stage_number]]
    return Journal(
        folder,
        stages=[stage.name for stage in run.stages],
        first_steps=[sum(counts[:index]) for index in range(len(run.stages))],
        position=(segment.stage_number, segment.first),
        tensorboard=False,
    )


def pick_rows(folder: Path, segment: Segment) -> list[NumberedRow]:
    """Return the rows that a run recorded in a segment, with their lines."""
    return [
        NumberedRow(line, row)
        for line, row in enumerate(read_records(folder / RECORDS), start=1)
        if row["kind"] not in ("result", "end")
        and row["stage_number"] == segment.stage_number
        and segment.first < row["step"] <= segment.last
    ]


def _train_until(trainer: StageTrainer, last: int, *, stops: Sequence[int], outer: StopRequest) -> None:
    """Train up to a step, stopping at others on the way as a signal would have it, and where the stage ends early."""
    trainer.stop = StopRequest()
    trainer.observer = _Stopper(trainer.observer, trainer.stop, outer, {*stops, last})
    while trainer.state.step < last and not trainer.has_stopped:
        try:
            trainer.train()
        except InterruptedRunError as error:
            if outer:
                got, fix = f"signal {error.signal_number}", "start it again; the run is as it was"
                raise InterruptedRunError("the replay to end", got, fix, error.signal_number) from error
    if trainer.state.step == last and trainer.has_stopped:  # after the stop above, which came first
        trainer.tell_stop()


def _find_stops(trainer: StageTrainer, stored: StoredRun, segment: Segment) -> list[int]:
    """Return the steps within a segment at which a signal stopped the run: they have a row of losses out of turn."""
    often, each = trainer.config.training, trainer.steps_per_epoch
    return [
        step
        for step in dict.fromkeys(numbered.row["step"] for numbered in pick_rows(stored.folder, segment))
        if step % often.log_every and step % each and (not often.checkpoint_every or step % often.checkpoint_every)
    ]


class _Stopper(SilentObserver):
    """Asks a trainer to stop after certain steps, and tells another observer what it is told.

    Args:
        watched: the other observer.
        stop: what the trainer looks at.
        outer: what a signal sets.
        steps: after which to stop.
    """

    def __init__(self, watched: Observer, stop: StopRequest, outer: StopRequest, steps: set[int]) -> None:
        self._watched, self._stop, self._outer, self._steps = watched, stop, outer, steps

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Ask, where the first step is one to stop after."""
        self._watched.stage_started(stage, step=step, num_steps=min(num_steps, max(self._steps)))
        self._ask_to_stop(step)

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Ask, where the next step is one to stop after."""
        self._watched.step_done(step, images_per_second=images_per_second, losses=losses)
        self._ask_to_stop(step)

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Tell it."""
        self._watched.evaluated(epoch, rows)

    def _ask_to_stop(self, step: int) -> None:
        own = int(signal.SIGTERM) if step + 1 in self._steps else None
        self._stop.signal_number = self._outer.signal_number or own
