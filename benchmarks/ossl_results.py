"""Compare OSSL in all scopes with its baselines and controls over several seeds, and print the tables.

    OMP_NUM_THREADS=1 python benchmarks/ossl_results.py --scenario digits
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/ossl_results.py --scenario mnist-usps-mnistm

Every run is a run directory under --out; finished ones are read, not repeated, so an interrupted comparison goes on.
"""

import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Literal, NamedTuple

import torch
import tyro
from scipy import stats

from auxo.config import config_digest, from_json, to_json
from auxo.data import DataConfig, Splits, load_splits
from auxo.evaluation import EvaluationRow
from auxo.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.interfaces import MethodConfig
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.rotation import JointRotation
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from auxo.training import read_records, train_run

BASELINE = "rotation"


class Entry(NamedTuple):
    """One line of the tables: the method, and what it has beyond the others."""

    method: MethodConfig
    times_epochs: int = 1
    augment: Literal["none", "crop"] = "none"
    meta_fraction: float = 0.0


def entries(scenario: str) -> dict[str, Entry]:
    """Return the methods by the name of their line.

    LeNet-5 has no batch norm, so the shared upright pass gives the numbers of two passes at less cost. What crops
    change, and the variants of the implicit scope, are looked at on the built-in digits only.
    """
    doubled = OptimizerConfig(lr=0.02, weight_decay=2e-4)
    rotation = JointRotation.Config(shared_upright=True)
    ossl = OSSL.Config(shared_upright=True)
    implicit = replace(ossl, scope="implicit")
    plain = {
        "supervised": Entry(Supervised.Config()),
        "supervised, 5 x epochs": Entry(Supervised.Config(), times_epochs=5),
        "rotation": Entry(rotation),
        "rotation, 2 x lr and decay": Entry(replace(rotation, optimizer=doubled)),
        "ossl reference": Entry(ossl),
        "ossl head_only": Entry(replace(ossl, scope="head_only")),
        "ossl difference": Entry(replace(ossl, scope="difference")),
        "ossl implicit": Entry(implicit),
        "two steps on one head": Entry(replace(ossl, second_head="semantic")),
        "two classifiers, no rotation": Entry(OSSL.Config(rotation="off")),
    }
    more = {
        "ossl implicit, weight 0.1": Entry(replace(implicit, implicit=ImplicitConfig(weight=0.1))),
        "ossl implicit, meta response": Entry(
            replace(implicit, implicit=ImplicitConfig(response="meta")), meta_fraction=0.1
        ),
        "supervised, shifted": Entry(Supervised.Config(), augment="crop"),
        "rotation, shifted": Entry(rotation, augment="crop"),
        "ossl reference, shifted": Entry(ossl, augment="crop"),
    }
    return plain | more if scenario == "digits" else plain


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    scenario: str = "digits"
    """Data scenario."""
    seeds: int = 5
    """Number of seeds; every method sees the same splits, first weights and order of data under one seed."""
    epochs: int = 8
    """Epochs of a run."""
    out: Path = Path("runs/results")
    """Folder of the run directories."""


