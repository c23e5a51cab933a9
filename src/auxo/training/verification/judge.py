"""What was trained or measured again, held against what stands in the run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auxo.evaluation import Reader
from auxo.files.tensor_file import read_tensor_file
from auxo.runs.environment import compare_environments, describe_environment, find_environments
from auxo.runs.model import load_model
from auxo.runs.records import read_records
from auxo.runtime import Runtime, use_threads
from auxo.training.run import measure_sets
from auxo.training.stages import OpenRun
from auxo.training.verification.consistency import RECORDS
from auxo.training.verification.differences import NumberedRow, compare_rows, compare_trees, flatten, measure_way
from auxo.training.verification.findings import Finding
from auxo.training.verification.replay import Replayed, pick_rows
from auxo.training.verification.segments import Segment
from auxo.training.verification.stored import StoredRun, StoredStage

_MADE_ANEW = ("progress.train_seconds", "progress.start_seconds", "progress.num_rows", "progress.environments")
_PLACE = ("kind", "stage_number", "stage", "step", "global_step", "epoch")


@dataclass(frozen=True)
class Surroundings:
    """Whether numbers can come out equal to the bit here.

    Args:
        reasons: why not, one for each; none where they can.
    """

    reasons: tuple[str, ...]

    @classmethod
    def of(cls, runtime: Runtime, stage: StoredStage, *, first: int, last: int) -> "Surroundings":
        """Compare what is here with what a stage says of its steps after ``first`` up to ``last``.

        The recorded number of threads is used from then on.
        """
        newest = None if stage.newest is None else stage.newest.progress
        known = [] if newest is None else newest.environments
        recorded = find_environments(known, first, last)
        if recorded and isinstance(threads := recorded[-1].get("threads"), int) and 1 <= threads <= 1024:
            use_threads(threads)
        reasons: list[str] = []
        present = describe_environment(runtime)
        for environment in recorded:
            reasons += compare_environments(environment, present) if environment else ["the run does not say where"]
        if runtime.device.type != "cpu":
            reasons.append("a GPU adds in no fixed order")
        return cls(tuple(dict.fromkeys(reasons)))

    @property
    def text(self) -> str:
        """The reasons in a line."""
        return "; ".join(self.reasons)

    def conclude(self, subject: str, *, equal: str, differences: Sequence[str], size: str = "") -> Finding:
        """Return the finding of a comparison.

        Args:
            subject: what was compared.
            equal: what is said of it where all is equal.
            differences: what is not.
            size: how much that is, in words.
        """
        if not differences:
            return Finding("equal", subject, f"{equal}, although {self.text}" if self.reasons else equal)
        told = "; ".join([*differences, *([size] if size else [])])
        if self.reasons:
            return Finding("undecided", subject, f"cannot be equal to the bit here ({self.text}): {told}")
        return Finding("differs", subject, told)


def judge_segment(stored: StoredRun, segment: Segment, replayed: Replayed, surroundings: Surroundings) -> Finding:
    """Return whether a segment came to what the run has at its end."""
    stage, made = stored.stages[segment.stage_number], replayed.checkpoints.place(segment.last)
    if not made.exists():
        early = "trained again, the stage ends early, as its validation set becomes no better"
        return surroundings.conclude(segment.title, equal="", differences=[early])
    ours = read_tensor_file(segment.end.path, holds=("weights",)).tree
    theirs = read_tensor_file(made, holds=("weights",)).tree
    differences, size = [], ""
    state = compare_trees(ours, theirs, ignored=_MADE_ANEW)
    if state is not None:
        differences.append(f"{segment.end.path.name}: {state.describe()}")
        way = measure_way(ours["weights"], replayed.first_weights)
        apart = measure_way(ours["weights"], theirs["weights"])
        if way:
            size = f"the weights end {100 * apart / way:.2g} % as far apart as the segment moved them"
    rows = pick_rows(stored.folder, segment)
    if (row := compare_rows(rows, replayed.rows, ignored=("images_per_second",))) is not None:
        largest = "" if row.largest is None else f", numbers at most by {100 * row.largest:.2g} %"
        differences.append(f"{RECORDS}: {row.text}{largest}")
    differences += _compare_others(stage, segment, replayed)
    count = f"{sum(1 for _ in flatten(ours))} tensors and values and {len(rows)} rows equal to the bit"
    return surroundings.conclude(segment.title, equal=count, differences=differences, size=size)


def _compare_others(stage: StoredStage, segment: Segment, replayed: Replayed) -> list[str]:
    """Return what differs in what a stage keeps beside checkpoints, where the segment has made it."""
    differences = []
    best = None if segment.end.progress is None else segment.end.progress.best
    kept = None if stage.best is None or stage.best.progress is None else stage.best.progress.best
    pairs = []
    if stage.best is not None and best is not None and best == kept and best.step > segment.first:
        pairs.append((stage.best.path, replayed.checkpoints.best, "weights"))
    if segment.start is None and stage.prepared is not None:
        pairs += [(stage.prepared, replayed.checkpoints.prepared, part) for part in ("tensors", "targets", "fills")]
    for own, made, part in pairs:
        if not made.exists():
            differences.append(f"{own.name} is not made by a replay")
            continue
        ours, theirs = (read_tensor_file(path).tree.get(part, {}) for path in (own, made))
        if (difference := compare_trees(ours, theirs)) is not None:
            differences.append(f"{own.name}: {difference.describe()}")
    return differences


def judge_results(run: OpenRun, stored: StoredRun) -> list[Finding]:
    """Return whether the final weights achieve on every set what the records say.

    A set that only judges has no digest in the run: where it has another number of images now, nothing can be said.
    """
    stage = run.stages[-1]
    last = stored.stages[-1]
    step = (last.saved[-1].step if last.saved else None) or 0
    surroundings = Surroundings.of(run.runtime, last, first=step, last=step)
    model = load_model(run.config, stored.folder, runtime=run.runtime)
    reader = Reader.of(
        model,
        runtime=run.runtime,
        batch_size=run.config.training.eval_batch_size,
        workers=run.config.data.workers,
    )
    found = [_as_recorded(row.to_record()) for row in measure_sets(reader, stage, run.splits)]
    recorded = [
        NumberedRow(line, row)
        for line, row in enumerate(read_records(stored.folder / RECORDS), start=1)
        if row["kind"] == "result"
    ]
    changed = _find_changed_sets([numbered.row for numbered in recorded], found)
    findings = [Finding("undecided", f"results of {name}", text) for name, text in changed.items()]
    recorded = [numbered for numbered in recorded if numbered.row["split"] not in changed]
    place = {name: recorded[0].row[name] for name in _PLACE if recorded and name in recorded[0].row}
    rows = [{"kind": "result", "step": 0, **place, **row} for row in found if row["split"] not in changed]
    difference = compare_rows(recorded, rows, ignored=())
    count = f"{len(recorded)} rows of {len({row['split'] for row in rows})} sets measured again, equal to the bit"
    told = [] if difference is None else [difference.text]
    return [*findings, surroundings.conclude("results", equal=count, differences=told)]


def _find_changed_sets(recorded: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what is said of each set that has another number of images than when it was measured."""
    before, now = ({row["split"]: row["n"] for row in reversed(rows)} for rows in (recorded, found))
    return {
        name: f"it has {now[name]:,} images here and had {count:,} when the run ended"
        for name, count in before.items()
        if name in now and now[name] != count
    }


def _as_recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as it is when it was written and read."""
    read: dict[str, Any] = json.loads(json.dumps(row))
    return read
