"""What comparisons of methods share: runs that are made once, several at a time, and tables over seeds."""

import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

import auxo.jobs
from auxo.comparison import paired_t
from auxo.errors import AuxoError
from auxo.runs.document import config_digest, to_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.model import splits_of
from auxo.runs.results import EvaluationRow
from auxo.runtime import open_runtime
from auxo.training import SilentObserver, train_run

__all__ = [
    "Job",
    "Results",
    "accuracies",
    "compute",
    "describe",
    "difference",
    "per_class",
    "print_accuracies",
    "print_differences",
    "read_evaluation",
    "spread",
    "train_all",
    "train_here",
]

Results: TypeAlias = dict[str, list[dict[str, float]]]
"""Accuracies in percent by title, of each run of each line of a table."""


class Job(NamedTuple):
    """A run to be made, and its run directory."""

    config: ExperimentConfig
    folder: Path


def train_all(jobs: Sequence[Job], *, processes: int) -> None:
    """Make the runs that are not finished yet, and go on with those that were interrupted.

    Args:
        jobs: those of one folder are one run.
        processes: how many runs at a time; each in a process of its own, with one thread.

    Raises:
        SystemExit: a folder holds a run of another config, or a run failed.
    """
    runs = [
        auxo.jobs.Job(str(folder), config, folder)
        for folder, config in {job.folder: job.config for job in jobs}.items()
    ]
    try:
        outcomes = auxo.jobs.run_jobs(
            runs, executor=auxo.jobs.LocalProcesses(processes=processes, threads=1), on_outcome=_tell
        )
    except AuxoError as error:
        raise SystemExit(str(error)) from error
    if any(outcome.error for outcome in outcomes):
        raise SystemExit("some runs failed; mend that and start again")


def train_here(jobs: Sequence[Job]) -> None:
    """Make the runs that are not finished yet, one after another in this process: for runs of seconds.

    Args:
        jobs: those next to each other with the same images have them read once.

    Raises:
        SystemExit: a run cannot be made.
    """
    splits, images = None, ""
    try:
        with open_runtime(jobs[0].config.runtime) as runtime:
            for config, folder in jobs:
                if folder.exists() and RunHistory.read(folder).is_finished:
                    continue
                learned = [stage.method.learned_columns for stage in config.stages]
                if splits is None or images != repr((config.data, config.seed, learned)):
                    splits, images = splits_of(config), repr((config.data, config.seed, learned))
                train_run(
                    config,
                    document=to_json(config),
                    digest=config_digest(config),
                    folder=folder,
                    runtime=runtime,
                    observer=SilentObserver(),
                    splits=splits,
                )
                print(f"done: {folder}", flush=True)
    except AuxoError as error:
        raise SystemExit(str(error)) from error


def _tell(outcome: auxo.jobs.Outcome) -> None:
    """Print what became of a run that was made."""
    if outcome.status != "reused":
        reason = f": {outcome.error}; see {outcome.job.log}" if outcome.error else ""
        print(f"{'failed' if reason else 'done'}: {outcome.job.folder}{reason}", flush=True)


def accuracies(folder: Path) -> dict[tuple[str, str], float]:
    """Return accuracy in percent by split and head, those of pretexts too."""
    return {(row.split, row.head): 100 * row.main.value for row in RunHistory.read_finished(folder).rows}


def read_evaluation(path: Path, *, head: str) -> dict[str, float]:
    """Return accuracy in percent by split of a head in a file that ``auxo evaluate`` wrote."""
    rows = [EvaluationRow.from_record(json.loads(line)) for line in path.read_text().splitlines()]
    return {row.split: 100 * row.main.value for row in rows if row.head == head}


def per_class(folder: Path, *, split: str = "test", head: str = "semantic") -> list[float]:
    """Return accuracy in percent on each class."""
    (row,) = (row for row in RunHistory.read_finished(folder).rows if (row.split, row.head) == (split, head))
    return [100 * part.value for part in row.parts["class"].values() if part.value is not None]


def compute(folder: Path) -> tuple[float, float]:
    """Return training seconds, wall-clock on a machine that may do other things too, and floating-point operations."""
    cost = RunHistory.read_finished(folder).compute
    return cost.train_seconds, cost.flops


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation; at least two values."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def difference(values: Sequence[float], others: Sequence[float]) -> str:
    """Return the mean paired difference with its 95 % t interval; at least two pairs."""
    deltas = [a - b for a, b in zip(values, others, strict=True)]
    (low, high), _ = paired_t(np.array(deltas))
    return f"{mean(deltas):+.1f} [{low:+.1f}, {high:+.1f}]"


def print_accuracies(
    results: Results, folders: dict[str, list[Path]], *, kind: str = "method", rows: dict[str, list[str]] | None = None
) -> None:
    """Print a table of accuracies with what the runs cost.

    Args:
        results: accuracies; the titles are those of the first run.
        folders: the run directories by line.
        kind: what a line is.
        rows: cells by line, where they are not mean and deviation of the results.
    """
    titles = list(next(iter(results.values()))[0])
    print(f"| {kind} | " + " | ".join(titles) + " | seconds | 10^9 flop |")
    print("|---" * (len(titles) + 1) + "|---:|---:|")
    for name, runs in results.items():
        cells = [spread([run[title] for run in runs]) for title in titles] if rows is None else rows[name]
        spent = [compute(folder) for folder in folders[name]]
        seconds, flops = mean(s for s, _ in spent), mean(f for _, f in spent) / 1e9
        print(f"| {name} | {' | '.join(cells)} | {seconds:.0f} | {flops:.0f} |")


def print_differences(results: Results, baseline: str, *, kind: str = "method") -> None:
    """Print a table of the paired differences to one of the lines."""
    titles = list(results[baseline][0])
    print(f"| {kind} | " + " | ".join(titles) + " |\n" + "|---" * (len(titles) + 1) + "|")
    for name, runs in results.items():
        if name != baseline:
            pairs = [([run[t] for run in runs], [run[t] for run in results[baseline]]) for t in titles]
            print(f"| {name} | {' | '.join(difference(*pair) for pair in pairs)} |")


def describe(budget: str) -> str:
    """Return one line on the budget, the machine, the versions and the commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    machine = f"{platform.processor() or platform.machine()}, one thread a run, torch {torch.__version__}"
    return f"{budget}, {machine}, commit {commit.stdout.strip()}"
