"""Compare BiSSL under several solvers with conventional fine-tuning at equal compute, and print the tables.

    AUXO_DATA=... python benchmarks/bissl_results.py --downstream dtd10 --seeds 0 1 2

A ResNet-8 is pretrained by SimCLR on images of CIFAR-10 once; every run starts from it, so the spread over seeds
leaves that of pretraining out. Every run is a run directory under --out; finished ones are read, not repeated, so an
interrupted comparison goes on.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Literal

import pyarrow.parquet
import torch
import tyro

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.evaluation.operations import OperationCounter
from auxo.interfaces import MethodConfig, TrainState
from auxo.methods.bissl import BiSSL
from auxo.methods.linear_probe import LinearProbe
from auxo.methods.pretrain import Pretraining
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.options import choose_member
from auxo.runs import Networks
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig, Transfer
from auxo.runs.records import read_records
from auxo.runtime import Runtime, RuntimeConfig
from auxo.solvers.conjugate_gradient import ConjugateGradientSolver
from auxo.tasks import Classification
from auxo.types import Batch
from comparison import Job, accuracies, describe, print_accuracies, print_differences, read_evaluation, train_all

Downstream = Literal["cifar100_scenes", "pacs", "dtd10"]

_SIDE, _PICTURES = 32, 2500
_RATE = OptimizerConfig(lr=0.03, nesterov=False, schedule="cosine", moves="step")
_ALTERNATIONS = 6
_BATCH = 32
_BILEVEL = BiSSL.Config(
    optimizer=_RATE,
    lower_optimizer=_RATE,
    lower_steps=5,
    upper_steps=2,
    pretext_ratio=2,
    curvature_ratio=1,
    solver=ConjugateGradientSolver(iterations=3),
)
_BASELINE = "more pretraining"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and where."""

    downstream: tuple[Downstream, ...] = ("dtd10", "pacs", "cifar100_scenes")
    """Where the labels are: scenes, photographs that are judged on art, cartoons and sketches too, textures."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every line sees the same splits, first heads and order of data under one seed."""
    processes: int = 1
    """Runs at a time, each with one thread."""
    out: Path = Path("runs/results/bissl")
    """Folder of the run directories."""


