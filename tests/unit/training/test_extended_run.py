"""More epochs for a finished run: it goes on from its last checkpoint as a longer run."""

import shutil

import pytest
import torch

from auxo.errors import CheckpointError, ConfigError
from auxo.files.tensor_file import read_tensor_file
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.runs.document import config_digest
from auxo.runs.experiment import StageConfig
from auxo.runs.extension import extend_run, lengthen_config
from auxo.runs.history import RunHistory

from .run_here import make_config, rows, train, weights_of


def make_run(epochs, **schedule):
    method = Supervised.Config(optimizer=OptimizerConfig(lr=0.02, **schedule))
    return make_config(StageConfig(method=method, epochs=epochs, batch_size=32), log_every=1)


def extend(config, folder, epochs):
    """Extend a finished run and train it."""
    longer = lengthen_config(config, epochs, folder=folder)
    extend_run(folder, config, longer)
    train(longer, folder)
    return longer


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A finished run of two epochs, and its config."""
    config, folder = make_run(2, schedule="constant"), tmp_path_factory.mktemp("short") / "run"
    train(config, folder)
    return config, folder


def test_extend__constant_rate__has_the_bits_of_a_run_of_all_epochs(short, tmp_path):
    config, folder = short
    shutil.copytree(folder, tmp_path / "run")
    longer = extend(config, tmp_path / "run", 4)
    whole = make_run(4, schedule="constant")
    assert longer == whole
    train(whole, tmp_path / "whole")
    ours, theirs = (weights_of(tmp_path / name / "model.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert read_tensor_file(tmp_path / "run" / "model.safetensors").header["run"] == config_digest(whole)
    history = RunHistory.read_finished(tmp_path / "run")
    assert history.epochs == (4,)
    assert history.extensions[0].digest == config_digest(config)
    said = "stage train was extended from 2 to 4 epochs at step 4"
    assert said in (tmp_path / "run" / "report.md").read_text().lower()
    (row,) = rows(tmp_path / "run", "extension")
    assert (row["step"], row["epoch"], row["epochs"]) == (4, 2, 4)
    assert len(rows(tmp_path / "run", "end")) == 1
    assert [row["epoch"] for row in rows(tmp_path / "run", "evaluation")] == [1, 2, 3, 4]


def test_extend__cosine__goes_on_at_the_rate_of_the_longer_schedule(tmp_path):
    config = make_run(1, schedule="cosine", moves="step")
    train(config, tmp_path / "run")
    extend(config, tmp_path / "run", 2)
    rates = [row["lr"]["main"] for row in rows(tmp_path / "run", "losses")]
    expected = [0.01 * (1 + torch.tensor(torch.pi * x).cos().item()) for x in (0.0, 0.5, 0.5, 0.75)]
    assert rates == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_extend__interrupted_before_the_config_was_written__can_be_repeated(short, tmp_path):
    config, folder = short
    shutil.copytree(folder, tmp_path / "run")
    text = (tmp_path / "run" / "config.json").read_text()
    longer = lengthen_config(config, 3, folder=tmp_path / "run")
    extend_run(tmp_path / "run", config, longer)
    (tmp_path / "run" / "config.json").write_text(text)
    extend(config, tmp_path / "run", 3)
    assert len(RunHistory.read_finished(tmp_path / "run").extensions) == 1


def test_lengthen_config__fewer_epochs_or_an_unfinished_run__is_refused(short, tmp_path):
    config, folder = short
    with pytest.raises(ConfigError, match="above the 2 that"):
        lengthen_config(config, 2, folder=folder)
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="a finished run"):
        lengthen_config(config, 3, folder=tmp_path / "run")
