"""Trackers: what they are told, that a run goes on in them, and that a failing one stops no training."""

import json
import sys

import pytest

from auxo.errors import CheckpointError, ConfigError
from auxo.runs.history import RunHistory
from auxo.runs.journal import Journal
from auxo.runs.trackers import AbstractTracker, ForgivingTracker, check_trackers, open_trackers, read_trackers


class Notebook(AbstractTracker):
    """Keeps what it is told, until its page is full."""

    def __init__(self, room=100):
        self.identity, self.room, self.told, self.ends = "page-1", room, [], []

    def add(self, step, values):
        if len(self.told) == self.room:
            raise ConnectionError("the page is full\nturn it")
        self.told.append((step, dict(values)))

    def sync(self):
        """Nothing is left to write."""

    def close(self, *, is_finished=False):
        self.ends.append(is_finished)


def test_journal__tracker__gets_every_curve_by_the_step_of_the_run_and_the_end(tmp_path):
    notebook = Notebook()
    journal = Journal(tmp_path, stages=["a", "b"], first_steps=[0, 10], tensorboard=False, trackers=[notebook])
    journal.losses("b", 2, 0.5, {"semantic": 1.5}, {"main": 0.1}, 70.0)
    journal.write("end", "b", 4, {})
    journal.close()
    assert notebook.told == [
        (12, {"train/semantic": 1.5}),
        (12, {"lr/main": 0.1}),
        (12, {"train/images_per_second": 70.0}),
    ]
    assert notebook.ends == [True]


def test_journal__run_that_is_not_finished__closes_its_trackers_so(tmp_path):
    notebook = Notebook()
    Journal(tmp_path, stages=["a"], first_steps=[0], tensorboard=False, trackers=[notebook]).close()
    assert notebook.ends == [False]


def test_forgiving_tracker__service_fails__tells_once_and_writes_no_more():
    notebook, said = Notebook(room=1), []
    tracker = ForgivingTracker(notebook, failures=(OSError,), tell=said.append)
    for step in range(4):
        tracker.add(step, {"loss": 1.0})
    tracker.sync()
    tracker.close(is_finished=True)
    assert (tracker.identity, notebook.told) == ("page-1", [(0, {"loss": 1.0})])
    assert said == ["the page is full"]
    assert notebook.ends == []


def test_forgiving_tracker__error_of_another_kind__is_raised():
    tracker = ForgivingTracker(Notebook(room=0), failures=(KeyError,), tell=print)
    with pytest.raises(ConnectionError):
        tracker.add(0, {"loss": 1.0})


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_check_trackers__package_missing__says_how_to_get_it(monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"the package {name}.*pip install 'auxo\[{name}\]'"):
        check_trackers([name])


def test_read_trackers__damaged_file__is_refused(tmp_path):
    assert read_trackers(tmp_path) == {}
    (tmp_path / "trackers.json").write_text('{"wandb": 3}')
    with pytest.raises(CheckpointError, match=r"trackers.json as auxo writes it.*remove it"):
        read_trackers(tmp_path)


def open_offline(name, folder):
    """Return a tracker of a run with three options."""
    document = json.dumps({"seed": 3, "data": {"image_size": 64}, "stages": [{"epochs": 2}]})
    (tracker,) = open_trackers([name], folder=folder, document=document, project="shapes", is_offline=True)
    return tracker


@pytest.mark.filterwarnings("ignore")  # mlflow's own, of sqlalchemy
def test_mlflow__offline__has_curves_and_options_in_the_run_directory_and_goes_on(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    first = open_offline("mlflow", tmp_path)
    first.add(1, {"val/semantic_accuracy": 0.25})
    first.add(2, {"val/semantic_accuracy": 0.5, "worst:group": 0.125})
    first.close()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.get_run(first.identity).info.status == "KILLED"
    second = open_offline("mlflow", tmp_path)
    second.add(3, {"val/semantic_accuracy": 0.75})
    second.close(is_finished=True)
    assert second.identity == first.identity == read_trackers(tmp_path)["mlflow"]["identity"]
    found = client.get_run(first.identity)
    assert (found.info.run_name, found.info.status) == (tmp_path.name, "FINISHED")
    assert found.data.params == {"seed": "3", "data.image_size": "64", "stages.0.epochs": "2"}
    points = client.get_metric_history(first.identity, "val/semantic_accuracy")
    assert sorted((point.step, point.value) for point in points) == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert found.data.metrics["worst_group"] == 0.125
    assert client.get_experiment(found.info.experiment_id).name == "shapes"


def test_wandb__offline__writes_into_the_run_directory_and_goes_on(tmp_path):
    pytest.importorskip("wandb")
    first = open_offline("wandb", tmp_path)
    first.add(1, {"train/loss": 0.5})
    first.add(1, {"lr/main": 0.1})
    first.close()
    second = open_offline("wandb", tmp_path)
    second.add(2, {"train/loss": 0.25})
    second.close(is_finished=True)
    assert second.identity == first.identity == read_trackers(tmp_path)["wandb"]["identity"]
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*-{first.identity}/run-{first.identity}.wandb"))
    assert 1 <= len(files) <= 2  # two begun within a second share a folder
    assert any(b"train/loss" in path.read_bytes() for path in files)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_train__tracker_offline__is_named_at_the_end_and_finished(auxo, shapes_folder, tiny_options, tmp_path, name):
    pytest.importorskip(name)
    out = tmp_path / "run"
    words = ["--training.trackers", name, "--training.trackers-offline", "--training.trackers-project", "shapes"]
    answer = auxo("train", "supervised", "--data.train", shapes_folder, *tiny_options, *words, "--out", out)
    assert answer.code == 0, answer.err
    assert f"tracker {name}: {read_trackers(out)[name]['identity']}" in answer.out
    assert read_trackers(out)[name]["failure"] is None
    assert RunHistory.read(out).is_finished


def test_train__tracker_that_is_not_installed__is_refused_before_the_run_is_written(
    auxo, shapes_folder, tiny_options, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    words = ["--training.trackers", "wandb", "--out", tmp_path / "run"]
    answer = auxo("train", "supervised", "--data.train", shapes_folder, *tiny_options, *words)
    assert answer.code == 2
    assert "pip install 'auxo[wandb]'" in answer.err
    assert not (tmp_path / "run" / "config.json").exists()
