"""Compare ways to use several pretrained encoders for one task with few labels, and print the tables.

    AUXO_DATA=... python benchmarks/multi_pretext.py pretrain
    AUXO_DATA=... python benchmarks/multi_pretext.py compare
    AUXO_DATA=... python benchmarks/multi_pretext.py heads

The first trains the encoders, the second what stands on them, the third other settings of attention, judged on images
of the pool that have no label. Protocol and endpoint are on the page docs/results/multi-pretext.md. Finished runs are
read, not repeated, so an interrupted comparison goes on.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet
import torch
import tyro
from torch import Tensor

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig, InputPipeline
from auxo.evaluation import Reader
from auxo.evaluation.images import AnySplit, FeatureCache
from auxo.interfaces import MethodConfig, PretextConfig
from auxo.methods.multi_pretext import MultiPretext
from auxo.methods.pretrain import Pretraining
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member
from auxo.pretexts.channel_shuffle import ChannelShuffle
from auxo.pretexts.fusions import FusionConfig
from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.fusions.feature_matching import FeatureMatching
from auxo.pretexts.fusions.relation_distillation import RelationDistillation
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.rotation import Rotation
from auxo.pretexts.simclr import SimCLR
from auxo.runs import Networks
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.model import splits_of
from auxo.runtime import Runtime, RuntimeConfig
from comparison import Job, describe, train_here
from multi_pretext_fits import Labelled, fit_fusion, fit_network
from multi_pretext_tables import print_tables

_SIDE, _POOL, _VALIDATION = 16, 5000, 500
_EPOCHS = 20
_LONGER = 4
_PRETEXTS: dict[str, PretextConfig] = {
    "rotation": Rotation("random"),
    "jigsaw": Jigsaw(grid=2),
    "channel_shuffle": ChannelShuffle(),
    "simclr": SimCLR.Config(hidden=128, outputs=64),
}
_COPIES = ("rotation", "rotation_2", "rotation_3", "rotation_4")
_OTHERS = ("channel_gate", "concatenation", "mean", "learned_scalar", "logit_ensemble", "best_single")
_LABELS, _MIDDLE, _DRAWS = (40, 250, 1000), 250, 5
_TUNING = OptimizerConfig(lr=0.03, nesterov=False, schedule="cosine", moves="step")
_FURTHER = ("jigsaw", "channel_shuffle", "simclr")
_RATE = OptimizerConfig(lr=0.06, nesterov=False, schedule="cosine", moves="step", warmup_epochs=1)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to do, and where."""

    what: tyro.conf.Positional[Literal["pretrain", "compare", "heads"]]
    """Train the encoders, or what stands on them, or try other settings of attention."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of pretraining."""
    out: Path = Path("runs/results/multi-pretext")
    """Folder of the run directories."""


def _folder() -> Path:
    """Return the folder of real copies."""
    if "AUXO_DATA" not in os.environ:
        raise SystemExit("set AUXO_DATA to the folder of real copies, <name>/{train,test}.parquet")
    return Path(os.environ["AUXO_DATA"])


def cut_pool(out: Path) -> DataConfig:
    """Return the images that encoders are trained on, and others that only tell how well the pretexts are solved."""
    places = _cut_rows(out, "cifar10", "train", {"pool": _POOL, "val": _VALIDATION}, of=15_000)
    return DataConfig(train=places["pool"], val=places["val"], test_fraction=0.0, image_size=_SIDE, augment="crop_flip")


def _cut_rows(out: Path, name: str, part: str, counts: Mapping[str, int], *, of: int) -> dict[str, str]:
    """Write some rows of a set to files of their own, once, and return where they are."""
    order = torch.randperm(of, generator=torch.Generator().manual_seed(0)).tolist()
    places, first = {}, 0
    for called, count in counts.items():
        path = out / "data" / f"{called}.parquet"
        places[called] = str(path)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            table = pyarrow.parquet.read_table(_folder() / name / f"{part}.parquet")
            pyarrow.parquet.write_table(table.take(order[first : first + count]), path)
        first += count
    return places


