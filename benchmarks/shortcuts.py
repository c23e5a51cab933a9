"""Compare ways of removing a shortcut where its strength changes, and print the tables of docs/results/shortcuts.md.

    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/shortcuts.py                      everything, an hour of one core
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/shortcuts.py --sets digits --strengths 0.9
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/shortcuts.py --no-train --picture docs/assets/shortcuts.png

Every run is a run directory under --out; finished ones are read, not repeated, so an interrupted comparison goes on.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Literal, NamedTuple, TypeAlias

import tyro
from matplotlib.figure import Figure

from auxo.data import DataConfig
from auxo.data.shortcuts import ShortcutConfig
from auxo.evaluation import Reader
from auxo.files import write_atomically
from auxo.losses.invariance import InvarianceConfig
from auxo.losses.invariance.group_dro import GroupDRO
from auxo.losses.invariance.mmd import MMD
from auxo.losses.invariance.none import NoPenalty
from auxo.losses.invariance.vrex import VREx
from auxo.losses.kernels.rbf import RBF
from auxo.methods.shortcut_removal import ShortcutRemoval
from auxo.optimizers import OptimizerConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.history import RunHistory
from auxo.runs.independence.chunks import Chunks
from auxo.runs.independence.permutation import Permutation
from auxo.runs.model import load_model, splits_of
from auxo.runs.selection import SelectionRule
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from comparison import Job, describe, difference, spread, train_here

Set: TypeAlias = Literal["digits", "objects"]

SHIFTED = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
NUMBERS = {300: 40, 2500: 8}  # training images, and epochs
ALPHAS, SIGMAS = (10.0, 30.0, 100.0), (3.0, 10.0)
COLUMNS = {"digits": "colour", "objects": "background"}
RULES = ("weighted loss", "two steps, permutation", "two steps, t-test")
DRAWN = (
    *("ERM", "weighted ERM", "MMD", f"weighted MMD, {RULES[0]}", f"weighted MMD, {RULES[1]}"),
    *("conditional MMD", "group DRO", "oracle"),
)
_FIXED = (30.0, 10.0)  # alpha and sigma of the lines that are not chosen
_CONTRASTS = (  # beside those to weighted training that every table has
    ("weighted ERM", "ERM"),
    ("released loss", "ERM"),
    ("weighted MMD 30 10", "ERM"),
    ("weighted MMD 30 10", "released loss"),
    ("MMD", "weighted MMD 30 10"),
    ("MMD", "weighted ERM"),
    ("weighted MMD 30 10", "weighted ERM"),
    ("weighted MMD, two steps, permutation", "weighted MMD, weighted loss"),
    ("weighted MMD, two steps, permutation", "weighted ERM"),
)
_ADAM = OptimizerConfig(name="adamw", lr=2e-3, weight_decay=0.0)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and where."""

    sets: tuple[Set, ...] = ("digits", "objects")
    """Coloured digits, or cars and lorries on scenes."""
    strengths: tuple[float, ...] = (0.9, 0.5)
    """Strengths of the shortcut in training."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Every line sees the same splits, first weights and order of data under one seed."""
    train: bool = True
    """Make the runs that are missing; else tables are of the seeds that are whole."""
    picture: Path | None = None
    """Draw the curves into this file."""
    out: Path = Path("runs/results/shortcuts")
    """Folder of the run directories."""


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Args:
        invariance: the objective.
        weighting: of the images.
        optimizer: how weights follow their gradients.
        drawn: whether images show the shortcut.
    """

    invariance: InvarianceConfig = field(default_factory=NoPenalty.Config)
    weighting: Literal["product", "none"] = "none"
    optimizer: OptimizerConfig = _ADAM
    drawn: bool = True


class Setting(NamedTuple):
    """What the lines of a table share.

    Args:
        images: the set.
        strength: of the shortcut in training.
        num_train: training images.
    """

    images: Set
    strength: float
    num_train: int


def mmd(alpha: float, sigma: float) -> MMD.Config:
    """Return a discrepancy of one length scale."""
    return MMD.Config(weight=alpha, kernel=RBF(sigma=sigma))


def name_grid(alpha: float, sigma: float) -> str:
    """Return what a line of the grid is called."""
    return f"weighted MMD {alpha:g} {sigma:g}"


def list_lines(strength: float) -> dict[str, Line]:
    """Return the lines; the grid only where there is a shortcut."""
    penalty = mmd(*_FIXED)
    lines = {
        "ERM": Line(),
        "weighted ERM": Line(weighting="product"),
        name_grid(*_FIXED): Line(penalty, "product"),
        "MMD": Line(penalty),
        "conditional MMD": Line(replace(penalty, over="conditional")),
        "group DRO": Line(GroupDRO.Config(step_size=0.1)),
        "V-REx": Line(VREx.Config()),
        "weight decay": Line(optimizer=replace(_ADAM, weight_decay=1.0)),
        "released loss": Line(replace(penalty, loss_scale="sum_unweighted"), "product"),
    }
    if strength > 0.5:
        lines |= {name_grid(a, s): Line(mmd(a, s), "product") for a in ALPHAS for s in SIGMAS}
    return {**lines, "oracle": Line(drawn=False)}


def make_job(options: Options, setting: Setting, name: str, seed: int) -> Job:
    """Return the run of a line."""
    line = list_lines(setting.strength)[name]
    is_digits = setting.images == "digits"
    shortcut = ShortcutConfig(
        strength=setting.strength,
        shifted=SHIFTED,
        drawn=line.drawn,
        groups=() if is_digits else ("automobile", "truck"),
    )
    scenario = "coloured_digits" if is_digits else "objects_on_scenes"
    method = ShortcutRemoval.Config(
        column=COLUMNS[setting.images],
        weighting=line.weighting,
        invariance=line.invariance,
        optimizer=line.optimizer,
    )
    config = ExperimentConfig(
        stages=(StageConfig(method=method, epochs=NUMBERS[setting.num_train], batch_size=64),),
        data=DataConfig(scenario=scenario, num_train=setting.num_train, shortcut=shortcut),
        training=TrainingConfig(evaluate_every=1000, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
        seed=seed,
    )
    place = f"{setting.images}-{setting.strength:g}-{setting.num_train}"
    return Job(config, options.out / place / name.replace(" ", "-") / f"seed{seed}")


def read_auroc(job: Job) -> dict[str, float]:
    """Return the area under the ROC curve in percent by split."""
    rows = RunHistory.read_finished(job.folder).first_head()
    return {row.split.removeprefix("ood/strength-"): 100 * row.find("auroc").value for row in rows}


def test_run(job: Job, runtime: Runtime) -> None:
    """Write down what both tests say of a run's features on its validation images."""
    path = job.folder / "independence.json"
    if path.exists():
        return
    model = load_model(job.config, job.folder, runtime=runtime)
    (stage,) = job.config.stages
    assert isinstance(stage.method, ShortcutRemoval.Config)
    assert isinstance(stage.method.invariance, MMD.Config)
    images = Reader.of(model, runtime=runtime, batch_size=500).images(splits_of(job.config).val)
    column = stage.method.column
    tests = {
        RULES[1]: Permutation(column=column),
        RULES[2]: Chunks(column=column, kernel=stage.method.invariance.kernel),
    }
    found = {
        name: {key: measure.value for key, measure in test.measure(model.method.predict, images).items()}
        for name, test in tests.items()
    }
    write_atomically(path, json.dumps(found))


