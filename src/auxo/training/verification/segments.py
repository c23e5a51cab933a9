"""What of a run can be replayed: what is between two checkpoints, or before the first, and a draw of some of it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch

from auxo.random import named_generator
from auxo.runs.checkpoint import Progress
from auxo.training.verification.stored import Stored, StoredRun


class Segment(NamedTuple):
    """The steps of a stage between two checkpoints.

    Args:
        number: of the segment in the run, from 1.
        stage_number: of the stage, from 0.
        stage: its name.
        start: the checkpoint that it begins with; ``None`` means the first weights of the stage.
        end: the checkpoint that it ends with.
    """

    number: int
    stage_number: int
    stage: str
    start: Stored | None
    end: Stored

    @property
    def first(self) -> int:
        """Updates of the stage that were done before."""
        return 0 if self.start is None else _require_step(self.start)

    @property
    def last(self) -> int:
        """Updates of the stage that are done after."""
        return _require_step(self.end)

    @property
    def seconds(self) -> float:
        """What it took when the run was made, as the run says."""
        before = 0.0 if self.start is None else _seconds_of(self.start.progress)
        return max(_seconds_of(self.end.progress) - before, 0.0)

    @property
    def title(self) -> str:
        """Its number and steps."""
        return f"segment {self.number}, {self.stage} steps {self.first + 1} to {self.last}"


class Share(NamedTuple):
    """How much of a run some segments are.

    Args:
        segments: how many.
        of_segments: how many there are.
        steps: updates in them.
        of_steps: updates in all.
        seconds: that training them took.
        of_seconds: that training all of them took.
    """

    segments: int
    of_segments: int
    steps: int
    of_steps: int
    seconds: float
    of_seconds: float

    @property
    def part(self) -> float:
        """Part of the training time, or of the steps where no time is recorded."""
        return self.seconds / self.of_seconds if self.of_seconds else self.steps / max(self.of_steps, 1)

    def describe(self) -> str:
        """Return it in words."""
        all_of = f"{self.segments} of {self.of_segments} segments, {self.steps:,} of {self.of_steps:,} steps"
        return f"{all_of}, {100 * self.part:.3g} % of the training time"


def list_segments(run: StoredRun, *, extended: Mapping[str, int] = MappingProxyType({})) -> list[Segment]:
    """Return all segments of a run in their order; those beside a checkpoint that was refused are not among them.

    Args:
        run: its files.
        extended: by stage, the step at which it was given more epochs; what lies before was trained as a shorter run.
    """
    found: list[Segment] = []
    for stage in run.stages:
        steps: dict[int, Stored | None] = {_require_step(stored): stored for stored in stage.saved}
        steps |= dict.fromkeys(stage.refused)
        start, is_usable = None, True
        for step in sorted(steps):
            end = steps[step]
            if is_usable and end is not None and step > extended.get(stage.name, 0):
                found.append(Segment(len(found) + 1, stage.number, stage.name, start, end))
            start, is_usable = end, end is not None
    return found


def draw_segments(segments: Sequence[Segment], *, share: float, seed: int) -> list[Segment]:
    """Return segments in a random order that together took at most a share of the training time, but one at least.

    Args:
        segments: to draw from.
        share: of the time that all of them took, in (0, 1].
        seed: of the draw.
    """
    if not segments:
        return []
    whole = measure_share(segments, segments)
    parts = [
        each.seconds / whole.of_seconds if whole.of_seconds else (each.last - each.first) / whole.of_steps
        for each in segments
    ]
    left, drawn = share + 1e-9, []
    for number in torch.randperm(len(segments), generator=named_generator(seed, "segments")).tolist():
        if parts[number] <= left:
            drawn.append(segments[number])
            left -= parts[number]
    if not drawn:
        drawn = [segments[parts.index(min(parts))]]
    return sorted(drawn)


def measure_share(some: Sequence[Segment], segments: Sequence[Segment]) -> Share:
    """Return how much of all segments some of them are."""
    sums = [
        (len(group), sum(each.last - each.first for each in group), sum(each.seconds for each in group))
        for group in (some, segments)
    ]
    (count, steps, seconds), (of_count, of_steps, of_seconds) = sums
    return Share(count, of_count, steps, of_steps, seconds, of_seconds)


def _require_step(stored: Stored) -> int:
    """Return the step of a checkpoint."""
    if stored.step is None:
        raise ValueError(f"expected a checkpoint with a step, got {stored.path}")
    return stored.step


def _seconds_of(progress: Progress | None) -> float:
    """Return what a stage took so far."""
    return 0.0 if progress is None else progress.compute.train_seconds
