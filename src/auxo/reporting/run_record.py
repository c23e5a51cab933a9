"""What the files of a finished run say, without its data and its weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from os.path import commonpath
from pathlib import Path

from auxo.registry.outside import short_name
from auxo.runs.document import to_json
from auxo.runs.experiment import ExperimentConfig, method_name
from auxo.runs.history import Evaluated, LoggedMetrics, RunHistory

_MOST_POINTS = 200


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Args:
        name: what the page calls it.
        folder: the run directory.
        config: of the run.
        version: of auxo that made it.
        history: results and cost.
        measured: metrics in the order of the steps; of more than 200 records each is the mean of several.
        records_per_point: at most so many records are behind one of ``measured``.
        evaluated: on the validation set, in the order of the steps.
        stage_starts: step at which each stage begins, by name.
    """

    name: str
    folder: Path
    config: ExperimentConfig
    version: str
    history: RunHistory
    measured: Sequence[LoggedMetrics]
    records_per_point: int
    evaluated: Sequence[Evaluated]
    stage_starts: Mapping[str, int]

    @property
    def recipe(self) -> str:
        """What runs of one method share, whatever their seed, device and habits of logging, as JSON."""
        plain = replace(self.config, seed=0, training=type(self.config.training)())
        return to_json(replace(plain, runtime=type(self.config.runtime)()))

    @property
    def methods(self) -> str:
        """The methods of the stages, in order."""
        return ", then ".join(name for name, _ in groupby(map(method_name, self.config.stages)))

    @property
    def data(self) -> str:
        """What it was trained on."""
        own = self.config.data.train
        return f"the scenario {self.config.data.scenario}" if own is None else short_name(own)


def read_run_record(folder: Path, config: ExperimentConfig, *, name: str) -> RunRecord:
    """Return what the files of a finished run say.

    Args:
        folder: the run directory.
        config: of the run.
        name: what the page calls it.

    Raises:
        CheckpointError: the run is not finished, or its records are damaged.
    """
    history = RunHistory.read_finished(folder)
    per_point = -(-sum(1 for _ in history.measured()) // _MOST_POINTS) or 1
    return RunRecord(
        name=name,
        folder=folder,
        config=config,
        version=history.version,
        history=history,
        measured=_thin_rows(history.measured(), per_point),
        records_per_point=per_point,
        evaluated=list(history.evaluated()),
        stage_starts=history.stage_starts(),
    )


def _thin_rows(rows: Iterable[LoggedMetrics], per_point: int) -> list[LoggedMetrics]:
    """Return the means of so many consecutive records of one stage; no more records are held than one point has."""
    points = []
    for _, members in groupby(rows, key=lambda row: row.stage):
        while chunk := list(islice(members, per_point)):
            names = dict.fromkeys(name for row in chunk for name in row.values)
            values = {name: _take_mean([row.values[name] for row in chunk if name in row.values]) for name in names}
            points.append(replace(chunk[-1], values=values))
    return points


def _take_mean(values: Sequence[float]) -> float:
    """Return the mean of some values, at least one."""
    return sum(values) / len(values)


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return what to call runs: the folder of one, the paths below the common folder of several.

    Example:
        >>> run_names([Path("runs/a/seed0"), Path("runs/b/seed0")])
        ['a/seed0', 'b/seed0']
    """
    places = [folder.resolve() for folder in folders]
    if len(places) == 1:
        return [places[0].name]
    common = Path(commonpath(places))
    return [str(place.relative_to(common)) for place in places]


def grouped(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Return the runs in groups that differ in their seed alone, in the order of each group's first."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.recipe, []).append(run)
    return [*groups.values()]


def group_name(members: Sequence[RunRecord]) -> str:
    """Return what to call a group: its run, or what the names of its runs have in common and their number."""
    if len(members) == 1:
        return members[0].name
    common = commonpath([run.name for run in members]) or members[0].methods
    return f"{common} ({len(members)} runs)"
