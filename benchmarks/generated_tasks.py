"""Compare methods that invent their auxiliary task with plain baselines on real images, and print the tables.

    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/generated_tasks.py --study invented
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/generated_tasks.py --study fine
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/generated_tasks.py --study sets --seeds 0 1 2 3 4 5 6 7 8 9
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/generated_tasks.py --study varied --seeds 0 1 2 3 4 5 6 7 8 9

Every run is a run directory under --out; finished ones are read, not repeated, so an interrupted comparison goes on.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Literal

import tyro

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.gates.uniform import UniformGate
from auxo.interfaces import MethodConfig
from auxo.methods.auxilearn import AuxiLearn
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.methods.maxl import MAXL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.labelling import InventedTaskConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.history import RunHistory
from auxo.runtime import RuntimeConfig
from comparison import Job, accuracies, describe, difference, print_accuracies, print_differences, train_here

Study = Literal["invented", "fine", "sets", "varied"]

_FOLDER = Path(os.environ.get("AUXO_DATA", "."))
_SETS = {  # labels, and whether images may be mirrored
    "mnist": (500, False),
    "usps": (500, False),
    "cifar10": (750, True),
    "cifar100": (740, True),
    "dtd10": (500, True),
    "imagenette": (500, True),
    "pacs": (700, True),
}
_WITH_HUMAN = ("cifar100",)  # sets with a column of true sub-classes


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and where."""

    study: Study = "invented"
    """CIFAR-10 with 750 labels, the 20 classes of CIFAR-100 beside their fine labels, seven sets, or MAXL's options on
    USPS."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Every method sees the same splits, first weights and order of data under one seed."""
    lines: tuple[str, ...] = ()
    """Make and show these lines of the table only; default all."""
    sets: tuple[str, ...] = tuple(_SETS)
    """Of the study of seven sets."""
    backbone: str = "lenet5"
    """The network of both levels."""
    out: Path = Path("runs/results/generated_tasks")
    """Folder of the run directories."""


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Args:
        method: what is trained.
        times_epochs: epochs, as a multiple of the study's: to spend the operations of a method that needs more.
    """

    method: MethodConfig
    times_epochs: float = 1.0


def small_maxl() -> MAXL.Config:
    """Return MAXL for a small network: a generator that AdamW trains, at every fourth step."""
    optimizer = OptimizerConfig(lr=0.05, weight_decay=5e-4, schedule="cosine", moves="step")
    generator = OptimizerConfig(name="adamw", lr=3e-3, weight_decay=0.0, schedule="constant")
    return MAXL.Config(
        optimizer=optimizer, generator_optimizer=generator, passes="interleaved", generator_every=4, hidden=64
    )


def given(labels: str, *, column: str = "") -> MAXL.Config:
    """Return the same with sub-classes that are not learned."""
    return replace(small_maxl(), labels=labels, column=column, generator_every=1)


def small_auxilearn() -> AuxiLearn.Config:
    """Return AuxiLearn that invents labels with the same networks, optimisers and turns; its heads are linear."""
    maxl = small_maxl()
    task = InventedTaskConfig(
        sub_classes=maxl.sub_classes, weight=1.0, every=4, optimizer=maxl.generator_optimizer, hidden=maxl.hidden
    )
    return AuxiLearn.Config(
        optimizer=maxl.optimizer, invented=task, gate=UniformGate.Config(), gamma=maxl.gamma, monitor_every=0
    )


def small_dtg() -> DTGAuxL.Config:
    """Return joint data-task generation with the same network, optimisers and turns; its heads are linear."""
    maxl = small_maxl()
    return DTGAuxL.Config(optimizer=maxl.optimizer, generator_optimizer=maxl.generator_optimizer, upper_every=4)


def invented() -> dict[str, Line]:
    """Return the lines on CIFAR-10."""
    return {
        "single": Line(given("none")),
        "single, longer": Line(given("none"), times_epochs=2.0),
        "uniform": Line(given("uniform")),
        "uniform, longer": Line(given("uniform"), times_epochs=1.8),
        "random": Line(given("random")),
        "k-means": Line(given("k_means")),
        "frozen generator": Line(given("frozen")),
        "MAXL": Line(small_maxl()),
        "MAXL, entropy 0.02": Line(replace(small_maxl(), entropy_weight=0.02)),
        "MAXL, image rewards": Line(replace(small_maxl(), image_rewards=True, entropy_weight=0.005)),
        "single, linear heads": Line(replace(given("none"), hidden=0)),
        "uniform, linear heads": Line(replace(given("uniform"), hidden=0)),
        "AuxiLearn, linear heads": Line(small_auxilearn()),
        "DTG, linear heads": Line(small_dtg()),
    }


def fine() -> dict[str, Line]:
    """Return the lines on the 20 classes of CIFAR-100."""
    lines = invented()
    human = Line(given("column", column="fine"))
    return {"human": human, **{name: lines[name] for name in ("single", "uniform", "random", "MAXL")}}


def sets() -> dict[str, Line]:
    """Return the lines on the seven sets; human labels where there are some."""
    lines = fine()
    return {name: lines[name] for name in ("single", "uniform", "random", "MAXL", "human")}


def varied() -> dict[str, Line]:
    """Return MAXL with other numbers of sub-classes, and without the entropy term."""
    maxl = small_maxl()
    return {
        "single": Line(given("none")),
        "MAXL, 2": Line(replace(maxl, sub_classes=(2,))),
        "MAXL, 5": Line(maxl),
        "MAXL, 10": Line(replace(maxl, sub_classes=(10,))),
        "MAXL, no entropy": Line(replace(maxl, entropy_weight=0.0)),
    }


STUDIES: dict[Study, Callable[[], dict[str, Line]]] = {
    "invented": invented,
    "fine": fine,
    "sets": sets,
    "varied": varied,
}


def job(options: Options, name: str, line: Line, seed: int, *, images: str = "") -> Job:
    """Return the run of a line with a seed; of one of the seven sets where ``images`` names it."""
    if options.study == "invented":
        data, batch_size = _own("cifar10", 750, True), 50
    elif options.study == "fine":
        data, batch_size = _with_fine_labels(2000), 100
    elif images == "cifar100":
        data, batch_size = _with_fine_labels(_SETS[images][0]), 50
    else:
        data, batch_size = _own(images or "usps", *_SETS[images or "usps"]), 50
    epochs = 25 if options.study in ("sets", "varied") else 40
    config = ExperimentConfig(
        stages=(StageConfig(method=line.method, epochs=round(epochs * line.times_epochs), batch_size=batch_size),),
        backbone=BackboneConfig(name=options.backbone),
        data=data,
        training=TrainingConfig(evaluate_every=1000, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
        seed=seed,
    )
    word = name.replace(",", "").replace(" ", "-")
    return Job(config, options.out / options.study / options.backbone / images / word / f"seed{seed}")


def _with_fine_labels(num_train: int) -> DataConfig:
    """Return some labels of the 20 classes of CIFAR-100, the fine ones beside them."""
    return DataConfig(
        scenario="cifar100", label_column="coarse", columns=("fine",), num_train=num_train, augment="crop_flip"
    )


def _own(name: str, num_train: int, is_mirrored: bool) -> DataConfig:
    """Return some labels of a set at 32 pixels, and its whole test part."""
    folder = _FOLDER / name
    return DataConfig(
        train=str(folder / "train.parquet"),
        test=str(folder / "test.parquet"),
        num_train=num_train,
        image_size=32,
        augment="crop_flip" if is_mirrored else "crop",
    )


def last_metrics(folder: Path) -> dict[str, float]:
    """Return the mean of what the second level recorded in the last tenth of the steps."""
    measured = (row.values for row in RunHistory.read_finished(folder).measured())
    rows = [values for values in measured if "label_information" in values]
    late = rows[-max(1, len(rows) // 10) :]
    names = {name for row in late for name in row}  # some are looked at in some steps only
    return {name: mean(row[name] for row in late if name in row) for name in names}


def print_labels(folders: dict[str, list[Path]]) -> None:
    """Print whether the labels meant anything."""
    print("\nInvented labels in the last tenth of the steps, mean over seeds\n")
    names = ("label_entropy", "label_information", "labels_used", "taught_gradient", "entropy_gradient")
    print("| method | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, runs in folders.items():
        found = [metrics for metrics in map(last_metrics, runs) if metrics]
        if found:
            cells = [f"{mean(each[key] for each in found):.3g}" if key in found[0] else "" for key in names]
            print(f"| {name} | {' | '.join(cells)} |")


def print_study(jobs: dict[str, list[Job]]) -> None:
    """Print accuracy on the test part, paired differences, compute, and what the labels say."""
    folders = {name: [run.folder for run in runs] for name, runs in jobs.items()}
    results = {n: [{"test": accuracies(run)["test", "semantic"]} for run in runs] for n, runs in folders.items()}
    print("\nAccuracy, %, mean ± standard deviation\n")
    print_accuracies(results, folders)
    for baseline in ("single", "uniform", "frozen generator", "human"):
        if baseline in results:
            print(f"\nPaired difference to {baseline}, points, mean [95 % t interval]\n")
            print_differences(results, baseline)
    print_labels(folders)


def print_sets(jobs: dict[str, dict[str, list[Job]]]) -> None:
    """Print one line for each set: accuracy alone, and what each labelling adds."""
    print(
        "\n| set | single | uniform - single | random - single | MAXL - single | MAXL - uniform | MAXL - human |\n"
        + "|---" * 7
        + "|"
    )
    for images, lines in jobs.items():
        found = {name: [accuracies(run.folder)["test", "semantic"] for run in runs] for name, runs in lines.items()}
        pairs = [
            ("uniform", "single"),
            ("random", "single"),
            ("MAXL", "single"),
            ("MAXL", "uniform"),
            ("MAXL", "human"),
        ]
        cells = [difference(found[a], found[b]) if {a, b} <= found.keys() else "" for a, b in pairs]
        print(f"| {images} | {mean(found['single']):.1f} | {' | '.join(cells)} |")
        print_labels({name: [run.folder for run in runs] for name, runs in lines.items()})


def main(options: Options) -> None:
    """Run what is missing and print the tables."""
    lines = {n: line for n, line in STUDIES[options.study]().items() if not options.lines or n in options.lines}
    groups = options.sets if options.study == "sets" else ("",)
    jobs = {
        g: {
            n: [job(options, n, line, s, images=g) for s in options.seeds]
            for n, line in lines.items()
            if options.study != "sets" or n != "human" or g in _WITH_HUMAN
        }
        for g in groups
    }
    seeds = range(len(options.seeds))
    train_here([runs[number] for group in jobs.values() for number in seeds for runs in group.values()])
    print("\n" + describe(f"{options.study}: seeds {options.seeds}"))
    if options.study == "sets":
        print_sets(jobs)
    else:
        print_study(jobs[""])


if __name__ == "__main__":
    main(tyro.cli(Options))
