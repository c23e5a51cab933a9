"""A run held against its own config: what its files say of each other, and parts of it trained and measured again."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from auxo.data import Splits
from auxo.errors import AuxoError, CheckpointError, ConfigError, DataError, NonFiniteError
from auxo.files.signals import stop_on_signal
from auxo.options import Options, Range
from auxo.runs.checkpoint import check_images
from auxo.runs.document import config_digest
from auxo.runs.environment import describe_environment
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.inputs import build_pipeline
from auxo.runs.model import splits_of
from auxo.runs.networks import read_networks
from auxo.runtime import Runtime
from auxo.training.observer import Observer
from auxo.training.stages import OpenRun
from auxo.training.verification.consistency import (
    RECORDS,
    check_choice,
    check_ends,
    check_exports,
    check_results,
    check_rows,
)
from auxo.training.verification.findings import Finding, Status
from auxo.training.verification.judge import Surroundings, judge_results, judge_segment
from auxo.training.verification.replay import adapt_config, replay_segment
from auxo.training.verification.segments import Segment, Share, draw_segments, list_segments, measure_share
from auxo.training.verification.stored import StoredRun

Report = Callable[[Finding], None]
_NOT_TRAINABLE = (CheckpointError, ConfigError, DataError, NonFiniteError)


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(Options):
    """How much of a run is done again."""

    share: Annotated[float, Range(low=0, high=1)] = 0.1
    """Part of the training time to replay, in segments drawn at random; 1 replays all of the run, 0 nothing. At least
    one segment is replayed unless it is 0."""
    segments: tuple[int, ...] = ()
    """Instead of a draw: numbers of the segments to replay."""
    seed: Annotated[int | None, Range(low=0)] = None
    """Of the draw; by default another each time, which is told: nobody knows beforehand what will be replayed."""
    evaluate: bool = True
    """Measure the final weights on the run's own sets again."""


@dataclass(frozen=True)
class Verification:
    """What became of a verification.

    Args:
        findings: all of them, in order.
        share: how much was replayed; ``None`` where nothing could be.
        seed: of the draw; ``None`` where segments were named.
    """

    findings: tuple[Finding, ...]
    share: Share | None
    seed: int | None

    @property
    def verdict(self) -> Literal["equal", "differs", "undecided"]:
        """The worst of the findings."""
        statuses = {finding.status for finding in self.findings}
        return "differs" if "differs" in statuses else "undecided" if "undecided" in statuses else "equal"


def verify_run(
    config: ExperimentConfig,
    stored: StoredRun,
    *,
    runtime: Runtime,
    how: VerifyConfig,
    observer: Observer,
    report: Report,
) -> Verification:
    """Compare a run directory with itself and with what comes out when parts of it are trained and measured again.

    The directory is only read; what is written goes into a temporary folder, which is deleted.

    Args:
        config: of the run.
        stored: what is in the run directory, of a run that is finished or not.
        runtime: device and processes, as the run had them where numbers are to be equal to the bit.
        how: how much is done again.
        observer: is told of the progress of replays.
        report: is told each finding when it is made.

    Raises:
        ConfigError: a segment is named that the run does not have.
        OutputError: the temporary folder cannot be written.
        InterruptedRunError: a signal came.
    """
    desk = _Desk(config, stored, runtime, how, observer, report)
    desk.check_files()
    if not stored.data:
        desk.add(Finding("undecided", "replay", "no whole file of this config that could be replayed to"))
        return desk.conclude()
    splits = desk.read_splits()
    if splits is None:
        return desk.conclude()
    desk.check_choice(splits)
    with stop_on_signal() as stop:
        config = adapt_config(config)
        pipeline = build_pipeline(config, splits).to(runtime.device)
        digest, kept = config_digest(desk.config), read_networks(stored.folder)
        data = splits.digests()
        run = OpenRun(config, "", digest, stored.folder, splits, data, pipeline, runtime, observer, stop, kept)
        desk.check_environment()
        desk.replay_segments(run)
    if how.evaluate and stored.model is not None:
        desk.measure_results(run)
    return desk.conclude()