def training_run(stages: tuple[StageConfig, ...], data: DataConfig, **options: object) -> ExperimentConfig:
    """Return a run of a ResNet-8 on the CPU that is evaluated at the end of its stages only."""
    return ExperimentConfig(
        stages=stages,
        backbone=BackboneConfig(name="resnet8", **options),
        data=data,
        training=TrainingConfig(evaluate_every=10_000, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
    )


def pretraining() -> ExperimentConfig:
    """Return SimCLR on all images of CIFAR-10's training part."""
    config = Pretraining.Config(optimizer=replace(_RATE, lr=0.06, warmup_epochs=1))
    pictures = DataConfig(
        train=str(_folder() / "cifar10" / "train.parquet"), val_fraction=0.02, test_fraction=0.0, augment="crop_flip"
    )
    stage = StageConfig(name="pretrain", method=config, epochs=6, batch_size=128)
    return training_run((stage,), pictures)


def _folder() -> Path:
    """Return the folder of real copies."""
    if "AUXO_DATA" not in os.environ:
        raise SystemExit("set AUXO_DATA to the folder of real copies, <name>/{train,test}.parquet")
    return Path(os.environ["AUXO_DATA"])


def _rows(source: Path, target: Path, chosen: list[int]) -> str:
    """Write some rows of a Parquet file to another, once, and return its name."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(source).take(chosen), target)
    return str(target)


def _sources(downstream: Downstream, out: Path) -> DataConfig:
    """Return the labelled images of a downstream task, and images of CIFAR-10 without labels."""
    folder, cut = _folder(), out / "data"
    order = torch.randperm(15_000, generator=torch.Generator().manual_seed(0))[:_PICTURES]
    pictures = _rows(folder / "cifar10" / "train.parquet", cut / "cifar10.parquet", order.tolist())
    common = DataConfig(
        train=str(folder / downstream / "train.parquet"),
        test=str(folder / downstream / "test.parquet"),
        unlabelled=pictures,
        num_train=200,
        image_size=_SIDE,
        augment="crop_flip",
    )
    if downstream != "pacs":
        return common
    names = ("art", "cartoon", "photo", "sketch")
    files = {}
    for part in ("train", "test"):
        domains = pyarrow.parquet.read_table(folder / "pacs" / f"{part}.parquet")["domain"].to_pylist()
        for number, name in enumerate(names):
            rows = [row for row, domain in enumerate(domains) if domain == number]
            files[name, part] = _rows(folder / "pacs" / f"{part}.parquet", cut / f"{name}_{part}.parquet", rows)
    elsewhere = tuple(files[name, "train"] for name in names if name != "photo")
    return replace(common, train=files["photo", "train"], test=files["photo", "test"], ood=elsewhere, num_train=None)


def _cost(config: MethodConfig, batch_size: int) -> dict[str, int]:
    """Return the floating-point operations of each kind of step, counted once on noise."""
    task = Classification(class_names=tuple("abcdefg"), channels=3, height=_SIDE, width=_SIDE)
    method = config.build(Networks(BackboneConfig(name="resnet8"), task, seed=0)).train()
    runtime = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
    state, views, cost = TrainState(method.optimizers()), config.required_views(), {}
    for step in range(config.steps_per_epoch(dict.fromkeys(views, 1))):
        plan = config.plan(step, {})
        state.step, state.kind = step, plan.kind
        shown = {}
        for name in plan.batches:
            count = batch_size * views[name].ratio
            shown[name] = Batch(
                torch.randn(count, 3, _SIDE, _SIDE), {"label": torch.arange(count) % 7}, torch.arange(count)
            )
        with OperationCounter() as counter:
            method.update(state, shown, runtime)
        cost[f"{plan.kind} {step}"] = counter.get_total_flops()
    return cost


def bilevel(solver: str) -> tuple[StageConfig, ...]:
    """Return warm-up, the bilevel stage for as many operations as conjugate gradients take, and fine-tuning."""
    config = replace(_BILEVEL, solver=choose_member(_BILEVEL.solver, solver))
    ratio = sum(_cost(_BILEVEL, _BATCH).values()) / sum(_cost(config, _BATCH).values())
    transfers = tuple(
        Transfer(stage="warm-up", part=part, to=to)
        for part, to in (
            ("backbone", "backbone"),
            ("backbone", "upper.backbone"),
            ("pretext", "pretext"),
            ("semantic", "upper.semantic"),
        )
    )
    epochs = round(_ALTERNATIONS * ratio)
    stage = StageConfig(name="bilevel", method=config, epochs=epochs, batch_size=_BATCH, transfers=transfers)
    return (_warm_up(), stage, _fine_tuning("bilevel"))


def more_pretraining() -> tuple[StageConfig, ...]:
    """Return warm-up, pretraining for the bilevel stage's operations, and fine-tuning."""
    config = Pretraining.Config(optimizer=_RATE)
    (step,) = _cost(config, 2 * _BATCH).values()
    steps = _ALTERNATIONS * sum(_cost(_BILEVEL, _BATCH).values()) / step
    transfers = tuple(Transfer(stage="warm-up", part=part, to=part) for part in ("backbone", "pretext"))
    epochs = round(steps / -(-_PICTURES // (2 * _BATCH)))
    stage = StageConfig(name="more", method=config, epochs=epochs, batch_size=2 * _BATCH, transfers=transfers)
    return (_warm_up(), stage, _fine_tuning("more"))


def _warm_up() -> StageConfig:
    """Return the warm-up of both heads on the pretrained backbone."""
    config = LinearProbe.Config(warm_up_pretext=True)
    return StageConfig(name="warm-up", method=config, epochs=5, batch_size=_BATCH)


def _fine_tuning(start_from: str) -> StageConfig:
    """Return the last stage."""
    config = Supervised.Config(optimizer=_RATE)
    return StageConfig(name="fine-tune", method=config, epochs=20, batch_size=_BATCH, start_from=start_from)


def lines() -> dict[str, tuple[StageConfig, ...]]:
    """Return the stages behind each line of the tables."""
    return {
        _BASELINE: more_pretraining(),
        "BiSSL, conjugate gradients": bilevel("conjugate_gradient"),
        "BiSSL, J = I": bilevel("identity"),
        "BiSSL, M-FAC": bilevel("mfac"),
    }


def neighbours(folder: Path, stage: str) -> dict[str, float]:
    """Return k-NN accuracy in percent by split on the features at the end of a stage, measured once."""
    path = folder / "knn.jsonl"
    if not path.exists():
        command = [sys.executable, "-m", "auxo", "evaluate", str(folder), "--stage", stage, "--probe", "knn"]
        subprocess.run([*command, "--out", str(path), "--device", "cpu"], check=True, stdout=subprocess.DEVNULL)
    return read_evaluation(path, head="knn")


def columns(folder: Path) -> dict[str, float]:
    """Return the accuracies of a run that the tables show, in percent by title."""
    stages = list(dict.fromkeys(row["stage"] for row in read_records(folder / "records.jsonl")))
    measured = {split: value for (split, head), value in accuracies(folder).items() if head == "semantic"}
    before = neighbours(folder, stages[-2])
    elsewhere = [split for split in measured if split.startswith("ood/")]
    titles = {"test": measured["test"], "k-NN before, test": before["test"]}
    if elsewhere:
        titles["elsewhere"] = mean(measured[split] for split in elsewhere)
        titles["k-NN before, elsewhere"] = mean(before[split] for split in elsewhere)
    return titles


def _latest(folder: Path, key: str) -> float | None:
    """Return the last value that the records have of a metric of the bilevel stage."""
    rows = [row["losses"] for row in read_records(folder / "records.jsonl") if row["kind"] == "losses"]
    values = [row[key] for row in rows if key in row and "indirect_loss" in row]
    return values[-1] if values else None


def print_tables(downstream: Downstream, folders: dict[str, list[Path]]) -> None:
    """Print accuracy, paired differences, compute, and what the solvers saw."""
    results = {name: [columns(folder) for folder in runs] for name, runs in folders.items()}
    print(f"\n{downstream}: accuracy, %, mean ± standard deviation\n")
    print_accuracies(results, folders, kind="pipeline")
    print(f"\nPaired difference to {_BASELINE}, points, mean [95 % t interval]\n")
    print_differences(results, _BASELINE, kind="pipeline")
    keys = ("distance", "response_residual", "negative_curvature", "response_cosine", "response_length")
    print("\nIn the last records of the bilevel stage, mean over seeds\n")
    print("| pipeline | " + " | ".join(keys) + " |\n" + "|---" * (len(keys) + 1) + "|")
    for name, runs in folders.items():
        cells = [[_latest(folder, key) for folder in runs] for key in keys]
        if all(value is not None for cell in cells for value in cell):
            print(f"| {name} | {' | '.join(f'{mean(cell):.3f}' for cell in cells)} |")


def main(options: Options) -> None:
    """Run what is missing and print the tables."""
    start = Job(pretraining(), options.out / "pretraining" / "seed0")
    train_all([start], processes=1)
    weights = str((start.folder / "model.safetensors").resolve())
    stages = lines()
    for downstream in options.downstream:
        data = _sources(downstream, options.out)
        jobs: dict[str, list[Job]] = {}
        for name, steps in stages.items():
            place = options.out / downstream / name.replace(",", "").replace(" = ", "-").replace(" ", "-")
            for seed in options.seeds:
                config = replace(training_run(steps, data, weights=weights), seed=seed)
                jobs.setdefault(name, []).append(Job(config, place / f"seed{seed}"))
        train_all([job for same in zip(*jobs.values(), strict=True) for job in same], processes=options.processes)
        folders = {name: [job.folder for job in runs] for name, runs in jobs.items()}
        print("\n" + describe(f"{downstream}: seeds {options.seeds}"))
        print_tables(downstream, folders)


if __name__ == "__main__":
    main(tyro.cli(Options))
