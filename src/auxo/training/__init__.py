"""Training: the loop, checkpoints that resume to the bit, records."""

from auxo.training.atomic import make_folder, require_folder_of, write_atomically
from auxo.training.observer import Observer, SilentObserver
from auxo.training.records import End, find_end, read_records
from auxo.training.run import RunResult, TrainedModel, load_model, train_run

__all__ = [
    "End",
    "Observer",
    "RunResult",
    "SilentObserver",
    "TrainedModel",
    "find_end",
    "load_model",
    "make_folder",
    "read_records",
    "require_folder_of",
    "train_run",
    "write_atomically",
]
