"""Estimates as a table and as records."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from auxo.estimation.estimate import Estimate, Estimation
from auxo.evaluation import Table, begin_sentence

_MARK = " *"


def build_estimate_table(estimation: Estimation, estimates: Sequence[Sequence[Estimate]]) -> Table:
    """Return estimators by sets: the measure in percent with its intervals, and what each estimator got wrong.

    Args:
        estimation: the fitted estimators.
        estimates: for each set what :meth:`Estimation.estimate` returned.
    """
    columns = ("estimator", "error", *(f"{rows[0].name} ({rows[0].n:,})" for rows in estimates))
    lines = []
    for place, first in enumerate(estimates[0]):
        fitted = estimation.fitted.get(first.estimator)
        error = "-" if fitted is None else f"{fitted.error:.1f}"
        lines.append((first.estimator, error, *(_format_cell(rows[place]) for rows in estimates)))
    return Table(columns, tuple(lines), _describe_table(estimation))


def _format_cell(estimate: Estimate) -> str:
    """Return a value with its interval and the mark of the default."""
    if estimate.value is None:
        return "refused"
    mark = _MARK if estimate.is_default else ""
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]{mark}"


def _describe_table(estimation: Estimation) -> str:
    """Return what the numbers mean."""
    clean, config, name = estimation.table.measured[0], estimation.config, estimation.measure
    return (
        f"{begin_sentence(name)} to expect, %, of the head that predicts; on validation it is {clean:.1f}. "
        "* is the one to use: smallest error. Error: root mean square in points on "
        f"{len(estimation.sets)} transformed copies of {estimation.num_images} validation images, each kind of "
        f"transformation left out of the fit in turn. Intervals of {100 * config.confidence:g} %: they hold it if the "
        "images differ from the validation images as one kind of transformation does from the others; for images that "
        "differ otherwise nothing is promised."
    )


def estimate_records(
    estimation: Estimation, estimates: Sequence[Sequence[Estimate]], *, run: str, heads: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield all that an estimate rests on, as dictionaries of values that JSON has.

    Args:
        estimation: the fitted estimators.
        estimates: for each set what :meth:`Estimation.estimate` returned.
        run: name of the run.
        heads: names of the heads; the first is the one whose measure it is.
    """
    table = estimation.table
    yield {
        "kind": "settings",
        "run": run,
        "head": heads[0],
        "second_head": heads[1] if heads[1:] else None,
        "split": "val",
        "num_images": estimation.num_images,
        "measure": estimation.measure,
        "value": float(table.measured[0]),
        "seed": estimation.seed,
        "thresholds": {key: _drop_infinite(value) for key, value in estimation.thresholds._asdict().items()},
        **asdict(estimation.config),
    }
    for place, made in enumerate(estimation.sets):
        yield {
            "kind": "set",
            "number": made.number,
            "steps": [step._asdict() for step in made.steps],
            "features": {name: float(values[place]) for name, values in table.features.items()},
            "value": float(table.measured[place]),
        }
    for name, fitted in estimation.fitted.items():
        yield {
            "kind": "estimator",
            "estimator": name,
            "form": fitted.estimator.kind,
            "scale": fitted.estimator.scale,
            "features": list(fitted.features),
            "slopes": fitted.line[:-1].tolist(),
            "intercept": float(fitted.line[-1]),
            "lowest": fitted.low.tolist(),
            "highest": fitted.high.tolist(),
            "error": fitted.error,
            "errors": dict(fitted.errors),
        }
    for rows in estimates:
        for row in rows:
            yield {"kind": "estimate", **asdict(row)}


def _drop_infinite(value: float) -> float | None:
    """Return a number that JSON has, or ``None`` for an infinite one."""
    return value if abs(value) != float("inf") else None
