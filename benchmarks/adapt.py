#!/usr/bin/env python3
"""Adapt trained networks to images without labels of several sets, and print what it gave on other images of them.

    python benchmarks/adapt.py --seeds 0 1 2 3 4 5 6 7 8 9
    python benchmarks/adapt.py --backbone lenet5 --adaptations none

Every run is a run directory under --out; finished ones are read, not repeated. Each set is cut in two by the seed: one
half adapts, without its labels, the other judges. Some sets are judged in hard cases, too: a long tail or three classes
in both halves, and thirty images that adapt.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch
import tyro

from auxo.adaptation import AdaptationConfig, Setting, UnlabelledImages, adapt_network
from auxo.backbones import BackboneConfig
from auxo.data import AbstractSource, OODSplit, Splits
from auxo.evaluation import Reader
from auxo.files import write_atomically
from auxo.methods.joint_training import JointTraining
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member, list_members
from auxo.pretexts.rotation import Rotation
from auxo.random import named_generator
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.model import load_model, splits_of
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from comparison import Job, describe, difference, train_here

HARD = ("optdigits",)
"""Sets that are judged in the hard cases, too."""
TAIL = 0.01
"""Share of the rarest class of the long tail in that of the most frequent."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to adapt, and to what."""

    backbone: str = "resnet8"
    """Network that is trained on the built-in digits."""
    has_pretext: bool = False
    """Train it jointly with the rotation pretext."""
    epochs: int = 4
    """Of training."""
    adaptations: tuple[str, ...] = tuple(list_members(AdaptationConfig))
    """Methods of adaptation; the options of each are its defaults."""
    mixings: tuple[float, ...] = ()
    """Weights of the target with which batch_norm is adapted, too."""
    extra: tuple[str, ...] = ()
    """Labelled sets to adapt to beside those of the scenario: folder, Parquet or CSV."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs, and of the halves."""
    most: int = 500
    """Images of a half, at most."""
    out: Path = Path("runs/results/adapt")
    """Folder of the run directories and of the rows."""


@dataclass(frozen=True)
class Case:
    """Images to adapt to, and images to judge on."""

    name: str
    target: AbstractSource
    judge: AbstractSource


@dataclass(frozen=True)
class Row:
    """What one adaptation did on one case under one seed; accuracies in percent."""

    seed: int
    case: str
    adaptation: str
    before: float
    adapted: float
    is_kept: bool

    @property
    def gain(self) -> float:
        """Points with the veto: none where the network was not kept."""
        return self.adapted - self.before if self.is_kept else 0.0


def build_config(options: Options, seed: int) -> ExperimentConfig:
    """Return the run of a seed."""
    optimizer = OptimizerConfig(lr=0.05)
    method = JointTraining.Config(optimizer=optimizer, pretext=Rotation()) if options.has_pretext else None
    return ExperimentConfig(
        stages=(StageConfig(method=method or Supervised.Config(optimizer=optimizer), epochs=options.epochs),),
        backbone=BackboneConfig(name=options.backbone),
        training=TrainingConfig(tensorboard=False, evaluate_every=options.epochs),
        runtime=RuntimeConfig(device="cpu", threads=1),
        seed=seed,
    )


def list_cases(splits: Splits, extra: Sequence[AbstractSource], *, seed: int, most: int) -> Iterator[Case]:
    """Yield the halves of every set, as they are and in the hard cases."""
    assert splits.test is not None
    own = [("no shift", splits.test.source), *((split.source.name, split.source) for split in splits.ood)]
    for name, source in [*own, *((source.name, source) for source in extra)]:
        order = torch.randperm(len(source), generator=named_generator(seed, "halves", name))
        halves = [half[:most] for half in order.tensor_split(2)]
        yield Case(name, *(source.subset(half, name) for half in halves))
        if name in HARD:
            labels = source.columns["label"].values
            for kind, keep in (("long tail", draw_tail), ("three classes", keep_three)):
                parts = [half[keep(labels[half], seed)] for half in halves]
                yield Case(f"{name}, {kind}", *(source.subset(part, name) for part in parts))
            yield Case(f"{name}, 30 images", *(source.subset(half, name) for half in (halves[0][:30], halves[1])))


