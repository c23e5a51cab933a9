"""What the terminal shows while a run works."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from auxo.evaluation import EvaluationRow

__all__ = ["PlainObserver", "QuietObserver", "TerminalObserver", "make_observer"]


class QuietObserver:
    """Says nothing: for all processes but the main one."""

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Say nothing."""

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Say nothing."""

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


class PlainObserver(QuietObserver):
    """Prints a line per evaluation, for logs and pipes."""

    def __init__(self) -> None:
        self._losses: dict[str, float] = {}
        self._speed = 0.0

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Print where the stage begins."""
        print(f"{stage}: step {step} of {num_steps}", flush=True)

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Remember the newest losses."""
        del step
        self._losses = losses or self._losses
        self._speed = images_per_second

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Print losses and accuracies."""
        print(f"epoch {epoch}: {_summary(self._losses, rows)}, {self._speed:,.0f} images/s", flush=True)


class TerminalObserver(QuietObserver):
    """A progress bar with loss, images per second and time left.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=40),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            refresh_per_second=5,
        )
        self._progress.start()
        self._task: TaskID | None = None
        self._losses: dict[str, float] = {}
        self._smooth_speed = 0.0
        self._drawn = 0.0

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Begin a bar."""
        self._task = self._progress.add_task(stage, total=num_steps, completed=step, note="")

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Move the bar, five times a second at the most."""
        self._losses = losses or self._losses
        self._smooth_speed = 0.95 * (self._smooth_speed or images_per_second) + 0.05 * images_per_second
        now = time.monotonic()
        if self._task is None or (now - self._drawn < 0.2 and not losses):
            return
        self._drawn = now
        note = f"loss {sum(_loss_values(self._losses)):.3f}  {self._smooth_speed:,.0f} images/s"
        self._progress.update(self._task, completed=step, note=note)

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Print a line above the bar."""
        self._progress.console.print(f"epoch {epoch}: {_summary(self._losses, rows)}", highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


def make_observer(*, is_main: bool) -> QuietObserver:
    """Return the observer that fits the process and the output."""
    if not is_main:
        return QuietObserver()
    return TerminalObserver(Console()) if sys.stdout.isatty() else PlainObserver()


def _loss_values(losses: dict[str, float]) -> list[float]:
    return [value for name, value in losses.items() if name.endswith("_loss")]


def _summary(losses: dict[str, float], rows: list[EvaluationRow]) -> str:
    """Return losses and accuracies in a line."""
    told = [
        f"{name.removesuffix('_loss')} loss {value:.3f}" for name, value in losses.items() if name.endswith("_loss")
    ]
    told += [f"{row.split} {row.head} {100 * row.accuracy:.1f} %" for row in rows]
    return ", ".join(told)
