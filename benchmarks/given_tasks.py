"""Compare ways of weighing given auxiliary tasks on features that stay as they are, and print the tables.

    OMP_NUM_THREADS=1 python -m auxo train supervised --data.train .../cifar10/train.parquet \
        --data.test .../cifar10/test.parquet --data.augment crop_flip --backbone.name resnet8 --epochs 8 \
        --batch-size 100 --method.optimizer.lr 0.1 --method.optimizer.schedule cosine --out runs/pretrained
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/given_tasks.py --network runs/pretrained

The primary task is one of the 20 coarse classes of CIFAR-100, half of whose training labels are replaced at random:
with right ones an auxiliary task has nothing to add on features that stay as they are. Auxiliary tasks of the same
images: the 100 fine classes, three kinds of things, both right, and a column drawn at random, which is of no use.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import NamedTuple

import torch
import tyro
from torch import Tensor, nn

from auxo.backbones import BackboneConfig
from auxo.data import AbstractSource, DataConfig, load_splits
from auxo.evaluation import Reader
from auxo.gates import GateConfig
from auxo.gates.combinations.deep_linear import DeepLinearCombination
from auxo.gates.combinations.linear import LinearCombination
from auxo.gates.combinations.nonlinear import NonlinearCombination
from auxo.gates.dwa import DWAGate
from auxo.gates.gcs import GCSGate
from auxo.gates.gradnorm import GradNormGate
from auxo.gates.hypergradient import HypergradientGate
from auxo.gates.uncertainty import UncertaintyGate
from auxo.gates.uniform import UniformGate
from auxo.interfaces import AbstractBackbone, MethodConfig, TrainState
from auxo.methods.auxilearn import AuxiLearn
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GivenTasksConfig
from auxo.random import named_generator
from auxo.runs.document import from_json
from auxo.runs.model import load_model
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch, Features
from comparison import describe, difference, spread

_COLUMNS = ("fine", "level3", "random")
_RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and where."""

    network: Path
    """Run directory of the network whose features are read."""
    seeds: int = 10
    """Each draws other labelled images, first weights and orders, the same for every line."""
    num_labels: int = 3000
    """Training images."""
    noise: float = 0.5
    """Share of the primary labels that are replaced at random."""
    epochs: int = 30
    """Passes over them."""
    batch_size: int = 100
    """Images of a step."""
    lines: tuple[str, ...] = ()
    """Make and show these lines of the table only; default all."""
    out: Path = Path("runs/results/given_tasks.json")
    """Accuracies that are made already; lines that are missing are added."""


class Perceptron(AbstractBackbone):
    """A layer of 64 with ReLU, on features."""

    num_features = 64
    map_channels = MappingProxyType({})

    def __init__(self, *, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels * height * width, self.num_features)

    def forward(self, images: Tensor) -> Features:
        """Return the layer's outputs."""
        return Features(torch.relu(self.layer(images.flatten(1))), {})


class World(NamedTuple):
    """Features and targets of one seed.

    Args:
        train: features as images of one pixel, and targets.
        test: likewise.
        task: the primary one.
        columns: of the auxiliary tasks.
    """

    train: Batch
    test: Batch
    task: Classification
    columns: dict[str, Target]


@dataclass(frozen=True)
class Made:
    """What one run came to.

    Args:
        accuracy: on the test images, percent.
        weights: that the gate gave at the end, by task.
    """

    accuracy: float
    weights: dict[str, float] = field(default_factory=dict)


def lines() -> dict[str, MethodConfig]:
    """Return what is compared."""
    optimizer = OptimizerConfig(name="adamw", lr=3e-3, weight_decay=1e-2, schedule="constant")
    given = GivenTasksConfig(columns=_COLUMNS)

    def weigh(gate: GateConfig, **options: object) -> AuxiLearn.Config:
        return AuxiLearn.Config(optimizer=optimizer, given=given, gate=gate, monitor_every=0, **options)

    def learn(network: object) -> AuxiLearn.Config:
        return weigh(HypergradientGate.Config(network=network, every=5))

    return {
        "single": weigh(UniformGate.Config(), weight=0.0),
        "helpful task alone": AuxiLearn.Config(
            optimizer=optimizer, given=GivenTasksConfig(columns=("fine",)), gate=UniformGate.Config(), monitor_every=0
        ),
        "equal": weigh(UniformGate.Config()),
        "uncertainty": weigh(UncertaintyGate.Config(), covers="all"),
        "DWA": weigh(DWAGate.Config(), covers="all"),
        "GradNorm": weigh(GradNormGate.Config(), covers="all"),
        "GCS": weigh(GCSGate.Config()),
        "linear": learn(LinearCombination.Config()),
        "deep linear": learn(DeepLinearCombination.Config()),
        "nonlinear": learn(NonlinearCombination.Config()),
        "DTG": DTGAuxL.Config(optimizer=optimizer, given=given),
    }