def choose(jobs: dict[str, Job], rule: str) -> str:
    """Return the line of the grid that a rule chooses on the validation images."""
    ranked = {}
    for name, job in jobs.items():
        found = json.loads((job.folder / "independence.json").read_text())
        column = job.config.stages[0].method.learned_columns[0]
        test = (Chunks if rule == RULES[2] else Permutation)(column=column)
        measured = found[RULES[2] if rule == RULES[2] else RULES[1]]
        row = next(row for row in RunHistory.read_finished(job.folder).first_head() if row.split == "val")
        measures = {key: row.main._replace(value=value, higher_is_better=False) for key, value in measured.items()}
        whole = replace(row, measures={**row.measures, **measures})
        by_loss = SelectionRule(keep="best", measure=test.loss_name)
        chooser = by_loss if rule == RULES[0] else SelectionRule(keep="two_step", test=test)
        ranked[name] = chooser.rank(whole)
    return min(ranked, key=lambda name: ranked[name])


def list_settings(options: Options) -> Iterator[Setting]:
    """Yield the settings, those that matter most first."""
    for strength in options.strengths:
        for number in NUMBERS:
            yield from (Setting(images, strength, number) for images in options.sets)


def train_missing(options: Options) -> None:
    """Make the runs that are not finished, a seed of a setting after the other, and test those of the grid."""
    for setting in list_settings(options):
        for seed in options.seeds:
            jobs = {name: make_job(options, setting, name, seed) for name in list_lines(setting.strength)}
            train_here([*jobs.values()])
            grid = [job for name, job in jobs.items() if name.startswith("weighted MMD")]
            with open_runtime(grid[0].config.runtime) as runtime:
                for job in grid:
                    test_run(job, runtime)


