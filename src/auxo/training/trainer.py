"""The loop: fetch, update, log, evaluate, save."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from auxo.data import InputPipeline, Splits
from auxo.errors import InterruptedRunError, NonFiniteError
from auxo.evaluation import Reader
from auxo.evaluation.operations import OperationCounter
from auxo.files.signals import StopRequest
from auxo.interfaces import AbstractMethod, Exhibit, Prepared, StepPlan, TrainState
from auxo.random import derive_seed
from auxo.runs.checkpoint import Checkpoints, Progress, load_weights
from auxo.runs.environment import add_environment, describe_environment
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.journal import Journal
from auxo.runs.records import STOP, EarlyStop
from auxo.runs.results import EvaluationRow
from auxo.runtime import Runtime, naming_memory
from auxo.training.average import WeightAverage
from auxo.training.feeds import Feeds
from auxo.training.last_batch import check_last_batch
from auxo.training.meter import Meter
from auxo.training.observer import Observer
from auxo.training.start import begin_stage, has_start
from auxo.training.tuning import FrozenStart, count_parts, name_kind, scale_backbone_rates, update_in_parts
from auxo.types import Batches


class _Due(NamedTuple):
    """What is to be done after a step."""

    ends_epoch: bool
    saves: bool
    stops: bool
    logs: bool


class _Speedometer:
    """Images per second between two looks at the losses: only those wait until a device has done its work."""

    def __init__(self) -> None:
        self._images = 0
        self._seconds = 0.0
        self._latest: float | None = None

    def add(self, images: int, seconds: float, *, has_waited: bool) -> float:
        """Count a step and return the speed up to the last look at the losses; before the first, up to now."""
        self._images += images
        self._seconds += seconds
        speed = self._images / self._seconds
        if has_waited:
            self._latest, self._images, self._seconds = speed, 0, 0.0
        return speed if self._latest is None else self._latest


@dataclass
class StageTrainer:
    """Trains one stage.

    Args:
        config: of the run.
        stage: of the run's stages, the one to train.
        method: on the device, with the weights to start from.
        splits: the data.
        pipeline: turns uint8 batches into network inputs; on the device.
        runtime: device and processes.
        checkpoints: of this stage.
        observer: is told of progress.
        stop: asks to stop between two steps.
        journal: records and TensorBoard; ``None`` in all processes but the main one.
    """

    config: ExperimentConfig
    stage: StageConfig
    method: AbstractMethod
    splits: Splits
    pipeline: InputPipeline
    runtime: Runtime
    checkpoints: Checkpoints
    observer: Observer
    stop: StopRequest
    journal: Journal | None = None

    def __post_init__(self) -> None:
        self.seed = derive_seed(self.config.seed, "stage", self.stage.name)
        self.feeds = Feeds(self.config, self.stage, self.splits, self.pipeline, self.runtime, seed=self.seed)
        self.steps_per_epoch = self.stage.method.steps_per_epoch(self.feeds.passes)
        self.num_steps = self.steps_per_epoch * self.stage.epochs
        optimizers, tuning = self.method.optimizers(), self.stage.tuning
        scale_backbone_rates(self.method, optimizers, tuning)
        self.frozen_start = FrozenStart(self.method, optimizers, tuning.freeze_epochs * self.steps_per_epoch)
        self.step_runtime = replace(self.runtime, max_norm=tuning.clip_norm)
        schedulers = {name: self._build_schedule(name, optimizer) for name, optimizer in optimizers.items()}
        self.state = TrainState(
            optimizers, schedulers, self.seed, num_steps=self.num_steps, steps_per_epoch=self.steps_per_epoch
        )
        self.average = WeightAverage(self.method, tuning.ema_decay, self.state.averaged) if tuning.ema_decay else None
        self.progress = Progress()

    @property
    def reader(self) -> Reader:
        """Runs the method as it is now."""
        return Reader(
            method=self.method,
            pipeline=self.pipeline,
            runtime=self.runtime,
            batch_size=self.config.training.eval_batch_size,
            workers=self.config.data.workers,
        )

    def check_selection(self) -> None:
        """Refuse a rule of selection that the validation set cannot follow; one pass over it where one is to be used.

        Raises:
            SelectionError: no head predicts.
            ConfigError: there is no such head or measure.
        """
        if self.stage.selection.keeps_best:
            self.stage.selection.check(self.measure_validation(), split=self.splits.val.name)

    def check_last_batch(self) -> None:
        """Refuse a last batch of one image that the method cannot take; one that prepares something is asked after it.

        Raises:
            ConfigError: batch norm would stop at it.
        """
        if not has_start(self.method):
            check_last_batch(self.method, self.state, self.feeds, self.runtime)

    def measure_validation(self) -> list[EvaluationRow]:
        """Return the rows of the validation set, with what the rule of selection tests."""
        val, reader = self.splits.val, self.reader
        with self._measured_weights():
            return self.stage.selection.add_test(reader.evaluate(val), self.method, reader.images(val))

    def _measured_weights(self) -> AbstractContextManager[None]:
        """Return the block in which the method has the weights that are measured and saved as a model."""
        return nullcontext() if self.average is None else self.average.stand_in()

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        self.progress = self.checkpoints.restore(path, self.method, self.state)

    def train(self) -> Progress:
        """Train to the end of the stage and leave the selected weights in the method.

        Raises:
            NonFiniteError: a loss or a weight stopped being a number.
            InterruptedRunError: a signal came; the state is saved.
        """
        self.observer.stage_started(self.stage.name, step=self.state.step, num_steps=self.num_steps)
        self._begin_stage()
        add_environment(self.progress.environments, self.state.step, describe_environment(self.runtime))
        meter, speedometer = Meter(self.runtime, first_step=self.state.step + 1), _Speedometer()
        self.feeds.open(self.state.step, self.num_steps)
        self.method.train()
        if self.average is not None:
            self.average.begin()
        while self.state.step < self.num_steps and not self.has_stopped:
            started = time.perf_counter()
            plan = self.feeds.plan(self.state.step)
            batches, images = self.feeds.read(plan)
            with self._naming_memory():
                self._take_step(batches, plan, meter)
            due = self._find_due()
            losses = meter.flush(last_good=self._last_good()) if due.logs else {}
            seconds = time.perf_counter() - started
            self.progress.train_seconds += seconds
            self.progress.images += images
            self._after_step(due, plan, losses, speedometer.add(images, seconds, has_waited=due.logs))
        self.frozen_start.release()
        if self.has_stopped:
            self.tell_stop()
        if self.average is not None:
            self.average.take_over()
        if self.stage.selection.keeps_best:
            self.runtime.barrier()
            best = self.checkpoints.best
            load_weights(self.method, self.checkpoints.read_weights(best), origin=str(best))
        return self.progress

    def update_method(self, batches: Batches) -> object:
        """Let the method take a step on the batch, whole or in parts; the meter checks what comes back."""
        count = count_parts(batches, self.feeds.sizes, self.stage.tuning.accumulate)
        return update_in_parts(self.method, self.state, batches, self.step_runtime, count=count)

    @property
    def has_stopped(self) -> bool:
        """Whether the validation set has been no better for as many evaluations as the stage waits."""
        best, patience = self.progress.best, self.stage.tuning.patience
        epoch, place = divmod(self.state.step, self.steps_per_epoch)
        if best is None or not patience or place or self.state.step == self.num_steps:
            return False
        return (epoch - best.epoch) // self.config.training.evaluate_every >= patience

    def tell_stop(self) -> None:
        """Say that the stage ends early, in the records and to the user."""
        stop = EarlyStop(self.stage.name, self.state.step // self.steps_per_epoch, self.stage.epochs)
        self.observer.noted(stop.describe())
        if self.journal is not None:
            self.journal.write(STOP, self.stage.name, self.state.step, {"epoch": stop.epoch, "epochs": stop.epochs})

    def take_prepared(self, prepared: Prepared) -> None:
        """Let every step see what the method has made before the first."""
        self.state.prepared = {name: tensor.to(self.runtime.device) for name, tensor in prepared.tensors.items()}
        self.feeds.add_targets(prepared)

    def exhibits(self) -> Sequence[Exhibit]:
        """Return what the method shows of itself with its present weights, on images that do not judge."""
        return self.method.exhibits(
            {split.name: self.reader.images(split) for split in (self.splits.train, self.splits.val)}
        )

    def _begin_stage(self) -> None:
        """Let the method begin the stage, or read what it made of the images when the stage began."""
        if not has_start(self.method):
            return
        if self.runtime.any(not self.checkpoints.prepared.exists()):
            cache = self.config.training.cache
            start = begin_stage(
                self.reader, self.splits, seed=self.seed, cache=None if cache is None else Path(cache).expanduser()
            )
            for note in start.notes:
                self.observer.noted(note)
            self.progress.start_seconds, self.progress.start_flops = start.seconds, start.flops
            if self.runtime.is_main:
                self.checkpoints.save_prepared(start.prepared, self.progress)
            self.runtime.barrier()
        self.take_prepared(
            self.checkpoints.read_prepared(self.progress)
        )  # the same in every process, and when it is resumed
        check_last_batch(self.method, self.state, self.feeds, self.runtime)

    def _build_schedule(self, name: str, optimizer: Optimizer) -> LRScheduler:
        """Return the learning rate of an optimiser over the steps that it takes."""
        plans = [self.feeds.plan(step) for step in range(self.steps_per_epoch)]
        count = sum(plan.optimizers is None or name in plan.optimizers for plan in plans)
        config = self.stage.method.schedule(name)
        return config.build_schedule(optimizer, num_epochs=self.stage.epochs, steps_per_epoch=count)

    def _take_step(self, batches: Batches, plan: StepPlan, meter: Meter) -> None:
        """Do one update. Layers that draw from the global generator see numbers that follow from the step."""
        torch.manual_seed(derive_seed(self.seed, "layers", self.state.step, self.runtime.rank))
        progress, self.state.kind = self.progress, plan.kind
        kind = name_kind(plan.kind, is_frozen=self.frozen_start.hold(self.state.step))
        counter = OperationCounter()
        is_counted = kind not in progress.flops_per_step and not self.config.runtime.compile
        with counter if is_counted else nullcontext():
            metrics = self.update_method(batches)
        meter.add(metrics, kind=kind)
        if is_counted:
            progress.flops_per_step[kind] = counter.get_total_flops() * self.runtime.num_processes
        progress.steps[kind] = progress.steps.get(kind, 0) + 1
        self._average_buffers()
        if self.average is not None:
            self.average.follow(self.state.step)
        self.state.step += 1

    def _naming_memory(self) -> AbstractContextManager[None]:
        """Say how large a step was where memory runs out in it."""
        _, height, width = self.splits.train.source.image_shape  # not the task's, which counts all classes anew
        size, fix = self.stage.batch_size, "pass a smaller --batch-size or --data.image-size"
        return naming_memory(f"a step on {size} images of {width}x{height} pixels", fix=fix)

    def _average_buffers(self) -> None:
        """Give all processes the mean of their running statistics where batch norm is not synchronised.

        Evaluation, checkpoint and model are then of one network, whichever process measures or writes.
        """
        if self.runtime.num_processes == 1 or self.config.runtime.sync_batch_norm:
            return
        buffers = [buffer for buffer in self.method.buffers() if buffer.is_floating_point()]
        for buffer, mean in zip(buffers, self.runtime.mean(buffers), strict=True):
            if mean is not None:
                buffer.copy_(mean)

    def _find_due(self) -> _Due:
        """Return what is to be done after the step that was just taken."""
        step, every = self.state.step, self.config.training.checkpoint_every
        ends_epoch = step % self.steps_per_epoch == 0
        saves = step == self.num_steps or (ends_epoch if every == 0 else step % every == 0)
        saves = saves or self.checkpoints.stays(step, steps_per_epoch=self.steps_per_epoch)
        stops = self.runtime.any(bool(self.stop))
        logs = step % self.config.training.log_every == 0 or ends_epoch or saves or stops
        return _Due(ends_epoch, saves or stops, stops, logs)

    def _after_step(self, due: _Due, plan: StepPlan, losses: dict[str, float], images_per_second: float) -> None:
        """Log, evaluate, save and stop where it is time to."""
        step = self.state.step
        if due.logs:
            self._write_losses(losses, images_per_second)
        self.observer.step_done(step, images_per_second=images_per_second, losses=losses)
        for name, scheduler in self.state.schedulers.items():
            if plan.optimizers is None or name in plan.optimizers:
                scheduler.step()
        if due.ends_epoch:
            self._end_epoch(step // self.steps_per_epoch)
        if due.saves:
            self._save_checkpoint()
        if due.stops:
            number = self.stop.signal_number or 15
            expected = f"step {self.num_steps} of stage {self.stage.name}"
            got = f"signal {number} at step {step}; the state is saved"
            fix = f"go on with auxo train --resume {self.checkpoints.folder.parent}"
            raise InterruptedRunError(expected, got, fix, number)

    def _end_epoch(self, epoch: int) -> None:
        """Evaluate on the validation set when it is time to."""
        if epoch % self.config.training.evaluate_every and epoch < self.stage.epochs:
            return
        rows = self.measure_validation()
        if self.journal is not None:
            self.journal.evaluation(self.stage.name, self.state.step, epoch, rows)
        self.observer.evaluated(epoch, rows)
        rule, previous = self.stage.selection, self.progress.best
        if not rule.keeps_best:
            return
        self.progress.best = rule.select(self.splits.val, rows, previous, step=self.state.step, epoch=epoch)
        if self.progress.best is not previous and self.runtime.is_main:
            with self._measured_weights():
                self.checkpoints.save_weights(self.checkpoints.best, self.method, self.progress)

    def _write_losses(self, losses: dict[str, float], images_per_second: float) -> None:
        """Write a row of losses and learning rates."""
        if self.journal is None:
            return
        rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.state.optimizers.items()}
        epoch = self.state.step / self.steps_per_epoch
        self.journal.losses(self.stage.name, self.state.step, epoch, losses, rates, images_per_second)

    def _save_checkpoint(self) -> None:
        """Write a checkpoint in the main process, unless the last update spoiled the weights."""
        spoiled = [name for name, tensor in self.method.state_dict().items() if not tensor.isfinite().all()]
        if spoiled:
            got = f"others in {spoiled[0]} after step {self.state.step}"
            raise NonFiniteError("finite weights", got, f"lower the learning rate; {self._last_good()}")
        if self.journal is not None:  # first the rows, so that a power cut cannot take those that the checkpoint counts
            self.progress.num_rows = self.journal.sync()
        if self.runtime.is_main:
            self.checkpoints.save(self.method, self.state, self.progress)
        self.runtime.barrier()

    def _last_good(self) -> str:
        """Say what a user can go back to."""
        saved = self.checkpoints.saved()
        return f"the last good checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