def pretraining(
    data: DataConfig, pretext: PretextConfig, *, seed: int, epochs: int = _EPOCHS, further: tuple[str, ...] = ()
) -> ExperimentConfig:
    """Return the training of one encoder; first weights and the order of the images follow from the seed."""
    method = Pretraining.Config(pretext=pretext, further=further, optimizer=_RATE)
    stage = StageConfig(name="pretrain", method=method, epochs=epochs, batch_size=128)
    return ExperimentConfig(
        stages=(stage,),
        backbone=BackboneConfig(name="resnet8"),
        data=data,
        training=TrainingConfig(evaluate_every=10_000, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
        seed=seed,
    )


def encoders(options: Options) -> Iterator[tuple[str, int, Job]]:
    """Yield every encoder: its name, its pretraining seed, and the run that makes it.

    Ten numbers belong to each pretraining seed, so that no two encoders share first weights or the order of images.
    """
    data = cut_pool(options.out)
    for seed in options.seeds:
        place = options.out / "encoders" / f"seed{seed}"
        for number, (name, pretext) in enumerate(_PRETEXTS.items()):
            yield name, seed, Job(pretraining(data, pretext, seed=10 * seed + number), place / name)
    for seed in options.seeds:
        place = options.out / "encoders" / f"seed{seed}"
        for number, name in enumerate(_COPIES[1:], start=5):
            yield name, seed, Job(pretraining(data, _PRETEXTS["rotation"], seed=10 * seed + number), place / name)
        longer = pretraining(data, _PRETEXTS["rotation"], seed=10 * seed + 8, epochs=_LONGER * _EPOCHS)
        yield "rotation_longer", seed, Job(longer, place / "rotation_longer")
    for seed in options.seeds:
        place = options.out / "encoders" / f"seed{seed}"
        # jigsaw and SimCLR with the defaults of auxo here: 3x3 tiles with 30 orders, and a wider projector
        together = pretraining(data, _PRETEXTS["rotation"], seed=10 * seed + 9, further=_FURTHER)
        yield "joint", seed, Job(together, place / "joint")


@dataclass(frozen=True)
class Sets:
    """A task: images to draw labels from, images to be judged on, and the features of both by encoder.

    Args:
        name: of the set.
        train: its images, uint8, and their classes.
        test: likewise.
        pipeline: normalises images.
        features: by pretraining seed, encoder and part.
    """

    name: str
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    pipeline: InputPipeline
    features: Mapping[tuple[int, str], tuple[Tensor, Tensor]]

    def labelled(self, count: int, draw: int) -> Labelled:
        """Return a draw of labelled images, the same number of each class."""
        generator = torch.Generator().manual_seed(1000 * count + draw)
        order = torch.randperm(len(self.train[1]), generator=generator)
        each = [order[self.train[1][order] == kind][: count // 10] for kind in range(10)]
        return Labelled(torch.cat(each).sort().values, draw)


def read_set(name: str, options: Options) -> Sets:
    """Return a task with the features of all encoders, which are kept on disk."""
    if name == "cifar10":
        data = replace(cut_pool(options.out), test=str(_folder() / name / "test.parquet"), augment="none")
    else:
        train = _cut_rows(options.out, name, "train", {"mnist": _POOL, "mnist_val": _VALIDATION}, of=60_000)
        test = _cut_rows(options.out, name, "test", {"mnist_test": 4000}, of=10_000)
        data = DataConfig(train=train["mnist"], val=train["mnist_val"], test=test["mnist_test"], image_size=_SIDE)
    jobs = list(encoders(options))
    splits = splits_of(replace(jobs[0][2].config, data=data, seed=0))
    assert splits.test is not None
    runtime = Runtime(config=RuntimeConfig(device="cpu", threads=1), device=torch.device("cpu"))
    pipeline = InputPipeline.from_source(splits.train.source)
    cache = FeatureCache(options.out / "cache", runtime)
    features = {}
    for seed in options.seeds:
        own = {encoder: job.folder for encoder, at, job in jobs if at == seed and (job.folder / "report.md").exists()}
        config = MultiPretext.Config(encoders=tuple(f"{key}={place}" for key, place in own.items()), random=1)
        networks = Networks(BackboneConfig(name="resnet8"), splits.task(), seed=seed, given=pipeline.normalisation)
        method = config.build(networks).eval()
        reader = Reader(method=method, pipeline=pipeline, runtime=runtime, batch_size=500)
        for key, encoder in zip(method.names, method.backbone.members, strict=True):
            shown: tuple[AnySplit, AnySplit] = (splits.train, splits.test)
            train_rows, test_rows = (reader.images(split, cache=cache).features(encoder) for split in shown)
            features[seed, key] = train_rows, test_rows
    parts = []
    for split in (splits.train, splits.test):
        places = torch.arange(len(split.source))
        parts.append((split.source.fetch(places), split.source.fetch_targets(places)["label"]))
    return Sets(name, parts[0], parts[1], pipeline, features)


def fusion_lines(name: str, count: int) -> Iterator[tuple[str, FusionConfig, tuple[str, ...]]]:
    """Yield what is fitted to features with a number of labels: title, fusion and encoders."""
    four, random = tuple(_PRETEXTS), "random_1"
    fusions = {
        "attention": Attention.Config(),
        "attention, global": Attention.Config(query="global"),
        "attention, static": Attention.Config(query="static"),
        **{key: find_member(FusionConfig, key)() for key in _OTHERS},
    }
    few = {key: fusions[key] for key in ("attention", "concatenation", "mean", "best_single")}
    for title, fusion in (fusions if name == "cifar10" else few).items():
        yield title, fusion, four
        if title in ("attention", "concatenation", "mean"):
            yield f"{title} + random", fusion, (*four, random)
    if name != "cifar10":
        return
    single = fusions["best_single"]
    yield "one of random weights", single, (random,)
    yield "rotation, four times the epochs", single, ("rotation_longer",)
    yield "one for all four pretexts", single, ("joint",)
    yield "attention, four of rotation", fusions["attention"], _COPIES
    yield "concatenation, four of rotation", fusions["concatenation"], _COPIES
    for size in (2, 3) if count == _MIDDLE else ():
        for chosen in combinations(four, size):
            yield f"attention of {size}: {' '.join(chosen)}", fusions["attention"], chosen


def compare(options: Options) -> None:
    """Fit what is missing and print the tables."""
    path = options.out / "results.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["set"], row["labels"], row["seed"], row["draw"], row["line"]) for row in rows}
    sets = {name: read_set(name, options) for name in ("cifar10", "mnist")}
    for fits in (fit_fusions, fit_networks):  # what is fitted to features takes a second, a network several
        for name, count in product(sets, (_MIDDLE, *(each for each in _LABELS if each != _MIDDLE))):
            for seed, draw in product(options.seeds, range(_DRAWS)):
                known = {line for *key, line in done if tuple(key) == (name, count, seed, draw)}
                for title, found in fits(sets[name], options, seed, draw, count, known):
                    row = {"set": name, "line": title, "labels": count, "seed": seed, "draw": draw, **found}
                    rows.append(row)
                    with path.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            print(f"done: {fits.__name__}, {name}, {count} labels", file=sys.stderr, flush=True)
    print("\n" + describe(f"seeds {options.seeds}, {_DRAWS} draws") + "\n")
    print_tables(rows)


def fit_fusions(
    images: Sets, options: Options, seed: int, draw: int, count: int, known: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each fusion comes to on one draw of labels, where that is not known yet."""
    del options
    labelled = images.labelled(count, draw)
    for title, fusion, names in fusion_lines(images.name, count):
        if title not in known and all((seed, name) in images.features for name in names):
            parts = {name: images.features[seed, name] for name in names}
            yield title, fit_fusion(fusion, parts, images.train[1], images.test[1], labelled, seed=seed)


def fit_networks(
    images: Sets, options: Options, seed: int, draw: int, count: int, known: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each network that is trained on images comes to on one draw of labels."""
    network, four = BackboneConfig(name="resnet8"), tuple(_PRETEXTS)
    given = replace(network, weights=str(options.out / "encoders" / f"seed{seed}" / "rotation" / "model.safetensors"))
    plain = Supervised.Config(optimizer=_TUNING)
    online: dict[str, tuple[MethodConfig, BackboneConfig, tuple[str, ...]]] = {"from scratch": (plain, network, ())}
    if images.name == "cifar10":
        online["rotation, fine-tuned"] = plain, given, ()
        for title, fusion, names in (
            ("feature matching", FeatureMatching.Config(), four),
            ("feature matching + random", FeatureMatching.Config(), (*four, "random_1")),
            ("relation distillation", RelationDistillation.Config(), four),
        ):
            online[title] = MultiPretext.Config(trained=names, fusion=fusion, optimizer=_TUNING), network, names
    labelled = images.labelled(count, draw)
    for title, (config, backbone, names) in online.items():
        if title not in known:
            parts = {name: images.features[seed, name] for name in names}
            yield title, fit_network(config, backbone, parts, images, labelled, seed=seed)


def try_heads(options: Options) -> None:
    """Print what other settings of attention come to, judged on images of the pool that have no label."""
    images = read_set("cifar10", options)
    settings: dict[str, FusionConfig] = {
        **{f"heads {heads}": Attention.Config(heads=heads) for heads in (1, 4, 8, 16, 32)},
        "heads 1, temperature 16": Attention.Config(temperature=16.0),
        "heads 1, entropy bonus 1": Attention.Config(entropy_bonus=1.0),
        "heads 1, width 16": Attention.Config(width=16),
        "static": Attention.Config(query="static"),
        "mean": find_member(FusionConfig, "mean")(),
    }
    print("| line | 250 labels | 1,000 labels |\n|---|---|---|")
    for title, fusion in settings.items():
        cells = []
        for count in (250, 1000):
            labelled = images.labelled(count, _DRAWS)  # a draw that the comparison does not have
            rest = torch.ones(len(images.train[1]), dtype=torch.bool)
            rest[labelled.positions] = False
            found = []
            for seed in options.seeds:
                own = {name: images.features[seed, name][0] for name in _PRETEXTS}
                parts = {name: (rows, rows[rest]) for name, rows in own.items()}
                fit = fit_fusion(fusion, parts, images.train[1], images.train[1][rest], labelled, seed=seed)
                found.append(fit["accuracy"])
            cells.append(f"{sum(found) / len(found):.1f}")
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


def main(options: Options) -> None:
    """Train the encoders, or compare what stands on them."""
    if options.what == "pretrain":
        train_here([job for _, _, job in encoders(options)])
    else:
        torch.set_num_threads(1)
        {"compare": compare, "heads": try_heads}[options.what](options)


if __name__ == "__main__":
    main(tyro.cli(Options))
