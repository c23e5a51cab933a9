"""A sweep as tables, Markdown, CSV and the config of its best run."""

from pathlib import Path

from auxo.evaluation import Table, measure_cell, title_measure, to_csv, to_markdown
from auxo.files import write_atomically
from auxo.runs.document import to_json
from auxo.runs.results import EvaluationRow
from auxo.sweep.fields import Value
from auxo.sweep.results import ValidationScore, read_test
from auxo.sweep.samplers import spelled
from auxo.sweep.search import Sweep
from auxo.sweep.study import Trial


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
    scores = [sweep.results[trial.number].score for trial in ranking]
    names = _shown_measures(scores[0]) if scores else []
    lines = []
    for trial, score in list(zip(ranking, scores, strict=True))[:most]:
        cost = sweep.results[trial.number].compute
        lines.append(
            (
                trial.name,
                *(_shorten_value(trial.values[path]) if path in trial.values else "-" for path in paths),
                *(_value_cell(score.row, name) for name in names),
                _list_epochs(sweep, trial),
                "-" if cost.flops is None else f"{cost.flops:.3g}",
                f"{cost.train_seconds:.1f}",
            )
        )
    measured = tuple(f"val {_title_column(scores[0].row, name)}" for name in names)
    shown = "" if most is None or len(ranking) <= most else f"The best {most}. "
    columns = ("trial", *paths, *measured, "epochs", "operations", "seconds")
    return Table(columns, tuple(lines), shown + _write_caption(sweep))


def _write_caption(sweep: Sweep) -> str:
    """Return how the order of the table came about."""
    count = f"{len(sweep.results)} of {len(sweep.trials)} trials finished"
    if sweep.best is None:
        return f"{count}."
    score = sweep.results[sweep.best.number].score
    tie_break = [] if score.tie_break is None else [_best_of(score.row, score.tie_break)]
    order = ", then ".join([*_first_step(score), _best_of(score.row, score.name), *tie_break, "the earliest"])
    return (
        f"{count}. Chosen on {score.row.n} validation images (head {score.row.head}) by {order}. "
        "The best of many is lucky, too: its validation result is too good. Operations: floating-point, of training."
    )


def _first_step(score: ValidationScore) -> list[str]:
    """Return what is asked before the measure, in words."""
    if score.rule.keep != "two_step":
        return []
    test = score.rule.test
    chosen = f"p = {score.row.find(test.p_value_name).value:.3g} of the chosen one"
    return [f"whether features tell {test.column} ({test.name}, {chosen})"]


def _best_of(row: EvaluationRow, name: str) -> str:
    """Return which end of a measure is best, in words."""
    return f"the {'highest' if row.measures[name].higher_is_better else 'lowest'} {title_measure(name)}"


def judged_table(sweep: Sweep) -> Table | None:
    """Return what the chosen trial achieves on test sets; ``None`` without a trial or a test set."""
    if sweep.best is None:
        return None
    score = sweep.results[sweep.best.number].score
    rows = read_test(sweep.run_folder(sweep.best), score)
    if not rows:
        return None
    names = dict.fromkeys([score.name, score.row.primary, *_shown_measures(score)])
    lines = tuple((row.split, f"{row.n:,}", *(measure_cell([row], name) for name in names)) for row in rows)
    caption = (
        f"{sweep.best.name} alone, once it was chosen: no test image had a say. Head {score.row.head}, "
        "with 95 % intervals where they are known."
    )
    return Table(("test set", "images", *(_title_column(score.row, name) for name in names)), lines, caption)


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
    measured = [result.score.row for result in sweep.results.values()]
    names = dict.fromkeys(name for row in measured for name in row.measures)
    rows: list[dict[str, object]] = []
    for trial in sweep.trials:
        result, own = sweep.results.get(trial.number), trial.values
        found = {} if result is None else {name: each.value for name, each in result.score.row.measures.items()}
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state,
                **{path: spelled(own[path]) if path in own else None for path in sweep.study.space.paths},
                **{f"val_{name}": found.get(name) for name in names},
                "val_images": None if result is None else result.score.row.n,
                "epochs": None if result is None else _list_epochs(sweep, trial),
                "flops": None if result is None else result.compute.flops,
                "train_seconds": None if result is None else result.compute.train_seconds,
                "error": trial.error,
            }
        )
    return to_csv(rows)


def _shown_measures(score: ValidationScore) -> list[str]:
    """Return the measures that decide, the first one first."""
    return [score.name, *([] if score.tie_break is None else [score.tie_break])]


def _title_column(row: EvaluationRow, name: str) -> str:
    """Return a measure with its unit, as the head of a column."""
    return " ".join(filter(None, (title_measure(name), row.measures[name].unit)))


def _value_cell(row: EvaluationRow, name: str) -> str:
    """Return a measure without its interval; more digits than intervals allow, as trials are near each other."""
    measure = row.measures.get(name)
    if measure is None:
        return "-"
    return f"{measure.shown:.{1 if measure.unit == '%' else 4}f}"


def _list_epochs(sweep: Sweep, trial: Trial) -> str:
    """Return the epochs of a trial's stages."""
    return "+".join(str(stage.epochs) for stage in sweep.study.space.run(trial.values).stages)


def _shorten_value(value: Value) -> str:
    """Return a value for a table."""
    return f"{value:.4g}" if isinstance(value, float) else spelled(value)
