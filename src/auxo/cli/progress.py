"""What the terminal shows while a run works."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from auxo.cli.words import escape_controls, say
from auxo.runs.results import EvaluationRow
from auxo.training import SilentObserver


class QuietObserver(SilentObserver):
    """Says nothing: for all processes but the main one."""

    def close(self) -> None:
        """Do nothing."""


class PlainObserver(QuietObserver):
    """Prints a line per evaluation, for logs and pipes.

    Args:
        headline: printed once training begins, when nothing can be refused any more.
    """

    def __init__(self, headline: str = "") -> None:
        self._headline = headline
        self._losses: dict[str, float] = {}
        self._speed = 0.0

    def noted(self, note: str) -> None:
        """Print a note on the data."""
        say(f"note: {note}")

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Print where the stage begins, below the headline if it is the first."""
        if self._headline:
            say(self._headline)
            self._headline = ""
        say(f"{stage}: step {step} of {num_steps}", flush=True)

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Remember the newest losses."""
        del step
        self._losses = losses or self._losses
        self._speed = images_per_second

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Print losses and what was measured."""
        speed = f", {self._speed:,.0f} images/s" if self._speed else ""  # steps on features alone show no images
        say(f"epoch {epoch}: {_summarise_metrics(self._losses, rows)}{speed}", flush=True)


class TerminalObserver(QuietObserver):
    """A progress bar with loss, images per second and time left.

    Args:
        console: where to draw.
        headline: printed once training begins, when nothing can be refused any more.
    """

    def __init__(self, console: Console, headline: str = "") -> None:
        self._headline = headline
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

    def noted(self, note: str) -> None:
        """Print a note on the data above the bar."""
        self._print_line(f"note: {note}")

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Begin a bar, below the headline if it is the first."""
        if self._headline:
            self._print_line(self._headline)
            self._headline = ""
        self._task = self._progress.add_task(stage, total=num_steps, completed=step, note="")

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Move the bar, five times a second at the most."""
        self._losses = losses or self._losses
        self._smooth_speed = 0.95 * (self._smooth_speed or images_per_second) + 0.05 * images_per_second
        now = time.monotonic()
        if self._task is None or (now - self._drawn < 0.2 and not losses):
            return
        self._drawn = now
        speed = f"  {self._smooth_speed:,.0f} images/s" if self._smooth_speed else ""
        note = f"loss {sum(_loss_values(self._losses)):.3f}{speed}"
        self._progress.update(self._task, completed=step, note=note)

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Print a line above the bar."""
        self._print_line(f"epoch {epoch}: {_summarise_metrics(self._losses, rows)}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def _print_line(self, text: str) -> None:
        """Print a line above the bar; names in it may be anybody's."""
        self._progress.console.print(escape_controls(text), markup=False, highlight=False, soft_wrap=True)


def make_observer(*, is_main: bool, headline: str = "") -> QuietObserver:
    """Return the observer that fits the process and the output, and that prints a headline once training begins."""
    if not is_main:
        return QuietObserver()
    return TerminalObserver(Console(), headline) if sys.stdout.isatty() else PlainObserver(headline)


def _loss_values(losses: dict[str, float]) -> list[float]:
    return [value for name, value in losses.items() if name.endswith("_loss")]


def _summarise_metrics(losses: dict[str, float], rows: list[EvaluationRow]) -> str:
    """Return losses and primary measures in a line."""
    told = [
        f"{name.removesuffix('_loss')} loss {value:.3f}" for name, value in losses.items() if name.endswith("_loss")
    ]
    told += [f"{row.split} {row.head} {row.main.describe()}{_describe_chance(row)}" for row in rows]
    return ", ".join(told)


def _describe_chance(row: EvaluationRow) -> str:
    """Return what guessing reaches at a pretext, in brackets; that of the task is below the table."""
    return "" if row.kind == "task" or row.guessing is None else f" (guessing {row.guessing.describe()})"