@dataclass
class _Desk:
    """Where a verification is done: its arguments, see :func:`verify_run`, and what it knows so far."""

    config: ExperimentConfig
    stored: StoredRun
    runtime: Runtime
    how: VerifyConfig
    observer: Observer
    report: Report
    findings: list[Finding] = field(default_factory=list)
    share: Share | None = None
    seed: int | None = None
    history: RunHistory | None = None

    def add(self, finding: Finding) -> None:
        """Keep a finding and report it."""
        self.findings.append(finding)
        self.report(finding)

    def conclude(self) -> Verification:
        """Return what was found."""
        return Verification(tuple(self.findings), self.share, self.seed)

    def check_files(self) -> None:
        """Hold files against each other."""
        for finding in self.stored.findings:
            self.add(finding)
        rows = list(check_rows(self.stored))
        ends = [*check_ends(self.config, self.stored), *check_exports(self.stored)]
        for finding in (*rows, *ends):
            self.add(finding)
        try:
            self.history = RunHistory.read(self.stored.folder)
            for finding in check_results(self.config, self.stored, self.history):
                self.add(finding)
        except CheckpointError as error:  # of rows; those that cannot be read were told above
            if all(finding.status == "equal" for finding in rows):
                self.add(Finding("differs", RECORDS, _tell_error(error)))

    def read_splits(self) -> Splits | None:
        """Return the images of the run; ``None`` if they are not here, or others, which is told."""
        try:
            with self.runtime.main_first():
                splits = splits_of(self.config)
        except AuxoError as error:
            self.add(Finding("undecided", "data", f"cannot be read here, so nothing is replayed: {error}"))
            return None
        try:
            check_images(self.stored.data, splits.digests(), origin="the run", fix="put them back")
        except DataError as error:
            self.add(Finding("undecided", "data", f"others than recorded, so nothing is replayed: {error}"))
            return None
        counts = f"{len(splits.train.source):,} training images and {len(splits.val.source):,} to validate"
        self.add(Finding("equal", "data", f"{counts}, with the others that are learned from, as recorded"))
        return splits

    def check_choice(self, splits: Splits) -> None:
        """Hold the choice of weights against the records."""
        if self.history is not None:
            for finding in check_choice(self.config, self.stored, self.history, splits.val):
                self.add(finding)

    def check_environment(self) -> None:
        """Say whether numbers of the newest weights can come out equal to the bit here."""
        reached = [(stage, stage.newest) for stage in self.stored.stages if stage.newest is not None]
        if reached:
            stage, newest = reached[-1]
            last = newest.step or (stage.saved[-1].step if stage.saved else None) or 0
            surroundings = Surroundings.of(self.runtime, stage, first=last, last=last)
            here = ", ".join(f"{name} {value}" for name, value in describe_environment(self.runtime).items())
            told = surroundings.text or f"as recorded: {here}"
            self.add(Finding("noted" if surroundings.reasons else "equal", "environment", told))

    def replay_segments(self, run: OpenRun) -> None:
        """Train segments again."""
        extensions = RunHistory.read(self.stored.folder).extensions
        for each in extensions:
            told = f"{each.describe()}: what was trained before is not replayed"
            self.add(Finding("noted", "replay", told))
        segments = list_segments(self.stored, extended={each.stage: each.step for each in extensions})
        chosen = self._choose_segments(segments)
        self.share = measure_share(chosen, segments)
        if not segments:
            self.add(Finding("undecided", "replay", "no checkpoint that could be replayed to"))
            return
        drawn = "" if self.seed is None else f", drawn by --seed {self.seed}"
        self.add(Finding("noted", "replay", f"{self.share.describe()}{drawn}"))
        with _shared_folder(self.runtime) as place:
            for segment in chosen:
                self.add(self._replay_segment(run, segment, place / str(segment.number)))

    def measure_results(self, run: OpenRun) -> None:
        """Measure the final weights again."""
        try:
            for finding in judge_results(run, self.stored):
                self.add(finding)
        except _NOT_TRAINABLE as error:
            status: Status = "differs" if isinstance(error, NonFiniteError) else "undecided"
            self.add(Finding(status, "results", f"not measured: {error}"))

    def _choose_segments(self, segments: list[Segment]) -> list[Segment]:
        """Return the segments to replay."""
        how = self.how
        if how.segments:
            unknown = [number for number in how.segments if not 1 <= number <= len(segments)]
            if unknown:
                fix = "name some of them"
                raise ConfigError(f"--segments of 1 to {len(segments)}", str(unknown[0]), fix)
            return [segments[number - 1] for number in sorted(set(how.segments))]
        if how.share == 0:
            return []
        own = secrets.randbelow(2**31) if how.seed is None else how.seed
        self.seed = self.runtime.sum_count(own if self.runtime.is_main else 0)
        return draw_segments(segments, share=how.share, seed=self.seed)

    def _replay_segment(self, run: OpenRun, segment: Segment, folder: Path) -> Finding:
        """Train a segment again and return what came of it."""
        stage = self.stored.stages[segment.stage_number]
        surroundings = Surroundings.of(run.runtime, stage, first=segment.first, last=segment.last)
        try:
            replayed = replay_segment(run, self.stored, segment, folder)
        except _NOT_TRAINABLE as error:
            is_spoiled = isinstance(error, NonFiniteError) and not surroundings.reasons
            return Finding("differs" if is_spoiled else "undecided", segment.title, f"not replayed: {error}")
        if not run.runtime.is_main:
            return Finding("noted", segment.title, "compared by the main process")
        found = judge_segment(self.stored, segment, replayed, surroundings)
        shutil.rmtree(folder, ignore_errors=True)
        return found


@contextmanager
def _shared_folder(runtime: Runtime) -> Iterator[Path]:
    """Hold a temporary folder for all processes."""
    with ExitStack() as stack:
        token = runtime.sum_count(secrets.randbelow(2**40) if runtime.is_main else 0)
        place = Path(tempfile.gettempdir()) / f"auxo-verify-{token:x}"
        if runtime.is_main:
            place.mkdir(mode=0o700)
            stack.callback(shutil.rmtree, place, ignore_errors=True)
        runtime.barrier()
        yield place
        runtime.barrier()


def _tell_error(error: AuxoError) -> str:
    """Return what an error says, without what to do about it."""
    return f"expected {error.expected}, got {error.got}"
