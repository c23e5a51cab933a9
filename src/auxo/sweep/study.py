"""The trials of a sweep in a journal of Optuna's; an extra to install."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias, TypedDict

from auxo.errors import CheckpointError, ConfigError
from auxo.files import write_atomically
from auxo.files.json_text import read_json
from auxo.files.pipes import refuse_pipe
from auxo.random import derive_seed
from auxo.sweep.fields import Value
from auxo.sweep.results import Objective, ValidationScore
from auxo.sweep.samplers import Choice, Integers, Sampler
from auxo.sweep.space import SearchSpace

Strategy: TypeAlias = Literal["tpe", "random", "grid"]

JOURNAL = "study.journal"
_NAME = "sweep"
_FEWEST_FOR_IMPORTANCES = 10
_MOST_ATTEMPTS = 100


class _Line(TypedDict):
    """What every line of a journal has."""

    op_code: int
    worker_id: str


@dataclass(frozen=True)
class Trial:
    """A trial.

    Args:
        number: from 0.
        values: of the options that vary and that are there under the trial's names, by path.
        state: "running" until it is told, then "finished" or "failed".
        error: in one line, why it failed; ``None`` where it did not.
    """

    number: int
    values: dict[str, Value]
    state: Literal["running", "finished", "failed"]
    error: str | None = None

    @property
    def name(self) -> str:
        """What it and its run directory are called."""
        return f"trial-{self.number:04d}"


@dataclass(frozen=True)
class Study:
    """Suggests values and remembers what came of them.

    What is suggested depends on the seed, the number of the trial and what other trials were told before: not on how
    often the process was started.

    Args:
        space: what is searched.
        strategy: how values are chosen.
        objective: what is to become best.
        seed: of the suggestions.
        optuna: the module.
        storage: of Optuna's.
        study: of Optuna's.
    """

    space: SearchSpace
    strategy: Strategy
    objective: Objective
    seed: int
    optuna: Any = field(repr=False)
    storage: Any = field(repr=False)
    study: Any = field(repr=False)

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order of their numbers."""
        states = self.optuna.trial.TrialState
        names: dict[Any, Literal["finished", "failed"]] = {states.COMPLETE: "finished", states.FAIL: "failed"}
        return [
            Trial(
                each.number,
                {path: each.params[path] for path in self.space.paths if path in each.params},
                names.get(each.state, "running"),
                each.user_attrs.get("error"),
            )
            for each in self.study.get_trials(deepcopy=False)
        ]

    def ask(self) -> Trial | None:
        """Return a new trial, written down as running; ``None`` once nothing is found that was not tried.

        The first has the run's own values, if they could be drawn.
        """
        number = len(self.study.get_trials(deepcopy=False))
        values = self._suggest_values(number)
        if values is None:
            return None
        make, running = self.optuna.trial.create_trial, self.optuna.trial.TrialState.RUNNING
        # Written as one line of the journal, so that it is there as a whole or not at all.
        distributions = {path: one for path, one in self._map_distributions().items() if path in values}
        self.study.add_trial(make(state=running, params=values, distributions=distributions))
        return Trial(number, values, "running")

    def tell(self, trial: Trial, score: ValidationScore) -> None:
        """Write down what a trial achieved: the measure that decides, as it is."""
        self.study.tell(trial.number, score.measure.value)

    def fail(self, trial: Trial, error: str) -> None:
        """Write down that a trial failed, and why."""
        (own,) = [each for each in self.study.get_trials(deepcopy=False) if each.number == trial.number]
        self.storage.set_trial_user_attr(own._trial_id, "error", error)
        self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """Return how much each option mattered, shares of 1, the largest first; none of fewer than ten trials.

        By PED-ANOVA (Watanabe, Bansal, Hutter, IJCAI 2023, arXiv 2304.10255): how far the values of the better trials
        differ from all.
        """
        finished = [trial for trial in self.trials if trial.state == "finished"]
        # Of options that only some trials have there is no comparison over all.
        common = [path for path in self.space.paths if all(path in trial.values for trial in finished)]
        varied = [path for path in common if len({trial.values[path] for trial in finished}) > 1]
        if len(finished) < _FEWEST_FOR_IMPORTANCES or not varied:
            return {}
        found = self.optuna.importance.get_param_importances(self.study, params=varied)
        return {path: float(share) for path, share in found.items()}

    def _suggest_values(self, number: int) -> dict[str, Value] | None:
        """Return the values of a trial."""
        if self.strategy == "grid":
            grid = self.space.grid()
            return grid[number] if number < len(grid) else None
        if number == 0 and (own := self.space.own_values) is not None:
            return own
        tried = [trial.values for trial in self.trials]
        for attempt in range(_MOST_ATTEMPTS):
            drawn = self._draw_values(
                derive_seed(self.seed, "sweep", number, attempt) % 2**32, strays=attempt >= _MOST_ATTEMPTS // 5
            )
            if drawn not in tried:  # the same run again would tell nothing
                return drawn
        return None

    def _draw_values(self, seed: int, *, strays: bool) -> dict[str, Value]:
        """Return values of a trial, at random if it strays."""
        samplers = self.optuna.samplers
        is_random = strays or self.strategy == "random"
        sampler = samplers.RandomSampler(seed=seed) if is_random else samplers.TPESampler(seed=seed)
        # In memory, because each value that is asked for would be a line of the journal.
        copy = self.optuna.create_study(direction=self.study.direction, sampler=sampler)
        copy.add_trials(self.study.get_trials(deepcopy=False))
        return self.space.keep_there(copy.ask(self._map_distributions()).params)

    def _map_distributions(self) -> dict[str, object]:
        """Return the samplers as Optuna has them."""
        return {p.field.path: _make_distribution(self.optuna.distributions, p.sampler) for p in self.space.parameters}


