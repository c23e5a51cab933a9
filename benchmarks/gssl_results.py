"""Compare G-SSL under several gates with its baselines and controls over several seeds, and print the tables.

    AUXO_DATA=... python benchmarks/gssl_results.py --study long-tailed --processes 2
    AUXO_DATA=... python benchmarks/gssl_results.py --study adversarial --processes 2
    python benchmarks/gssl_results.py --study semi-supervised --processes 2

Every run is a run directory under --out; finished ones are read, not repeated, so an interrupted comparison goes on.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Literal

import tyro
from matplotlib.figure import Figure

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.gates import GateConfig
from auxo.gates.uniform import UniformGate
from auxo.interfaces import MethodConfig
from auxo.losses import LDAM
from auxo.losses.attacks import PGDConfig
from auxo.methods.fixmatch import FixMatch
from auxo.methods.gssl import GSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member
from auxo.pretexts import GatedPretextsConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.records import read_records
from auxo.runtime import RuntimeConfig
from comparison import (
    Job,
    accuracies,
    describe,
    per_class,
    print_accuracies,
    print_differences,
    read_evaluation,
    spread,
    train_all,
)

Study = Literal["long-tailed", "adversarial", "semi-supervised"]

_UNIFORM = UniformGate.Config()
_IMAGES = 250


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and where."""

    study: Study = "long-tailed"
    """Long-tailed CIFAR-10 with LDAM-DRW, adversarial training on a part of CIFAR-10, or digits with 250 labels."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every method sees the same splits, first weights and order of data under one seed."""
    lines: tuple[str, ...] = ()
    """Make and show these lines of the table only; default all."""
    processes: int = 1
    """Runs at a time, each with one thread."""
    out: Path = Path("runs/results/gssl")
    """Folder of the run directories."""
    picture: Path | None = None
    """PNG to draw the gates' weights over the steps in."""


def gated(name: str, **options: object) -> GatedPretextsConfig:
    """Return all three pretexts under a gate by name, or one of the controls."""
    if name == "transform only":
        return GatedPretextsConfig(gate=_UNIFORM, weight=0.0)
    if name == "LoRot":
        return GatedPretextsConfig(tasks=("lorot",), gate=_UNIFORM)
    return GatedPretextsConfig(gate=find_member(GateConfig, name)(**options))


def long_tailed() -> dict[str, ExperimentConfig]:
    """Return the runs on CIFAR-10 with classes of a hundred to one."""
    optimizer = OptimizerConfig(
        lr=0.1, nesterov=False, weight_decay=2e-4, milestones=(0.8, 0.9), decay=0.01, warmup_epochs=5
    )
    ldam = LDAM(class_weights="effective_number")
    plain = Supervised.Config(optimizer=optimizer)
    base = GSSL.Config(optimizer=optimizer, class_loss=ldam, head="cosine")
    released = gated("frozen", form="softmax_of_mean", init="kaiming")
    methods: dict[str, MethodConfig] = {
        "cross-entropy": plain,
        "LDAM-DRW": replace(plain, class_loss=ldam, head="cosine"),
        "+ transform only": replace(base, pretexts=gated("transform only")),
        "+ LoRot": replace(base, pretexts=gated("LoRot")),
        "+ uniform": replace(base, pretexts=gated("uniform")),
        "+ frozen": replace(base, pretexts=released),
        "+ learned": replace(base, pretexts=gated("learned", form="softmax_of_mean")),
    }
    data = DataConfig(scenario="cifar10", imbalance="exp", imbalance_ratio=0.01, augment="crop_flip")
    return {name: _run(method, data, "resnet8", epochs=60, batch_size=64) for name, method in methods.items()}


