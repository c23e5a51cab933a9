"""Estimate the accuracy of trained runs on unseen sets without labels, and print what every estimator gets wrong.

    python benchmarks/estimate_results.py --scenario digits
    AUXO_DATA=... python benchmarks/estimate_results.py --scenario mnist-usps-mnistm

Every run is a run directory under --out; finished ones are read, not repeated. Labels of unseen sets are read after all
estimates are made, for the errors alone. The common corruptions are not among the meta sets, so that corrupted-digits
is unseen for the estimators as well.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean

import tyro

from auxo.data import DataConfig, load_splits
from auxo.estimation import ESTIMATORS, Estimate, EstimationConfig, fit_estimation, read_source_indicators, rmse
from auxo.evaluation import Reader
from auxo.files import write_atomically
from auxo.interfaces import MethodConfig
from auxo.methods.joint_training import JointTraining
from auxo.methods.ossl import OSSL
from auxo.pretexts.rotation import Rotation
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime
from comparison import Job, describe, train_all

METHODS: dict[str, MethodConfig] = {
    "ossl": OSSL.Config(shared_upright=True),
    "rotation": JointTraining.Config(pretext=Rotation(), shared_upright=True),
}
PUBLISHED = "8.87 points for rotation on USPS and SVHN by Deng et al., which are other sets"
EPOCHS = 8


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to estimate, and where."""

    scenario: str = "digits"
    """Data scenario; its sets from elsewhere are the unseen ones."""
    methods: tuple[str, ...] = ("ossl", "rotation")
    """Methods to train: ossl, rotation."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs."""
    processes: int = 1
    """Runs trained at a time, each with one thread."""
    estimation: EstimationConfig = field(default_factory=EstimationConfig)
    """How to estimate."""
    out: Path = Path("runs/results/estimate")
    """Folder of the run directories."""


@dataclass(frozen=True)
class Judged:
    """An estimate, and the accuracy that it was an estimate of; percent."""

    run: str
    error_on_meta_sets: float | None
    truth: float
    estimate: Estimate


