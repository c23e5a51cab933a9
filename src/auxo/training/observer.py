"""Whoever watches a run."""

from typing import Protocol, runtime_checkable

from auxo.runs.results import EvaluationRow


@runtime_checkable
class Observer(Protocol):
    """Whoever watches a run; the trainer itself prints nothing."""

    def noted(self, note: str) -> None:
        """Be told what a person should know: of the data, before the first stage, or that a stage ends early."""

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Be told that a stage begins or goes on at ``step`` of ``num_steps``."""

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Be told after every step; ``losses`` is empty between log rows, the speed is that up to the last one."""

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Be told the results of an evaluation after ``epoch`` epochs."""


class SilentObserver(Observer):
    """Says nothing; a class on top of it says something about what it overrides."""

    def noted(self, note: str) -> None:
        """Say nothing."""

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Say nothing."""

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Say nothing."""

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Say nothing."""