def read_features(options: Options) -> dict[str, tuple[Tensor, AbstractSource]]:
    """Return the features of all training and test images, with the sources they are of."""
    path = options.network / "config.json"
    model = load_model(from_json(path.read_text(), origin=str(path)), options.network, runtime=_RUNTIME)
    reader = Reader.of(model, runtime=_RUNTIME, batch_size=250)
    data = DataConfig(scenario="cifar100", label_column="coarse", columns=("fine", "level3"))
    splits = load_splits(data, seed=0, task=Classification)
    found = {}
    for name, split in (("train", splits.train), ("test", splits.test)):
        assert split is not None  # the scenario has both
        with reader.reading():
            pooled = [
                model.method.backbone(reader.inputs(split.source.fetch(torch.arange(len(split.source))[rows]))).pooled
                for rows in torch.arange(len(split.source)).split(250)
            ]
        found[name] = torch.cat(pooled).clone(), split.source
    return found


def make_world(features: dict[str, tuple[Tensor, AbstractSource]], options: Options, seed: int) -> World:
    """Draw the labelled images of a seed."""
    generator = named_generator(seed, "labelled images")
    values, source = features["train"]
    chosen = torch.randperm(len(values), generator=generator)[: options.num_labels]
    mean_, std = values[chosen].mean(0), values[chosen].std(0).clamp_min(1e-6)
    names = source.columns["label"].names
    numbers = {name: source.columns[name] for name in ("fine", "level3")}
    columns = {name: Target(name, column.names) for name, column in numbers.items()}
    columns["random"] = Target("random", names)
    targets = {"label": source.columns["label"].values[chosen]}
    targets |= {name: column.values[chosen] for name, column in numbers.items()}
    drawn = torch.randint(len(names), (2, options.num_labels), generator=generator)
    is_replaced = torch.rand(options.num_labels, generator=generator) < options.noise
    targets |= {"random": drawn[0], "label": torch.where(is_replaced, drawn[1], targets["label"])}
    test, other = features["test"]
    task = Classification(
        names, values.shape[1], 1, 1, class_counts=tuple(targets["label"].bincount(minlength=20).tolist())
    )
    return World(
        _batch((values[chosen] - mean_) / std, targets),
        _batch((test - mean_) / std, {"label": other.columns["label"].values}),
        task,
        columns,
    )


def _batch(values: Tensor, targets: dict[str, Tensor]) -> Batch:
    """Return features as images of one pixel."""
    return Batch(values[:, :, None, None], targets, torch.arange(len(values)))


def _take(batch: Batch, rows: Tensor) -> Batch:
    """Return some items of a batch."""
    return Batch(batch.images[rows], {name: t[rows] for name, t in batch.targets.items()}, torch.arange(len(rows)))


def train(config: MethodConfig, world: World, options: Options, seed: int) -> Made:
    """Train on the features and measure."""
    place = BackboneConfig(name=f"{__file__}:Perceptron")
    method = config.build(Networks(place, world.task, seed=seed, columns=world.columns)).train()
    passes = dict.fromkeys(config.required_views(), options.num_labels // options.batch_size)
    num_steps = options.epochs * passes["train"]
    state = TrainState(method.optimizers(), seed=seed, num_steps=num_steps, steps_per_epoch=passes["train"])
    metrics = {}
    for step in range(num_steps):
        plan = config.plan(step, passes)
        batches = {}
        for view, number in plan.batches.items():
            turn, part = divmod(number, passes[view])
            order = torch.randperm(options.num_labels, generator=named_generator(seed, view, turn))
            batches[view] = _take(world.train, order.split(options.batch_size)[part])
        state.step, state.kind = step, plan.kind
        metrics = method.update(state, batches, _RUNTIME)
    method.eval()
    with torch.no_grad():
        is_right = method.predict(world.test.images).argmax(1) == world.test.labels
    weights = {name: float(value) for name, value in metrics.items() if name.startswith("gate_")}
    return Made(100 * float(is_right.double().mean()), weights)


def main(options: Options) -> None:
    """Run what is missing and print the tables."""
    made = json.loads(options.out.read_text()) if options.out.exists() else {}
    chosen = {name: config for name, config in lines().items() if not options.lines or name in options.lines}
    features = read_features(options)
    for seed in range(options.seeds):
        world = make_world(features, options, seed)
        for name, config in chosen.items():
            done = made.setdefault(name, [])
            if len(done) == seed:
                found = train(config, world, options, seed)
                done.append({"accuracy": found.accuracy, "weights": found.weights})
                print(f"{name}, seed {seed}: {found.accuracy:.1f}", flush=True)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(made))
    accuracies = {name: [run["accuracy"] for run in made[name][: options.seeds]] for name in chosen}
    print("\n" + describe(f"{options.seeds} seeds, {options.num_labels} labels") + "\n")
    print("| weights | accuracy, % | - equal | - single | weights at the end |\n" + "|---" * 5 + "|")
    for name, values in accuracies.items():
        cells = [difference(values, accuracies[other]) if name != other else "" for other in ("equal", "single")]
        ends = [run["weights"] for run in made[name][: options.seeds]]
        told = ", ".join(f"{key.removeprefix('gate_')} {mean(end[key] for end in ends):.2f}" for key in ends[0])
        print(f"| {name} | {spread(values)} | {' | '.join(cells)} | {told} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
