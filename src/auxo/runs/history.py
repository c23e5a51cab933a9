"""What a run directory says of how its model came about: the one reader of ``records.jsonl``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import auxo
from auxo.errors import CheckpointError
from auxo.files.json_text import read_json
from auxo.files.pipes import refuse_pipe
from auxo.runs.adapted import AdaptationRecord
from auxo.runs.checkpoint import Checkpoints
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.records import STOP, EarlyStop, End, find_end, read_records
from auxo.runs.results import Compute, EvaluationRow, Selection, first_head

_RECORDS = "records.jsonl"
_METRICS = "losses"
EXTENSIONS = "extensions.json"
"""Where a run directory says that the run was made longer."""


class _Extended(TypedDict):
    """An extension in its file."""

    stage: str
    step: int
    before: int
    epochs: int
    digest: str


class _Stage(TypedDict):
    """What is looked at of a stage in ``config.json``."""

    epochs: int
    selection: NotRequired[dict[str, Any]]


class _Backbone(TypedDict):
    """What is looked at of a backbone there."""

    name: str


class _Run(TypedDict):
    """What is looked at of a run there."""

    stages: list[_Stage]
    backbone: _Backbone


class _Document(TypedDict):
    """What is looked at of ``config.json``."""

    auxo: NotRequired[str]
    run: _Run


class Extension(NamedTuple):
    """More epochs for a run that was finished.

    Args:
        stage: the last one.
        step: of the stage, at which it went on.
        before: epochs that the stage had had.
        epochs: that it had then.
        digest: of the config before.
    """

    stage: str
    step: int
    before: int
    epochs: int
    digest: str

    def describe(self) -> str:
        """Return what a person should know of it."""
        return f"stage {self.stage} was extended from {self.before} to {self.epochs} epochs at step {self.step}"


@dataclass(frozen=True)
class LoggedMetrics:
    """Metrics of training, means over some steps.

    Args:
        stage: they belong to.
        step: the last of them, counted from the start of the run.
        epoch: of the stage, at that step.
        values: losses and other metrics by name; one may be missing.
        rates: learning rates by optimiser, at that step.
    """

    stage: str
    step: int
    epoch: float
    values: Mapping[str, float]
    rates: Mapping[str, float]


@dataclass(frozen=True)
class Evaluated:
    """What a head achieved on the validation set in the course of a run.

    Args:
        stage: of the run.
        step: counted from the start of the run.
        epoch: of the stage.
        row: what was measured.
    """

    stage: str
    step: int
    epoch: float
    row: EvaluationRow


@dataclass(frozen=True)
class RunHistory:
    """The records of a run, finished or not.

    Args:
        folder: the run directory.
        records: rows of ``records.jsonl``, in their order, without those of metrics, which are by far the most and are
            read from the file where they are asked for; none before the run began.
    """

    folder: Path
    records: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, folder: Path) -> "RunHistory":
        """Return the records in a run directory.

        Raises:
            CheckpointError: ``records.jsonl`` is damaged.
        """
        return cls(folder, tuple(row for row in read_records(folder / _RECORDS) if row["kind"] != _METRICS))

    @classmethod
    def read_finished(cls, folder: Path) -> "RunHistory":
        """Return the records of a run that must have ended.

        Raises:
            CheckpointError: the records are damaged, or the run is not finished.
        """
        history = cls.read(folder)
        if not history.is_finished:
            fix = f"auxo train --resume {folder}"
            raise CheckpointError(f"a finished run in {folder}", "one that is not", fix)
        return history

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end: its model was written, and then the last record.

        Raises:
            CheckpointError: the last record is of another version of auxo.
        """
        return self._last_end is not None and (self.folder / "model.safetensors").is_file()

    @property
    def end(self) -> End:
        """What the last record of the run says.

        Raises:
            CheckpointError: there is none, as the run is not finished.
        """
        if self._last_end is None:
            got, fix = "none", "name a whole run directory"
            raise CheckpointError(f"the results of a finished run in {self.folder / _RECORDS}", got, fix)
        return self._last_end

    @property
    def selection(self) -> Selection | None:
        """How the checkpoint was chosen; ``None`` means the last epoch's weights."""
        return self.end.selection

    @property
    def compute(self) -> Compute:
        """What training cost."""
        return self.end.compute

    @property
    def steps(self) -> int:
        """Updates of all stages together."""
        return self.end.steps

    @cached_property
    def rows(self) -> list[EvaluationRow]:
        """What the final weights achieve, for every split and head."""
        with self._refusing_others():
            return [EvaluationRow.from_record(record) for record in self.records if record["kind"] == "result"]

    @cached_property
    def results(self) -> list[Mapping[str, Any]]:
        """The records that :attr:`rows` and :attr:`end` come from."""
        return [record for record in self.records if record["kind"] in ("result", "end")]

    def early_stops(self) -> list[EarlyStop]:
        """Return the stages that ended early, in order."""
        with self._refusing_others():
            found = [record for record in self.records if record["kind"] == STOP]
            return [EarlyStop(record["stage"], int(record["epoch"]), record["epochs"]) for record in found]

    def describe_course(self) -> list[str]:
        """Return sentences on what in the run went otherwise than its config alone says."""
        found = [each.describe() for each in self.extensions] + [each.describe() for each in self.early_stops()]
        adapted = [] if self.adaptation is None else [self.adaptation.describe()]
        return [f"{text[0].upper()}{text[1:]}." for text in (*found, *adapted)]

    @cached_property
    def adaptation(self) -> AdaptationRecord | None:
        """How the network was adapted after its training; ``None`` where it is as it was trained.

        Raises:
            CheckpointError: the file that says so is damaged.
        """
        return AdaptationRecord.read(self.folder)

    @cached_property
    def extensions(self) -> tuple[Extension, ...]:
        """How the run was made longer after it had finished, in order.

        Raises:
            CheckpointError: the file that says so is damaged.
        """
        path = self.folder / EXTENSIONS
        if not path.is_file():
            return ()
        expected, fix = f"how the run was extended in {path}", "take it from a copy"
        entries = read_json(path.read_bytes(), list[_Extended], expected=expected, fix=fix)
        return tuple(Extension(**entry) for entry in entries)

    def first_head(self) -> list[EvaluationRow]:
        """Return the final rows of the head that predicts, one for each split; none where none does."""
        return first_head(self.rows)

    def evaluated(self) -> Iterator[Evaluated]:
        """Yield what was measured on the validation set in the course of the run, in the order of the steps."""
        for record in self.records:
            if record["kind"] == "evaluation":
                with self._refusing_others():
                    row = EvaluationRow.from_record(record)
                    found = Evaluated(record["stage"], record["global_step"], float(record["epoch"]), row)
                yield found

    def measured(self) -> Iterator[LoggedMetrics]:
        """Yield losses, other metrics and learning rates, in the order of the steps; the file is read meanwhile."""
        for record in read_records(self.folder / _RECORDS):
            if record["kind"] == _METRICS:
                with self._refusing_others():
                    place = record["stage"], record["global_step"], float(record["epoch"])
                    found = LoggedMetrics(*place, record["losses"], record["lr"])
                yield found

    def stage_starts(self) -> dict[str, int]:
        """Return the step of the run at which each stage begins, by name, in their order."""
        starts: dict[str, int] = {}
        with self._refusing_others():
            for record in read_records(self.folder / _RECORDS):
                starts.setdefault(record["stage"], record["global_step"] - record["step"])
        return starts

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The JSON of ``config.json``, read without the code that it names.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        path = self.folder / "config.json"
        expected, fix = f"the config of a run in {path}", "take it from a copy"
        refuse_pipe(path, expected=expected, fix=fix)
        try:
            text = path.read_bytes()
        except OSError as error:
            raise CheckpointError(expected, (error.strerror or "nothing").lower(), fix) from error
        return cast("Mapping[str, Any]", read_json(text, _Document, expected=expected, fix=fix))

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs of each stage."""
        return tuple(stage["epochs"] for stage in self.document["run"]["stages"])

    @property
    def version(self) -> str:
        """The version of auxo that made the run."""
        return str(self.document.get("auxo", "unknown"))

    def of_stage(self, config: ExperimentConfig, stage: str | None) -> tuple[Selection | None, Compute]:
        """Return how weights were chosen and what they cost.

        Args:
            config: of the run.
            stage: name of a finished stage, whose cost is its own and that of the stages that it started from; ``None``
                means the end of the run, whose cost is that of all stages.
        """
        if stage is None:
            return self.selection, self.compute
        stages = {each.name: each for each in config.stages}
        folder, names = self.folder / "checkpoints", _list_with_sources(stages, stage)
        spent = [Checkpoints(folder, name, "").final_progress() for name in names]
        compute = Compute.total([progress.compute for progress in spent])
        return spent[0].best if stages[stage].selection.keeps_best else None, compute

    def changed_sets(self, rows: list[EvaluationRow]) -> list[str]:
        """Return a line for each set that has another number of images than when the run ended.

        Args:
            rows: of the run's own sets as they are now.
        """
        before = {row.split: row.n for row in self.first_head()}
        now = {row.split: row.n for row in first_head(rows) if row.split in before}
        return [
            f"note: {name} has {count:,} images and had {before[name]:,} when the run ended: its results do not compare"
            for name, count in now.items()
            if before[name] != count
        ]

    @cached_property
    def _last_end(self) -> End | None:
        with self._refusing_others():
            return find_end(self.records)

    @contextmanager
    def _refusing_others(self) -> Iterator[None]:
        """Refuse records whose fields are not those of this version."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            got = f"others ({type(error).__name__}: {error})"
            expected, fix = f"records of auxo {auxo.__version__} in {self.folder / _RECORDS}", "train the run anew"
            raise CheckpointError(expected, got, fix) from error


def _list_with_sources(stages: Mapping[str, StageConfig], name: str) -> list[str]:
    """Return the name of a stage, then those of all stages that its first weights come from, each once."""
    found = {name: None}
    waiting = [name]
    while waiting:
        new = [source for source in stages[waiting.pop()].sources if source not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return [*found]
