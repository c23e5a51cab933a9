"""What comparisons of methods share: runs that are made once, several at a time, and tables over seeds."""

import platform
import subprocess
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch
from scipy import stats

from auxo.config import config_digest, from_json, to_json
from auxo.evaluation import EvaluationRow
from auxo.experiment import ExperimentConfig
from auxo.runtime import open_runtime
from auxo.training import read_records, train_run

__all__ = ["Job", "accuracies", "compute", "describe", "difference", "per_class", "spread", "train_all"]


class Job(NamedTuple):
    """A run to be made, and its run directory."""

    config: ExperimentConfig
    folder: Path


class _Silent:
    """An observer that says nothing."""

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Say nothing."""

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Say nothing."""

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Say nothing."""


def _train(job: Job) -> Path:
    """Make a run in this process."""
    config, folder = job
    with open_runtime(config.runtime) as runtime:
        train_run(
            config,
            document=to_json(config),
            digest=config_digest(config),
            folder=folder,
            runtime=runtime,
            observer=_Silent(),
        )
    return folder


def train_all(jobs: Sequence[Job], *, processes: int) -> None:
    """Make the runs that are not finished yet, and go on with those that were interrupted.

    Args:
        jobs: each with a folder of its own.
        processes: how many runs at a time; each in a process of its own.

    Raises:
        SystemExit: a folder holds a run of another config.
    """
    waiting = []
    for job in jobs:
        path = job.folder / "config.json"
        if path.exists() and from_json(path.read_text(), origin=str(path)) != job.config:
            raise SystemExit(f"{job.folder} holds a run of another config: choose another --out")
        if not (job.folder / "model.safetensors").exists():
            waiting.append(job)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(_train, job) for job in waiting]):
            print(f"done: {future.result()}", flush=True)


def _results(folder: Path) -> list[dict[str, object]]:
    """Return the rows of the final evaluation."""
    return [row for row in read_records(folder / "records.jsonl") if row["kind"] == "result"]


def accuracies(folder: Path) -> dict[tuple[str, str], float]:
    """Return accuracy in percent by split and head."""
    return {(row["split"], row["head"]): 100 * row["accuracy"] for row in _results(folder)}


def per_class(folder: Path, *, split: str = "test", head: str = "semantic") -> list[float]:
    """Return accuracy in percent on each class."""
    (row,) = (row for row in _results(folder) if (row["split"], row["head"]) == (split, head))
    return [100 * value for value in row["per_class"]]


def compute(folder: Path) -> tuple[float, float]:
    """Return training seconds and floating-point operations."""
    end = next(row for row in read_records(folder / "records.jsonl") if row["kind"] == "end")
    return end["train_seconds"], end["flops"]


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation; at least two values."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def difference(values: Sequence[float], others: Sequence[float]) -> str:
    """Return the mean paired difference with its 95 % t interval; at least two pairs."""
    deltas = [a - b for a, b in zip(values, others, strict=True)]
    half = stats.t.ppf(0.975, len(deltas) - 1) * stdev(deltas) / len(deltas) ** 0.5
    return f"{mean(deltas):+.1f} [{mean(deltas) - half:+.1f}, {mean(deltas) + half:+.1f}]"


def describe(budget: str) -> str:
    """Return one line on the budget, the machine, the versions and the commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    machine = f"{platform.processor() or platform.machine()}, one thread a run, torch {torch.__version__}"
    return f"{budget}, {machine}, commit {commit.stdout.strip()}"
