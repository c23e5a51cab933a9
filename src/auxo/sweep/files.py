"""A sweep as tables, Markdown, CSV and the config of its best run."""

from pathlib import Path

from auxo.config import to_json
from auxo.evaluation import Table, accuracy_cell, to_csv, to_markdown
from auxo.sweep.fields import Value
from auxo.sweep.results import read_test
from auxo.sweep.samplers import spelled
from auxo.sweep.search import Sweep
from auxo.sweep.study import Trial
from auxo.training import write_atomically

__all__ = ["failures_of", "judged_table", "to_report", "to_trial_csv", "trial_table", "write_files"]

_ORDER = {
    "accuracy": "the highest accuracy, then the lowest negative log-likelihood (NLL), then the earliest",
    "nll": "the lowest negative log-likelihood (NLL), then the highest accuracy, then the earliest",
}


def write_files(sweep: Sweep) -> list[Path]:
    """Write the sweep into its folder and return the files.

    Raises:
        OutputError: they cannot be written.
    """
    contents = {"sweep.md": to_report(sweep), "sweep.csv": to_trial_csv(sweep)}
    if sweep.best is not None:
        contents["best.json"] = to_json(sweep.study.space.run(sweep.best.values))
    for name, text in contents.items():
        write_atomically(sweep.folder / name, text)
    return [sweep.folder / name for name in contents]


def trial_table(sweep: Sweep, *, most: int | None = None) -> Table:
    """Return the finished trials, the best on the validation images first.

    Args:
        sweep: the trials.
        most: how many to show; ``None`` for all.
    """
    ranking = sweep.ranking
    paths = sweep.study.space.paths
    columns = ("trial", *paths, "val accuracy %", "val NLL", "epochs", "operations", "seconds")
    lines = []
    for trial in ranking[:most]:
        result = sweep.results[trial.number]
        cost = result.compute
        lines.append(
            (
                trial.name,
                *(_short(trial.values[path]) for path in paths),
                f"{100 * result.score.accuracy:.1f}",
                f"{result.score.nll:.4f}",
                _epochs(sweep, trial),
                "-" if cost.flops is None else f"{cost.flops:.3g}",
                f"{cost.train_seconds:.1f}",
            )
        )
    shown = "" if most is None or len(ranking) <= most else f"The best {most}. "
    return Table(columns, tuple(lines), shown + _caption(sweep))


def _caption(sweep: Sweep) -> str:
    """Return how the order of the table came about."""
    count = f"{len(sweep.results)} of {len(sweep.trials)} trials finished"
    if sweep.best is None:
        return f"{count}."
    score = sweep.results[sweep.best.number].score
    return (
        f"{count}. Chosen on {score.num_images} validation images (head {score.head}) by "
        f"{_ORDER[sweep.study.objective]}. "
        "The best of many is lucky, too: its validation result is too high. Operations: floating-point, of training."
    )


def judged_table(sweep: Sweep) -> Table | None:
    """Return what the chosen trial achieves on test sets; ``None`` without a trial or a test set."""
    rows = [] if sweep.best is None else read_test(sweep.run_folder(sweep.best))
    if sweep.best is None or not rows:
        return None
    lines = tuple((row.split, f"{row.n:,}", accuracy_cell([row]), f"{row.nll:.4f}") for row in rows)
    caption = (
        f"{sweep.best.name} alone, once it was chosen: no test image had a say. "
        "Accuracy in percent with its 95 % Wilson interval."
    )
    return Table(("test set", "images", rows[0].head, "NLL"), lines, caption)


def to_report(sweep: Sweep) -> str:
    """Return the sweep as Markdown."""
    study = sweep.study
    searched = "".join(f"* `{path}` from `{sampler}`\n" for path, sampler in study.space.describe().items())
    parts = [f"# Sweep in {sweep.folder.name}\n", f"{study.strategy}, seed {study.seed}, searched:\n\n{searched}"]
    parts += ["## Trials\n", to_markdown(trial_table(sweep))]
    judged = judged_table(sweep)
    if judged is not None:
        parts += ["## Test result of the chosen trial\n", to_markdown(judged)]
    importances = study.importances()
    if importances:
        shares = "".join(f"* `{path}`: {share:.2f}\n" for path, share in importances.items())
        parts += ["## What mattered\n", f"Shares of importance (PED-ANOVA), rough for few trials:\n\n{shares}"]
    failures = failures_of(sweep)
    if failures:
        listed = "".join(f"* {trial.name}: {trial.error}\n" for trial in failures)
        parts += ["## Failed\n", listed]
    return "\n".join(parts)


def failures_of(sweep: Sweep) -> list[Trial]:
    """Return the trials that failed."""
    return [trial for trial in sweep.trials if trial.state == "failed"]


def to_trial_csv(sweep: Sweep) -> str:
    """Return one row for every trial, unrounded, in the order of their numbers."""
    rows: list[dict[str, object]] = []
    for trial in sweep.trials:
        result = sweep.results.get(trial.number)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state,
                **{path: spelled(trial.values[path]) for path in sweep.study.space.paths},
                "val_accuracy": None if result is None else result.score.accuracy,
                "val_nll": None if result is None else result.score.nll,
                "val_images": None if result is None else result.score.num_images,
                "epochs": None if result is None else _epochs(sweep, trial),
                "flops": None if result is None else result.compute.flops,
                "train_seconds": None if result is None else result.compute.train_seconds,
                "error": trial.error,
            }
        )
    return to_csv(rows)


def _epochs(sweep: Sweep, trial: Trial) -> str:
    """Return the epochs of a trial's stages."""
    return "+".join(str(stage.epochs) for stage in sweep.study.space.run(trial.values).stages)


def _short(value: Value) -> str:
    """Return a value for a table."""
    return f"{value:.4g}" if isinstance(value, float) else spelled(value)