def adversarial() -> dict[str, ExperimentConfig]:
    """Return the runs with adversarial training; the first is without."""
    optimizer = OptimizerConfig(lr=0.1, weight_decay=5e-4, schedule="cosine", moves="step", minimum_lr=1e-6)
    attack = PGDConfig(steps=5, step_size=4 / 255)
    learned, transform = (replace(gated(name), shuffle_space="pixels") for name in ("learned", "transform only"))
    base = GSSL.Config(optimizer=optimizer, attack=attack, pretexts=GatedPretextsConfig(tasks=()))
    methods: dict[str, MethodConfig] = {
        "no attack in training": Supervised.Config(optimizer=optimizer),
        "PGD": base,
        "PGD + transform only": replace(base, pretexts=transform),
        "PGD + learned": replace(base, pretexts=learned),
    }
    data = DataConfig(scenario="cifar10", num_train=1500, augment="crop_flip")
    return {name: _run(method, data, "resnet8", epochs=10, batch_size=64) for name, method in methods.items()}


def semi_supervised() -> dict[str, ExperimentConfig]:
    """Return the runs on digits of which 250 have a label."""
    optimizer = OptimizerConfig(lr=0.03, weight_decay=5e-4, schedule="fixmatch", moves="step", decay_norms=False)
    base = FixMatch.Config(optimizer=optimizer, ema_decay=0.99)
    methods: dict[str, MethodConfig] = {
        "labels alone": replace(base, unlabelled_weight=0.0),
        "FixMatch": base,
        "+ transform only": replace(base, pretexts=gated("transform only")),
        "+ uniform": replace(base, pretexts=gated("uniform")),
        "+ learned": replace(base, pretexts=gated("learned")),
    }
    data = DataConfig(scenario="digits", num_labelled=250, augment="crop")
    return {name: _run(method, data, "lenet5", epochs=60, batch_size=64) for name, method in methods.items()}


STUDIES: dict[Study, tuple[Callable[[], dict[str, ExperimentConfig]], str]] = {
    "long-tailed": (long_tailed, "LDAM-DRW"),
    "adversarial": (adversarial, "PGD"),
    "semi-supervised": (semi_supervised, "FixMatch"),
}


