"""Small runs in this process, and what they left."""

import torch

from auxo.data import InMemorySource, Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.files.tensor_file import read_tensor_file
from auxo.runs.document import config_digest, to_json
from auxo.runs.experiment import ExperimentConfig, TrainingConfig
from auxo.runs.records import read_records
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.training import SilentObserver, train_run
from auxo.types import Column


def run_here(config, folder, splits, observer=None):
    """Make a run, or go on with it; without an observer nobody is told."""
    with open_runtime(config.runtime) as runtime:
        return train_run(
            config,
            document=to_json(config),
            digest=config_digest(config),
            folder=folder,
            runtime=runtime,
            observer=observer or SilentObserver(),
            splits=splits,
        )


class Watcher(SilentObserver):
    """Remembers what it is told."""

    def __init__(self):
        self.stages = []
        self.steps = []
        self.epochs = []

    def stage_started(self, stage, *, step, num_steps):
        self.stages.append((stage, step, num_steps))

    def step_done(self, step, *, images_per_second, losses):
        self.steps.append(step)

    def evaluated(self, epoch, rows):
        self.epochs.append(epoch)


def make_splits(test_labels=None, side=28):
    """Return 64 training, 32 validation and 32 test images."""
    source = oriented_shapes(128, size=side, seed=0)
    train, val, test = (
        source.subset(torch.arange(*part), name) for part, name in (((0, 64), "a"), ((64, 96), "b"), ((96, 128), "c"))
    )
    if test_labels is not None:
        test = InMemorySource(test.name, test.images, {"label": Column(test_labels, test.vocabulary["label"])})
    return Splits(train=TrainSplit(train), val=ValSplit(val), test=TestSplit(test))


def make_config(*stages, **training):
    return ExperimentConfig(
        stages=stages,
        training=TrainingConfig(tensorboard=False, **training),
        runtime=RuntimeConfig(device="cpu", precision="float32"),
    )


def train(config, folder, splits=None):
    """Run, and return the result and what the observer saw."""
    watcher = Watcher()
    return run_here(config, folder, splits or make_splits(), watcher), watcher


def rows(folder, kind):
    return [row for row in read_records(folder / "records.jsonl") if row["kind"] == kind]


def weights_of(path):
    return read_tensor_file(path).tree["weights"]