def require_optuna() -> ModuleType:
    """Import Optuna, whose lines on the terminal are switched off.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        got = f"an import that failed ({error})"
        raise ConfigError("the package optuna for a sweep", got, "pip install 'auxo[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_study(folder: Path, space: SearchSpace, *, strategy: Strategy, objective: Objective, seed: int) -> Study:
    """Return the study in a folder, where nobody else writes; a new one if there is none.

    Args:
        folder: of the sweep.
        space: see :class:`Study`.
        strategy: see :class:`Study`.
        objective: see :class:`Study`.
        seed: see :class:`Study`.

    Raises:
        ConfigError: Optuna is not installed.
        CheckpointError: the journal is damaged.
    """
    optuna = require_optuna()
    path = folder / JOURNAL
    expected, fix = f"a journal of Optuna's in {path}", "choose another --out, or take the file from a copy"
    refuse_pipe(path, expected=expected, fix=fix)
    _mend_journal(path)
    for line in path.read_bytes().splitlines() if path.exists() else ():
        read_json(line, _Line, expected=expected, fix=fix)
    try:
        backend = importlib.import_module("optuna.storages.journal").JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(backend)
        direction = "maximize" if objective.higher_is_better else "minimize"
        study = optuna.create_study(storage=storage, study_name=_NAME, direction=direction, load_if_exists=True)
        found = Study(space, strategy, objective, seed, optuna, storage, study)
        # The journal is replayed unchecked; a study in memory checks each trial that is added to it.
        optuna.create_study(direction=direction).add_trials(study.get_trials(deepcopy=False))
        values = [value for trial in found.trials for value in trial.values.values()]
        if not all(isinstance(value, str | int | float | None) for value in values):
            raise TypeError("values of no option")
    # All that the replay of a damaged journal was seen to raise.
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError) as error:
        raise CheckpointError(expected, "something else", fix) from error
    return found


def _mend_journal(path: Path) -> None:
    """Drop what a process that was killed left: its lock, also half removed, and a last line that is half written."""
    for lock in path.parent.glob(f"{path.name}.lock*"):  # Optuna renames a lock before it removes it
        lock.unlink(missing_ok=True)
    if path.exists():
        written = path.read_bytes()
        whole = written[: written.rfind(b"\n") + 1]
        if whole != written:
            write_atomically(path, whole)


def _make_distribution(distributions: ModuleType, sampler: Sampler) -> object:
    """Return a sampler as Optuna has it."""
    if isinstance(sampler, Choice):
        return distributions.CategoricalDistribution(sampler.values)
    if isinstance(sampler, Integers):
        return distributions.IntDistribution(sampler.low, sampler.high)
    return distributions.FloatDistribution(sampler.low, sampler.high, log=sampler.is_log)
