"""Compare OSSL in all scopes with its baselines and controls over several seeds, and print the tables.

    OMP_NUM_THREADS=1 python benchmarks/ossl_results.py --scenario digits
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/ossl_results.py --scenario mnist-usps-mnistm

Every run is a run directory under --out; finished ones are read, not repeated, so an interrupted comparison goes on.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import tyro

from auxo.data import DataConfig
from auxo.interfaces import MethodConfig
from auxo.methods.joint_training import JointTraining
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.rotation import Rotation
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runtime import RuntimeConfig
from comparison import Job, accuracies, describe, print_accuracies, print_differences, spread, train_all

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
    rotation = JointTraining.Config(pretext=Rotation(), shared_upright=True)
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
    processes: int = 1
    """Runs at a time, each with one thread."""
    out: Path = Path("runs/results")
    """Folder of the run directories."""


def job(options: Options, name: str, seed: int) -> Job:
    """Return the run of one method with one seed."""
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
    return Job(config, folder)


def print_tables(folders: dict[str, list[Path]]) -> None:
    """Print accuracy with rotation accuracy beside it, paired differences, and compute."""
    measured = {name: [accuracies(folder) for folder in runs] for name, runs in folders.items()}
    names = sorted({split for split, _ in measured["supervised"][0]}, key=lambda s: (s.startswith("ood/"), s != "test"))
    results = {name: [{s: run[s, "semantic"] for s in names} for run in runs] for name, runs in measured.items()}
    rows: dict[str, list[str]] = {name: [] for name in measured}
    for name, runs in measured.items():
        for split in names:
            rotation = [run[split, "rotation"] for run in runs if (split, "rotation") in run]
            semantic = spread([run[split, "semantic"] for run in runs])
            rows[name].append(semantic + (f" / {spread(rotation)}" if rotation else ""))
    print("\nSemantic accuracy, and behind the stroke rotation accuracy, %, mean ± standard deviation\n")
    print_accuracies(results, folders, rows=rows)
    print(f"\nPaired difference of semantic accuracy to {BASELINE}, points, mean [95 % t interval]\n")
    print_differences(results, BASELINE)


def main(options: Options) -> None:
    """Run what is missing and print the tables."""
    names = entries(options.scenario)
    jobs = {name: [job(options, name, seed) for seed in range(options.seeds)] for name in names}
    train_all([runs[seed] for seed in range(options.seeds) for runs in jobs.values()], processes=options.processes)
    print("\n" + describe(f"{options.scenario}: {options.seeds} seeds, {options.epochs} epochs"))
    print_tables({name: [run.folder for run in runs] for name, runs in jobs.items()})


if __name__ == "__main__":
    main(tyro.cli(Options))