def draw_tail(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Return images whose classes fall geometrically to ``TAIL``, in an order of the seed."""
    count = int(labels.max()) + 1
    ranks = torch.randperm(count, generator=named_generator(seed, "tail"))
    shares = TAIL ** (ranks.double() / (count - 1))
    most = labels.bincount(minlength=count).min()
    kept = [(labels == each).nonzero().flatten()[: max(1, round(float(most * shares[each])))] for each in range(count)]
    return torch.cat(kept)


def keep_three(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the images of three classes that the seed draws."""
    chosen = torch.randperm(int(labels.max()) + 1, generator=named_generator(seed, "three"))[:3]
    return torch.isin(labels, chosen).nonzero().flatten()


def adapt_run(options: Options, job: Job, runtime: Runtime) -> Iterator[Row]:
    """Yield what every adaptation did on every case; the network is read anew for each."""
    seed, splits = job.config.seed, splits_of(job.config)
    model = load_model(job.config, job.folder, runtime=runtime)
    state = {name: tensor.clone() for name, tensor in model.method.state_dict().items()}
    extra = [model.read_judged(path, job.config.data) for path in options.extra]
    for source, path in zip(extra, options.extra, strict=True):
        source.name = Path(path).parent.name
    members = {name: find_member(AdaptationConfig, name)() for name in options.adaptations}
    batch_norm = find_member(AdaptationConfig, "batch_norm")
    members |= {f"batch_norm, mixing {mixing:g}": batch_norm(mixing=mixing) for mixing in options.mixings}
    reader = Reader.of(model, runtime=runtime, batch_size=250)
    for case in list_cases(splits, extra, seed=seed, most=options.most):
        judge = OODSplit(case.judge)
        before = 100 * reader.evaluate(judge)[0].main.value
        for name, member in members.items():
            shares = tuple(map(float, model.task.train_counts))
            images = UnlabelledImages(case.target)
            setting = Setting(reader=reader, target=images, seed=seed, source=splits.train, shares=shares)
            fitting = adapt_network(member, setting).is_kept
            adapted = before if name == "none" else 100 * reader.evaluate(judge)[0].main.value
            if not fitting:  # what it would have been without the veto
                adapt_network(type(member)(**{**options_of(member), "check": False}), setting)
                adapted = 100 * reader.evaluate(judge)[0].main.value
            model.method.load_state_dict(state)
            yield Row(seed, case.name, name, before, adapted, fitting)


def options_of(member: AdaptationConfig) -> dict[str, object]:
    """Return the options of an adaptation by name."""
    return {name: value for name, value in asdict(member).items() if name != "name"}


def print_rows(rows: Sequence[Row]) -> None:
    """Print gains by case and adaptation: mean with interval, worst seed, how many were harmed or not kept."""
    print("| images | adaptation | before | gain | worst | harmed | not kept | gain without veto | worst without |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for case in dict.fromkeys(row.case for row in rows):
        for name in dict.fromkeys(row.adaptation for row in rows):
            own = [row for row in rows if (row.case, row.adaptation) == (case, name)]
            if not own or name == "none":
                continue
            gains, plain = [row.gain for row in own], [row.adapted - row.before for row in own]
            base, zeros = mean(row.before for row in own), [0.0] * len(own)
            harmed, undone = sum(gain < -1 for gain in gains), sum(not row.is_kept for row in own)
            cells = [case, name, f"{base:.1f}", difference(gains, zeros), f"{min(gains):+.1f}"]
            cells += [f"{harmed}/{len(own)}", f"{undone}/{len(own)}", difference(plain, zeros), f"{min(plain):+.1f}"]
            print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Train what is missing, adapt, write the rows, print the table."""
    options = tyro.cli(Options, description=__doc__)
    name = options.backbone + ("-rotation" if options.has_pretext else "")
    jobs = [Job(build_config(options, seed), options.out / f"{name}-{seed}") for seed in options.seeds]
    train_here(jobs)
    rows = []
    with open_runtime(RuntimeConfig(device="cpu", threads=1)) as runtime:
        for job in jobs:
            rows += list(adapt_run(options, job, runtime))
            text = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
            write_atomically(options.out / f"{name}-{'-'.join(options.adaptations)}.jsonl", text)
    print_rows(rows)
    print(describe(f"{options.epochs} epochs of {name}"))


if __name__ == "__main__":
    main()
