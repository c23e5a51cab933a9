"""Measure the planted worlds of tests/mechanism over more seeds than the tests take, and print the tables.

    OMP_NUM_THREADS=1 python benchmarks/planted_worlds.py                   all worlds, about an hour of one core
    OMP_NUM_THREADS=1 python benchmarks/planted_worlds.py --worlds corners --seeds 12

In each the truth is known. A difference is of accuracy in points (with a shortcut, of the area under the ROC curve
where it is turned round; of segmentation, of mIoU), paired over the seeds, with its 95 % t interval.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from types import ModuleType
from typing import Literal, TypeAlias, get_args

import torch
import tyro

from auxo.evaluation.label_quality import DrawingRule, judge_labels
from auxo.gates.hypergradient import HypergradientGate
from auxo.options import find_member
from auxo.pretexts.fusions import FusionConfig
from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.labellers import LabellerConfig
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.pretexts.labellers.segmenter import Segmenter
from auxo.pretexts.pixels.cross_entropy import CrossEntropy
from comparison import describe, difference

_World: TypeAlias = Literal[
    "confused", "corners", "tasks", "harm", "between", "shortcut", "attention", "segmentation", "factors"
]
_Found: TypeAlias = dict[str, list[float]]
_RELU = {"relu": True}

sys.path.append(str(Path(__file__).parents[1] / "tests" / "mechanism"))


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    worlds: tuple[_World, ...] = get_args(_World)
    """MAXL's sub-clusters that are confused with other classes, or are not; a helpful task among three; a harmful task
    beside a generated one; classes between others; a loud shortcut that is turned round; encoders of which another is
    right for each image; textures whose colours tell them apart within an image alone, and there what matters in
    the contrast of pixels."""
    seeds: int = 10
    """Each draws the world, first weights and orders anew."""


def measure_maxl(seeds: int, *, is_corner: bool) -> tuple[_Found, _Found]:
    """Return accuracies by labels, and how much labels tell of the true sub-clusters."""
    world: ModuleType = importlib.import_module("maxl_world")
    given = replace(world.CONFIG, labels="earlier")
    found: _Found = {}
    told: _Found = {}
    for seed in range(20, 20 + seeds):
        shown = world.CornerWorld(seed) if is_corner else world.World(seed)
        for name, changes in {
            "none": {"labels": "none"},
            "uniform": {"labels": "uniform"},
            "MAXL": {},
            "image rewards": {"image_rewards": True},
            "entropy 0": {"entropy_weight": 0.0},
            "no hypergradient": {"alpha": 1e-9},
        }.items():
            method, _ = world.train(replace(world.CONFIG, **changes), seed, world=shown)
            found.setdefault(name, []).append(world.accuracy(method, shown))
            if replace(world.CONFIG, **changes).labels == "generated":
                told.setdefault(name, []).append(world.quality(world.label(method, shown), shown)[0])
            if name == "MAXL":
                invented = world.label(method, shown)
        fixed = {
            "true": world.true_labels(shown),
            "k-means": world.cluster(shown, seed),
            "learned anew": invented,
            "shuffled": world.shuffle(invented, shown, seed),
        }
        for name, labels in fixed.items():
            method, _ = world.train(given, seed, given=labels, world=shown)
            found.setdefault(name, []).append(world.accuracy(method, shown))
    return found, told


def measure_tasks(seeds: int) -> tuple[_Found, _Found]:
    """Return accuracies by weights, and the share of the helpful task in those that are learned."""
    world: ModuleType = importlib.import_module("auxiliary_world")
    equal, helpful = torch.full((3,), 1 / 3), torch.tensor([1.0, 0.0, 0.0])
    counts = tuple(world.COUNTS[name] for name in world.TASKS)
    found: _Found = {"single": [], "equal": [], "helpful alone": [], "learned": []}
    told: _Found = {"learned": []}
    for seed in range(seeds):
        gate = HypergradientGate.Config(split="meta", lr=0.03).build(num_features=4, num_outputs=counts, seed=seed)
        weights = world.learn_weights(seed, gate)
        helpful_weight = weights[world.TASKS.index("helpful")]
        told["learned"].append(float(helpful_weight / weights.sum().clamp_min(1e-12)))  # 0 where all weights are
        for name, used in zip(found, (torch.zeros(3), equal, helpful, weights), strict=True):
            found[name].append(world.train_anew(seed, used))
    return found, told


def measure_harm(seeds: int) -> tuple[_Found, _Found]:
    """Return accuracies by line of the world whose given task does harm."""
    world: ModuleType = importlib.import_module("dtg_world")
    return {name: [_judge(world, line, seed) for seed in range(seeds)] for name, line in world.LINES.items()}, {}


def measure_between(seeds: int) -> tuple[_Found, _Found]:
    """Return accuracies by line of the world whose classes lie between others."""
    world: ModuleType = importlib.import_module("dtg_classes_between")
    found = {name: [_judge(world, line, seed) for seed in range(seeds)] for name, line in world.LINES.items()}
    mixed, alone = world.LINES["manifold mixup"], world.LINES["alone"]
    found["true labels of mixtures"] = [_judge(world, mixed, s, is_oracle=True) for s in range(seeds)]
    splits = ("train", "meta")
    found["trained on what judges, too"] = [_judge(world, alone, s, splits=splits) for s in range(seeds)]
    return found, {}


def measure_shortcut(seeds: int) -> tuple[_Found, _Found]:
    """Return areas under the ROC curve, in the place of accuracies, where the shortcut is turned round."""
    world: ModuleType = importlib.import_module("shortcut_world")
    made = range(30, 30 + seeds)
    found = {name: [world.train(config, seed)[0.1] for seed in made] for name, config in world.LINES.items()}
    whole = world.LINES["weighted MMD"]
    found["column of other items"] = [world.train(whole, seed, is_shuffled=True)[0.1] for seed in made]
    return found, {}


def measure_attention(seeds: int) -> tuple[_Found, _Found]:
    """Return accuracies by fusion, and the weight on the encoder that is right."""
    world: ModuleType = importlib.import_module("attention_world")
    mixed = {name: find_member(FusionConfig, name)(**_RELU) for name in ("concatenation", "mean", "learned_scalar")}
    attention = Attention.Config(**_RELU)
    lines: dict[str, tuple[FusionConfig, dict[str, bool]]] = {
        "oracle": (mixed["concatenation"], {"is_told": True}),
        "attention": (attention, {}),
        "attention, global": (replace(attention, query="global"), {}),
        "attention, static": (replace(attention, query="static"), {}),
        "attention, 4 heads": (replace(attention, heads=4), {}),
        "channel gate": (find_member(FusionConfig, "channel_gate")(**_RELU), {}),
        **{name: (fusion, {}) for name, fusion in mixed.items()},
        "one encoder": (find_member(FusionConfig, "best_single")(encoder="one", **_RELU), {}),
        "ensemble": (find_member(FusionConfig, "logit_ensemble")(), {}),
        "no gradient in the scores": (attention, {"is_broken": True}),
        "labels exchanged": (attention, {"is_shuffled": True}),
    }
    found: _Found = {}
    told: _Found = {}
    for seed in range(seeds):
        for name, (fusion, changes) in lines.items():
            method, shown = world.train(fusion, seed, **changes)
            found.setdefault(name, []).append(world.accuracy(method, shown))
            if method.fusion.weighs:
                told.setdefault(name, []).append(world.attend(method, shown)[0])
    return found, told


def measure_segmentation(seeds: int) -> tuple[_Found, _Found]:
    """Return mIoU by line, and how right pairs across images are by the labels, on held-out images."""
    world: ModuleType = importlib.import_module("texture_world")
    contrast = world.CONTRAST
    rule = DrawingRule(sampling=contrast.sampling, size=(16, 16), batch_size=8)
    labellers = {"A": PatchEnergy.Config(), "B": Segmenter.Config(), "oracle": Oracle.Config()}
    labellers |= {name: find_member(LabellerConfig, name)() for name in ("random", "image_id")}
    found: _Found = {}
    told: _Found = {}
    for seed in range(5, 5 + seeds):
        shown = world.World(seed)
        made = {name: shown.label(labeller) for name, labeller in labellers.items()}
        labels = {name: given for name, (given, _) in made.items()}
        for name, (_, held) in made.items():
            quality = judge_labels(held, shown.held_masks, num_classes=len(world.CLASSES), rule=rule).cross_quality
            told.setdefault(name, []).append(quality)
        within = replace(contrast, positives="same_image")
        lines = {name: (given, contrast) for name, given in labels.items()}
        lines |= {f"cross-entropy, {name}": (labels[name], CrossEntropy.Config()) for name in ("A", "B", "oracle")}
        lines["A, positives within an image"] = (labels["A"], within)
        lines["A, all pairs within an image"] = (labels["A"], replace(within, negatives="same_image"))
        lines["A, shuffled"] = (world.shuffle(labels["A"], seed), contrast)
        values = {"none": world.fine_tune(shown)}
        values["none, equal compute"] = world.fine_tune(shown, steps=world.EQUAL_COMPUTE)
        values |= {line: world.fine_tune(shown, world.pretrain(shown, *given)) for line, given in lines.items()}
        values["A, loss upside down"] = world.fine_tune(shown, world.pretrain(shown, labels["A"], sign=-1))
        for line, value in values.items():
            found.setdefault(line, []).append(value)
    return found, told


def measure_factors(seeds: int) -> tuple[_Found, _Found]:
    """Return mIoU by what is changed in the contrast of pixels by the labels of texture energy."""
    world: ModuleType = importlib.import_module("texture_world")
    contrast = world.CONTRAST
    changes: dict[str, dict[str, object]] = {
        "A": {},
        "positives in other images": {"positives": "cross_image"},
        "negatives within an image": {"negatives": "same_image"},
        "temperature 0.05": {"temperature": 0.05},
        "temperature 0.5": {"temperature": 0.5},
        "supcon": {"form": "supcon"},
        "zhao": {"form": "zhao"},
        "64 pixels": {"sampling": replace(contrast.sampling, max_samples=64)},
        "no projector": {"num_layers": 0},
        "projector on the map": {"projects": "map"},
        "memory of 50": {"memory": 50},
    }
    clusters = (5, 20, 40)
    found: _Found = {}
    for seed in range(5, 5 + seeds):
        shown = world.World(seed)
        labels, _ = shown.label(PatchEnergy.Config())
        lines = {line: (labels, replace(contrast, **values)) for line, values in changes.items()}
        lines |= {f"{k} clusters": (shown.label(PatchEnergy.Config(clusters=k))[0], contrast) for k in clusters}
        for line, given in lines.items():
            found.setdefault(line, []).append(world.fine_tune(shown, world.pretrain(shown, *given)))
    return found, {}


def _judge(world: ModuleType, config: object, seed: int, **more: object) -> float:
    """Return the accuracy of a line."""
    accuracy: float = world.accuracy(*world.train(config, seed, **more)[:2])
    return accuracy


def print_world(name: str, found: _Found, told: _Found, baselines: tuple[str, ...]) -> None:
    """Print accuracies, their differences to the baselines, and what labels or weights say of the truth."""
    print(f"\n### {name}, {len(next(iter(found.values())))} seeds\n")
    print("| line | accuracy, % | " + " | ".join(f"- {each}" for each in baselines) + " | of the truth |")
    print("|---" * (len(baselines) + 3) + "|")
    for line, values in found.items():
        cells = [difference(values, found[each]) if line != each else "" for each in baselines]
        truth = f"{mean(told[line]):.2f}" if line in told else ""
        print(f"| {line} | {mean(values):.1f} | {' | '.join(cells)} | {truth} |", flush=True)


def main(options: Options) -> None:
    """Measure and print."""
    print(describe("planted worlds"))
    measures: dict[_World, tuple[Callable[[int], tuple[_Found, _Found]], tuple[str, ...]]] = {
        "confused": (lambda seeds: measure_maxl(seeds, is_corner=False), ("none", "uniform", "k-means", "shuffled")),
        "corners": (lambda seeds: measure_maxl(seeds, is_corner=True), ("none", "uniform", "k-means", "shuffled")),
        "tasks": (measure_tasks, ("single", "equal", "helpful alone")),
        "harm": (measure_harm, ("single", "equal")),
        "between": (measure_between, ("alone",)),
        "shortcut": (measure_shortcut, ("ERM", "weighted ERM", "MMD")),
        "attention": (measure_attention, ("concatenation", "attention, static")),
        "segmentation": (measure_segmentation, ("none", "none, equal compute", "cross-entropy, A")),
        "factors": (measure_factors, ("A",)),
    }
    for name in options.worlds:
        measure, baselines = measures[name]
        print_world(name, *measure(options.seeds), baselines)


if __name__ == "__main__":
    main(tyro.cli(Options))
