"""Runs over a real Ray cluster of this machine that the test starts."""

import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import pytest

from auxo.errors import DeviceError
from auxo.jobs import Job, RayCluster, is_finished, run_jobs
from auxo.jobs.parcel import unpack_folder
from auxo.jobs.ray_task import make_order, work
from auxo.runs.document import from_json

pytestmark = pytest.mark.slow

FAILING = '''
"""A supervised method that raises."""
from auxo.runs.document import load_recipe
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.methods import supervised
from dataclasses import dataclass


class Failing(supervised.Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(supervised.Supervised.Config):
        pass

    def update(self, state, batches, runtime):
        raise TypeError("not here either")


def recipe():
    return ExperimentConfig(stages=(StageConfig(method=Failing.Config()),))
'''


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two cores in this process's hands, in a short folder of its own."""
    ray = pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as place:
        before = signal.getsignal(signal.SIGTERM)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=place,
            object_store_memory=100 * 2**20,
        )
        yield ray
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def make_jobs(finished_run, tmp_path):
    """Jobs of some seeds that repeat a finished run."""
    path = finished_run / "config.json"
    config = from_json(path.read_text(), origin=str(path))

    def make(count):
        return [
            Job(f"run{seed}", replace(config, seed=seed), tmp_path / "grid" / f"run{seed}") for seed in range(count)
        ]

    return make


def test_ray_cluster__three_runs_on_two_cores__the_same_weights_as_alone(cluster, make_jobs, finished_run):
    jobs = make_jobs(3)
    outcomes = run_jobs(jobs, executor=RayCluster())
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("finished", None)] * 3
    model = "model.safetensors"
    assert (jobs[0].folder / model).read_bytes() == (finished_run / model).read_bytes()
    assert "epoch 1" in jobs[0].log.read_text()
    assert {path.name for path in jobs[0].folder.parent.iterdir()} == {"run0", "run1", "run2"}, "a token was left"
    assert [outcome.status for outcome in run_jobs(jobs, executor=RayCluster())] == ["reused"] * 3


def test_ray_cluster__folder_not_visible__files_come_back(cluster, make_jobs, finished_run):
    (job,) = make_jobs(1)
    order = {**make_order(job, token="one-that-is-not-there", files=None, threads=1), "cwd": "/nowhere"}
    answer = cluster.get(cluster.remote(work).remote(order))
    assert answer["reason"] == ""
    assert not job.folder.exists()
    unpack_folder(answer["files"], job.folder)
    assert (job.folder / "model.safetensors").read_bytes() == (finished_run / "model.safetensors").read_bytes()
    assert is_finished(job.folder)


def test_ray_cluster__a_run_too_large_for_every_machine__refused(cluster, make_jobs):
    with pytest.raises(DeviceError, match="a machine with 64 cores"):
        run_jobs(make_jobs(1), executor=RayCluster(cpus=64))


def test_compare__over_a_local_cluster_with_a_method_that_raises__table_and_code_1(shapes_folder, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    words = ["compare", "--data.train", str(shapes_folder), "--methods", "supervised,failing.py", "--seeds", "2"]
    options = ["--epochs", "1", "--ray", "local", "--training.no-tensorboard", "--out", "grid"]
    program = [sys.executable, "-W", "error", "-m", "auxo", *words, *options]
    made = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1500)
    assert made.returncode == 1, made.stderr
    assert "TypeError: not here either (failing.py, line 16)" in made.stdout
    assert made.stdout.count("finished supervised-seed") == 2
    assert made.stdout.count("failed failing-seed") == 2
    assert "not finished, and left out: failing-seed0, failing-seed1" in made.stdout
    assert made.stderr == ""


def test_compare__interrupted_over_a_local_cluster__saves_and_goes_on(shapes_folder, tmp_path):
    words = ["compare", "--data.train", str(shapes_folder), "--methods", "rotation", "--seeds", "1"]
    options = ["--epochs", "200", "--ray", "local", "--training.no-tensorboard", "--out", str(tmp_path / "grid")]
    program = [sys.executable, "-m", "auxo", *words, *options, "--training.checkpoint-every", "1000"]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    records = tmp_path / "grid" / "rotation-seed0" / "records.jsonl"
    while not (records.exists() and records.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=1500)
    assert process.returncode == 130, errors
    assert "give the same command again" in errors
    assert len(errors.splitlines()) == 1
    assert "the state is saved" in (records.parent / "log.txt").read_text()
    assert list((records.parent / "checkpoints").glob("train-*.safetensors"))