def job(options: Options, method: str, seed: int) -> Job:
    """Return the run of one method with one seed."""
    config = ExperimentConfig(
        stages=(StageConfig(method=METHODS[method], epochs=EPOCHS),),
        data=DataConfig(scenario=options.scenario),
        training=TrainingConfig(evaluate_every=EPOCHS, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
        seed=seed,
    )
    return Job(config, options.out / options.scenario / method / f"seed{seed}")


def judged(options: Options, run: Job) -> list[Judged]:
    """Return every estimate on every unseen set of a run beside the truth, made once for these options."""
    settings = asdict(options.estimation)
    name = f"judged-{settings['sets']}-{settings['images']}-{settings['resamples']}"
    path = run.folder / f"{name}{'-corruptions' if settings['corruptions'] else ''}.json"
    if not path.exists():
        write_atomically(path, json.dumps([asdict(row) for row in _judge(options, run)]))
        print(f"estimated: {run.folder}", flush=True)
    rows = json.loads(path.read_text())
    return [Judged(**{**row, "estimate": Estimate(**row["estimate"])}) for row in rows]


def _judge(options: Options, run: Job) -> list[Judged]:
    """Estimate on every unseen set, then read the labels."""
    config, folder = run
    with open_runtime(RuntimeConfig(device="cpu", threads=1)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        splits = load_splits(config.data, seed=config.seed)
        model.check_splits(splits)
        reader = Reader.of(model, runtime=runtime, batch_size=250)
        estimation = fit_estimation(reader, splits.val, seed=config.seed, config=options.estimation)
        errors = {name: fitted.error for name, fitted in estimation.fitted.items()}
        rows = []
        for split in (splits.test, *splits.ood):
            assert split is not None, "both scenarios have a test set"
            source = split.source.without_targets(("label",), split.name)
            estimates = estimation.estimate(read_source_indicators(reader, source), name=split.name)
            truth = 100 * reader.evaluate(split)[0].main.value
            rows += [Judged(str(folder), errors.get(row.estimator), truth, row) for row in estimates]
    return rows


def print_sets(rows: list[Judged]) -> None:
    """Print errors set by set, means over the runs, and the truth."""
    names = list(dict.fromkeys(row.estimate.name for row in rows))
    print("\nEstimate less accuracy, points, mean over runs (in parentheses: refused in so many)\n")
    print("| estimator | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    truths = {name: mean({row.run: row.truth for row in rows if row.estimate.name == name}.values()) for name in names}
    print("| *accuracy, %* | " + " | ".join(f"*{truths[name]:.1f}*" for name in names) + " |")
    for estimator in (*(each.name for each in ESTIMATORS), "default"):
        cells = []
        for name in names:
            here = [row for row in chosen(rows, estimator) if row.estimate.name == name]
            errors = [row.estimate.value - row.truth for row in here if row.estimate.value is not None]
            refused = len(here) - len(errors)
            cells.append((f"{mean(errors):+.1f}" if errors else "-") + (f" ({refused})" if refused else ""))
        print(f"| {estimator} | {' | '.join(cells)} |")


def print_errors(rows: list[Judged]) -> None:
    """Print the root mean squared error of every estimator over runs and unseen sets."""
    unseen = [row for row in rows if row.estimate.name.startswith("ood/")]
    print("\nRoot mean squared error over runs and unseen sets, points\n")
    print("| estimator | on held-out kinds | on unseen sets | estimates | refused | truth in interval | its width |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for estimator in (*(each.name for each in ESTIMATORS), "default"):
        here = chosen(unseen, estimator)
        given = [row for row in here if row.estimate.value is not None]
        known = [row.error_on_meta_sets for row in here if row.error_on_meta_sets is not None]
        cells = ["-"] * 3
        if known:
            cells[0] = f"{mean(known):.1f}"
        if given:
            cells[1] = f"{rmse([row.estimate.value for row in given], [row.truth for row in given]):.2f}"
            cells[2] = f"{mean(row.estimate.high - row.estimate.low for row in given):.0f}"
        hits = sum(row.estimate.low <= row.truth <= row.estimate.high for row in given)
        counts = f"{len(given)} | {len(here) - len(given)} | {hits}/{len(given)}"
        print(f"| {estimator} | {cells[0]} | {cells[1]} | {counts} | {cells[2]} |")
    print(f"\nPublished: {PUBLISHED}.")


def chosen(rows: list[Judged], estimator: str) -> list[Judged]:
    """Return the rows of an estimator, or those of the default, whichever it was."""
    if estimator == "default":
        return [row for row in rows if row.estimate.is_default]
    return [row for row in rows if row.estimate.estimator == estimator]


def main(options: Options) -> None:
    """Train what is missing, estimate, and print the tables."""
    jobs = {method: [job(options, method, seed) for seed in options.seeds] for method in options.methods}
    train_all([run for same in zip(*jobs.values(), strict=True) for run in same], processes=options.processes)
    settings = options.estimation
    made = f"{settings.sets} meta sets of {settings.images} images"
    everything: list[Judged] = []
    for method, runs in jobs.items():
        rows = [row for run in runs for row in judged(options, run)]
        everything += rows
        print(f"\n## {options.scenario}, {method}\n")
        print(describe(f"seeds {options.seeds}, {EPOCHS} epochs, {made}"))
        print_sets(rows)
        print_errors(rows)
        defaults = [row.estimate.estimator for row in chosen(rows, "default") if row.estimate.name.startswith("ood/")]
        print("\nDefault: " + ", ".join(f"{name} {defaults.count(name)} times" for name in dict.fromkeys(defaults)))
    print(f"\n## {options.scenario}, all runs")
    print_errors(everything)


if __name__ == "__main__":
    main(tyro.cli(Options))
