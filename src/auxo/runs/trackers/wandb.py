"""Weights & Biases: curves on its servers, or offline in the run directory until they are sent."""

import contextlib
import importlib
import secrets
from collections.abc import Mapping
from typing import Any

from auxo.errors import ConfigError
from auxo.runs.trackers._interface import AbstractTracker, TrackedRun

SOURCE = (
    "https://github.com/wandb/wandb. Files are in the folder wandb of the run directory; neither code, output of the "
    "terminal nor the state of git is sent. Offline files are sent by wandb sync."
)

PACKAGE = "wandb"


class WandbTracker(AbstractTracker):
    """A run of wandb.

    Args:
        run: as ``wandb.init`` returns it.
    """

    def __init__(self, run: Any) -> None:  # noqa: ANN401 wandb is an extra
        self._run = run
        self.identity = str(run.id)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """See :meth:`AbstractTracker.add`. Points of one step come together; wandb leaves out those it has already."""
        self._run.log(dict(values), step=step)

    def sync(self) -> None:
        """Do nothing: wandb sends them in a process of its own."""

    def close(self, *, is_finished: bool = False) -> None:
        """See :meth:`AbstractTracker.close`; waits until the points are written or sent."""
        self._run.finish(exit_code=0 if is_finished else 1)


def list_failures() -> tuple[type[Exception], ...]:
    """Return what is raised when points cannot be written."""
    return (OSError, RuntimeError, importlib.import_module(PACKAGE).errors.Error)


def open_tracker(run: TrackedRun) -> WandbTracker:
    """Return a new run of wandb, or the one that it had before.

    Raises:
        ConfigError: nobody is logged in.
    """
    wandb = importlib.import_module(PACKAGE)
    settings = wandb.Settings(console="off", silent=True, save_code=False, disable_git=True, disable_code=True)
    try:
        with contextlib.redirect_stdout(None):
            begun = wandb.init(
                project=run.project,
                name=run.folder.name,
                id=run.identity or secrets.token_hex(4),
                resume="allow",
                dir=str(run.folder),
                config=dict(run.config),
                settings=settings,
                **({"mode": "offline"} if run.is_offline else {}),
            )
    except (wandb.errors.Error, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "log in by wandb login, or pass --training.trackers-offline"
        raise ConfigError("a run of wandb", f"none ({first})", fix) from error
    return WandbTracker(begun)
