"""A small run learns what it should, and its records tell so."""

import json

import pytest

from auxo.data import InMemorySource, Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.methods.ossl import OSSL
from auxo.optimizers import OptimizerConfig
from auxo.runs.document import config_digest, to_json
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.model import load_model
from auxo.runs.records import read_records
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.training import SilentObserver, train_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """OSSL on 32x32 oriented shapes."""
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    source: InMemorySource = oriented_shapes(640, size=32, seed=0)
    parts = [slice(0, 480), slice(480, 560), slice(560, 640)]
    train, val, test = (
        source.subset(source.columns["label"].values.new_tensor(range(part.start, part.stop)), name)
        for part, name in zip(parts, ("train", "val", "test"), strict=True)
    )
    splits = Splits(train=TrainSplit(train), val=ValSplit(val), test=TestSplit(test))
    method = OSSL.Config(optimizer=OptimizerConfig(lr=0.02))
    config = ExperimentConfig(
        stages=(StageConfig(method=method, epochs=14, batch_size=32),),
        training=TrainingConfig(log_every=15, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
    )
    with open_runtime(config.runtime) as runtime:
        result = train_run(
            config,
            document=to_json(config),
            digest=config_digest(config),
            folder=folder,
            runtime=runtime,
            observer=SilentObserver(),
            splits=splits,
        )
    return config, result


def test_run__on_oriented_shapes__learns_rotation_and_classes(run):
    _, result = run
    accuracy = {row.head: row.main.value for row in result.rows if row.split == "test"}
    assert accuracy["rotation"] > 0.6
    assert accuracy["semantic"] > 0.6


def test_run__records__all_three_losses_fall(run):
    _, result = run
    rows = [row["losses"] for row in read_records(result.folder / "records.jsonl") if row["kind"] == "losses"]
    for name in ("classification_loss", "rotation_loss", "auxiliary_loss"):
        assert rows[-1][name] < 0.8 * rows[0][name], name


def test_run__folder__holds_what_the_documentation_says(run):
    config, result = run
    assert json.loads((result.folder / "config.json").read_text())["run"]["seed"] == config.seed
    names = {path.name for path in result.folder.iterdir()}
    assert names == {".lock", "config.json", "records.jsonl", "checkpoints", "model.safetensors", "report.md"}
    kinds = {row["kind"] for row in read_records(result.folder / "records.jsonl")}
    assert kinds == {"losses", "evaluation", "result", "end"}


def test_model__loaded_again__has_the_accuracy_that_was_recorded(run):
    from auxo.evaluation import Reader

    config, result = run
    with open_runtime(config.runtime) as runtime:
        model = load_model(config, result.folder, runtime=runtime)
        split = TestSplit(oriented_shapes(80, size=32, seed=9))
        rows = Reader.of(model, runtime=runtime, batch_size=50).evaluate(split)
        again = Reader.of(model, runtime=runtime, batch_size=50).evaluate(split)
    assert rows == again
    assert rows[0].main.value > 0.6