class Silent:
    """An observer that says nothing."""

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Say nothing."""

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Say nothing."""

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Say nothing."""


def effective(config: ExperimentConfig) -> ExperimentConfig:
    """Return a config without the options that its method does not read."""
    (stage,) = config.stages
    if isinstance(stage.method, OSSL.Config) and stage.method.scope != "implicit":
        method = replace(stage.method, implicit=ImplicitConfig())
        return replace(config, stages=(replace(stage, method=method),))
    return config


def run_one(options: Options, name: str, seed: int, splits: Callable[[DataConfig], Splits], runtime: Runtime) -> Path:
    """Train one method with one seed, unless that is done."""
    entry = entries(options.scenario)[name]
    folder = options.out / options.scenario / name.replace(" ", "-").replace(",", "") / f"seed{seed}"
    epochs = options.epochs * entry.times_epochs
    config = ExperimentConfig(
        stages=(StageConfig(method=entry.method, epochs=epochs),),
        data=DataConfig(scenario=options.scenario, augment=entry.augment, meta_fraction=entry.meta_fraction),
        training=TrainingConfig(evaluate_every=epochs, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
        seed=seed,
    )
    if (folder / "config.json").exists():
        stored = from_json((folder / "config.json").read_text(), origin=str(folder))
        if effective(stored) != effective(config):
            raise SystemExit(f"{folder} holds another config: choose another --out")
    if not (folder / "model.safetensors").exists():
        digest = config_digest(config)
        train_run(
            config,
            document=to_json(config),
            digest=digest,
            folder=folder,
            runtime=runtime,
            observer=Silent(),
            splits=splits(config.data),
        )
        print(f"done: {folder}", flush=True)
    return folder


def accuracies(folder: Path) -> dict[tuple[str, str], float]:
    """Return accuracy in percent by split and head."""
    rows = [row for row in read_records(folder / "records.jsonl") if row["kind"] == "result"]
    return {(row["split"], row["head"]): 100 * row["accuracy"] for row in rows}


def compute(folder: Path) -> tuple[float, float]:
    """Return training seconds and floating-point operations."""
    end = next(row for row in read_records(folder / "records.jsonl") if row["kind"] == "end")
    return end["train_seconds"], end["flops"]


def spread(values: list[float]) -> str:
    """Return mean and sample standard deviation."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def difference(values: list[float], others: list[float]) -> str:
    """Return the mean paired difference with its 95 % t interval."""
    deltas = [a - b for a, b in zip(values, others, strict=True)]
    half = stats.t.ppf(0.975, len(deltas) - 1) * stdev(deltas) / len(deltas) ** 0.5
    return f"{mean(deltas):+.1f} [{mean(deltas) - half:+.1f}, {mean(deltas) + half:+.1f}]"


def print_tables(folders: dict[str, list[Path]]) -> None:
    """Print accuracy with rotation accuracy beside it, paired differences, and compute."""
    results = {name: [accuracies(folder) for folder in runs] for name, runs in folders.items()}
    names = sorted({split for split, _ in results["supervised"][0]}, key=lambda s: (s.startswith("ood/"), s != "test"))
    header = "| method | " + " | ".join(names) + " | seconds | 10^9 flop |"
    rule = "|---" * (len(names) + 1) + "|---:|---:|"
    print("\nSemantic accuracy, and behind the stroke rotation accuracy, %, mean ± standard deviation\n")
    print(f"{header}\n{rule}")
    for name, runs in results.items():
        cells = []
        for split in names:
            rotation = [run[split, "rotation"] for run in runs if (split, "rotation") in run]
            cells.append(
                spread([run[split, "semantic"] for run in runs]) + (f" / {spread(rotation)}" if rotation else "")
            )
        spent = [compute(folder) for folder in folders[name]]
        seconds, flops = mean(s for s, _ in spent), mean(f for _, f in spent) / 1e9
        print(f"| {name} | {' | '.join(cells)} | {seconds:.0f} | {flops:.0f} |")
    print(f"\nPaired difference of semantic accuracy to {BASELINE}, points, mean [95 % t interval]\n")
    print("| method | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, runs in results.items():
        if name != BASELINE:
            cells = [
                difference([run[s, "semantic"] for run in runs], [run[s, "semantic"] for run in results[BASELINE]])
                for s in names
            ]
            print(f"| {name} | {' | '.join(cells)} |")


def main(options: Options) -> None:
    """Run what is missing and print the tables."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    folders: dict[str, list[Path]] = {name: [] for name in entries(options.scenario)}
    with open_runtime(RuntimeConfig(device="cpu", threads=1)) as runtime:
        for seed in range(options.seeds):
            loaded: dict[float, Splits] = {}

            def splits(data: DataConfig, seed: int = seed, loaded: dict[float, Splits] = loaded) -> Splits:
                if data.meta_fraction not in loaded:
                    loaded[data.meta_fraction] = load_splits(data, seed=seed)
                return loaded[data.meta_fraction]

            for name in entries(options.scenario):
                folders[name].append(run_one(options, name, seed, splits, runtime))
    machine = f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}"
    budget = f"{options.seeds} seeds, {options.epochs} epochs"
    print(f"\n{options.scenario}: {budget}, {machine}, commit {commit.stdout.strip()}")
    print_tables(folders)


if __name__ == "__main__":
    main(tyro.cli(Options))
