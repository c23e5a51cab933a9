"""Training: the loop, and a whole run of it."""

from auxo.training.observer import Observer, SilentObserver
from auxo.training.run import RunResult, train_run

__all__ = ["Observer", "RunResult", "SilentObserver", "train_run"]
