"""Training: the loop, checkpoints that resume to the bit, records."""

from auxo.training.atomic import make_folder, require_folder_of, write_atomically
from auxo.training.records import read_records
from auxo.training.run import RunResult, TrainedModel, load_model, train_run
from auxo.training.trainer import Observer

__all__ = [
    "Observer",
    "RunResult",
    "TrainedModel",
    "load_model",
    "make_folder",
    "read_records",
    "require_folder_of",
    "train_run",
    "write_atomically",
]