def _run(method: MethodConfig, data: DataConfig, backbone: str, *, epochs: int, batch_size: int) -> ExperimentConfig:
    """Return a run that is evaluated at its end only."""
    return ExperimentConfig(
        stages=(StageConfig(method=method, epochs=epochs, batch_size=batch_size),),
        backbone=BackboneConfig(name=backbone),
        data=data,
        training=TrainingConfig(evaluate_every=epochs, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
    )


def job(options: Options, name: str, config: ExperimentConfig, seed: int) -> Job:
    """Return the run of one line of the tables with one seed."""
    folder = options.out / options.study / name.replace("+ ", "plus-").replace(" ", "-").replace(",", "")
    return Job(replace(config, seed=seed), folder / f"seed{seed}")


def judged(folder: Path, *words: str) -> dict[str, float]:
    """Return accuracy in percent by split of ``auxo evaluate`` with these options, made once."""
    path = folder / f"{words[0].strip('-')}.jsonl"
    if not path.exists():
        command = [sys.executable, "-m", "auxo", "evaluate", str(folder), "--split", "test", "--images", str(_IMAGES)]
        subprocess.run([*command, *words, "--out", str(path), "--device", "cpu"], check=True, stdout=subprocess.DEVNULL)
    return read_evaluation(path, head="semantic")


def columns(study: Study, folder: Path) -> dict[str, float]:
    """Return the accuracies of a run that the tables show, in percent by title."""
    measured = {split: value for (split, head), value in accuracies(folder).items() if head == "semantic"}
    if study == "semi-supervised":
        return measured
    if study == "long-tailed":
        classes = per_class(folder)
        groups = {"classes 0-2": classes[:3], "3-6": classes[3:7], "7-9": classes[7:]}
        return {"test": measured["test"], **{title: mean(values) for title, values in groups.items()}}
    attacked = judged(folder, "--attack", "pgd", "pgd_margin", "deepfool", "noise")
    corrupted = judged(folder, "--corruptions")
    attacks = {split.removeprefix("test/"): value for split, value in attacked.items() if split != "test"}
    return {"test": measured["test"], **attacks, "corruptions": corrupted["corruption/mean"]}


def print_tables(study: Study, folders: dict[str, list[Path]], baseline: str) -> None:
    """Print accuracy, paired differences to the baseline, and compute."""
    results = {name: [columns(study, folder) for folder in runs] for name, runs in folders.items()}
    print("\nAccuracy, %, mean ± standard deviation\n")
    print_accuracies(results, folders)
    print(f"\nPaired difference to {baseline}, points, mean [95 % t interval]\n")
    print_differences(results, baseline)


def print_pretexts(folders: dict[str, list[Path]]) -> None:
    """Print how often the pretexts were answered rightly on the test images, where they were trained."""
    chances = {"lorot": 100 / 16, "flip": 100 / 2, "channel_shuffle": 100 / 6}
    print("\nAccuracy of the pretexts on the test images, %, mean ± standard deviation\n")
    print("| method | " + " | ".join(chances) + " |\n" + "|---" * (len(chances) + 1) + "|")
    print(f"| guessing | {' | '.join(f'{chance:.1f}' for chance in chances.values())} |")
    for name, runs in folders.items():
        measured = [accuracies(folder) for folder in runs]
        cells = [spread([run["test", t] for run in measured]) if ("test", t) in measured[0] else "" for t in chances]
        if any(cells):
            print(f"| {name} | {' | '.join(cells)} |")


def print_classes(folders: dict[str, list[Path]]) -> None:
    """Print the accuracy on every class."""
    print("\nAccuracy on each class, the most frequent first, %, mean over seeds\n")
    print("| method | " + " | ".join(map(str, range(10))) + " |\n" + "|---" * 11 + "|")
    for name, runs in folders.items():
        means = [mean(values) for values in zip(*(per_class(folder) for folder in runs), strict=True)]
        print(f"| {name} | {' | '.join(f'{value:.0f}' for value in means)} |")


def gate_weights(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the gate's weights over the steps by pretext."""
    weights: dict[str, list[tuple[int, float]]] = {}
    for row in read_records(folder / "records.jsonl"):
        for key, value in row.get("losses", {}).items():
            if key.startswith("gate_"):
                weights.setdefault(key.removeprefix("gate_"), []).append((row["step"], value))
    return weights


def draw_gates(folders: dict[str, list[Path]], path: Path) -> None:
    """Draw the weights of the gates that move, a panel for each run."""
    names = [name for name in folders if name.endswith(("frozen", "learned"))]
    count = len(folders[names[0]])
    figure = Figure(figsize=(3 * count, 2.6 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), count, sharex=True, sharey=True, squeeze=False)
    styles = {"lorot": ("#0072B2", "-"), "flip": ("#E69F00", "--"), "channel_shuffle": ("#009E73", ":")}
    for row, name in zip(panels, names, strict=True):
        for seed, (panel, folder) in enumerate(zip(row, folders[name], strict=True)):
            for pretext, points in gate_weights(folder).items():
                colour, line = styles[pretext]
                panel.plot(*zip(*points, strict=True), color=colour, linestyle=line, label=pretext, linewidth=1.5)
            panel.set(title=f"{name.split()[-1]} gate, seed {seed}", ylim=(0, 1))
            panel.grid(alpha=0.3)
    for panel in panels[-1]:
        panel.set_xlabel("step")
    for panel in panels[:, 0]:
        panel.set_ylabel("weight")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)


def main(options: Options) -> None:
    """Run what is missing, print the tables and draw the figure."""
    make, baseline = STUDIES[options.study]
    jobs = {name: [job(options, name, config, seed) for seed in options.seeds] for name, config in make().items()}
    train_all([run for same_seed in zip(*jobs.values(), strict=True) for run in same_seed], processes=options.processes)
    folders = {name: [run.folder for run in runs] for name, runs in jobs.items()}
    print("\n" + describe(f"{options.study}: seeds {options.seeds}"))
    print_tables(options.study, folders, baseline)
    print_pretexts(folders)
    if options.study == "long-tailed":
        print_classes(folders)
    if options.picture is not None:
        draw_gates(folders, options.picture)


if __name__ == "__main__":
    main(tyro.cli(Options))