def read_setting(options: Options, setting: Setting) -> tuple[dict[str, list[dict[str, float]]], dict[str, list[str]]]:
    """Return the areas of every line by seed, and what the rules chose; seeds that are not whole are left out."""
    found: dict[str, list[dict[str, float]]] = {}
    chosen: dict[str, list[str]] = {}
    for seed in options.seeds:
        jobs = {name: make_job(options, setting, name, seed) for name in list_lines(setting.strength)}
        grid = {name: job for name, job in jobs.items() if name.startswith("weighted MMD")}
        is_whole = all((job.folder / "model.safetensors").exists() for job in jobs.values())
        if not is_whole or not all((job.folder / "independence.json").exists() for job in grid.values()):
            continue
        areas = {name: read_auroc(job) for name, job in jobs.items()}
        for rule in RULES if len(grid) > 1 else ():
            name = choose(grid, rule)
            areas[f"weighted MMD, {rule}"] = areas[name]
            chosen.setdefault(rule, []).append(name.removeprefix("weighted MMD "))
        for name, each in areas.items():
            found.setdefault(name, []).append(each)
    return found, chosen


def print_tests(options: Options, setting: Setting) -> None:
    """Print how many models of the grid pass each test, and the largest p-value."""
    names = [name for name in list_lines(setting.strength) if name.startswith("weighted MMD")]
    jobs = [make_job(options, setting, name, seed) for name in names for seed in options.seeds]
    paths = [job.folder / "independence.json" for job in jobs]
    read = [json.loads(path.read_text()) for path in paths if path.exists()]
    for rule in RULES[1:]:
        values = [value for found in read for key, value in found[rule].items() if key.startswith("independence/")]
        passed = sum(value >= Permutation().significance for value in values)
        print(f"\n{rule}: {passed} of {len(values)} models pass, largest p {max(values):.2g}")


def print_setting(setting: Setting, found: dict[str, list[dict[str, float]]], chosen: dict[str, list[str]]) -> None:
    """Print the areas by strength, and differences to weighted training."""
    seeds = len(next(iter(found.values())))
    print(f"\n### {setting.images}, strength {setting.strength:g}, {setting.num_train:,} images, {seeds} seeds\n")
    titles = [f"{strength:g}" for strength in SHIFTED]
    print("| method | " + " | ".join(titles) + " | at 0.1, less weighted ERM |\n" + "|---" * (len(titles) + 2) + "|")
    for name, runs in found.items():
        cells = [f"{mean(run[title] for run in runs):.1f}" for title in titles]
        cells[0] = spread([run["0.1"] for run in runs]) if seeds > 1 else cells[0]
        pair = [[run["0.1"] for run in each] for each in (runs, found["weighted ERM"])]
        print(f"| {name} | {' | '.join(cells)} | {difference(*pair) if seeds > 1 and pair[0] != pair[1] else ''} |")
    if seeds > 1:
        print("\n| difference | at 0.1 | at 0.9 |\n|---|---|---|")
        for one, other in _CONTRASTS:
            if one in found and other in found:
                cells = [
                    difference(*([run[at] for run in found[each]] for each in (one, other))) for at in ("0.1", "0.9")
                ]
                print(f"| {one} - {other} | {cells[0]} | {cells[1]} |")
    for rule, names in chosen.items():
        print(f"\n{rule} chose (alpha sigma): " + ", ".join(names))


def draw_curves(options: Options, path: Path) -> None:
    """Draw the areas over the strength, a panel for each setting with a shortcut of which a seed is whole."""
    read = {setting: read_setting(options, setting)[0] for setting in list_settings(options) if setting.strength > 0.5}
    panels = {setting: found for setting, found in read.items() if found}
    figure = Figure(figsize=(3.4 * len(panels), 3.4))
    for number, (setting, found) in enumerate(panels.items(), start=1):
        axis = figure.add_subplot(1, len(panels), number)
        for name in DRAWN:
            areas = [mean(run[f"{strength:g}"] for run in found[name]) for strength in SHIFTED]
            axis.plot(SHIFTED, areas, marker=".", label=name)
        axis.set_title(f"{setting.images}, {setting.num_train:,} images, {len(found['ERM'])} seeds", fontsize=8)
        axis.set_xlabel("strength on test images")
        if number == 1:
            axis.set_ylabel("AUROC, %")
            figure.legend(*axis.get_legend_handles_labels(), loc="lower center", ncols=4, fontsize=7)
    figure.tight_layout(rect=(0, 0.15, 1, 1))
    figure.savefig(path, dpi=130)


def main(options: Options) -> None:
    """Run what is missing and print the tables."""
    if options.train:
        train_missing(options)
    print("\n" + describe(f"seeds {options.seeds}"))
    for setting in list_settings(options):
        found, chosen = read_setting(options, setting)
        if found:
            print_setting(setting, found, chosen)
        if chosen:
            print_tests(options, setting)
    if options.picture is not None:
        draw_curves(options, options.picture)


if __name__ == "__main__":
    main(tyro.cli(Options))
