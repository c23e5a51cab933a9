"""What a tracker is: somewhere the curves of a run go while it trains."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class TrackedRun(NamedTuple):
    """What a tracker is told of a run before its first point.

    Args:
        folder: the run directory; its name is what the run is called.
        project: what runs are collected under.
        config: the run's resolved options, as in ``config.json``.
        identity: what the tracker called this run when it began; ``None`` for a new one.
        is_offline: whether nothing may leave this machine.
    """

    folder: Path
    project: str
    config: Mapping[str, Any]
    identity: str | None
    is_offline: bool


class AbstractTracker(ABC):
    """Somewhere the curves of a run go; used by the main process only.

    Attributes:
        identity: what the tracker calls this run, so that it is the same one when training goes on.
    """

    identity: str = ""

    @abstractmethod
    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each named curve.

        Args:
            step: of the run, counted over its stages; never smaller than in an earlier call, but for a run that goes
                on, which repeats the points since its last checkpoint.
            values: by the name of the curve, such as ``train/loss``.

        Raises:
            OutputError: it cannot be written.
        """

    @abstractmethod
    def sync(self) -> None:
        """Wait until all points are where they go, if that can be waited for: a checkpoint is written after them."""

    @abstractmethod
    def close(self, *, is_finished: bool = False) -> None:
        """Let go of the run, and say whether it has come to its end."""
