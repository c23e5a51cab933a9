"""What the finished runs of a comparison found, read from their records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from auxo.comparison.folder import Contents, run_folder
from auxo.errors import CheckpointError
from auxo.jobs import is_finished
from auxo.training import find_end, read_records

__all__ = ["ELSEWHERE", "Result", "read_result", "read_results", "sets_of", "with_mean"]

ELSEWHERE = "mean elsewhere"
_PREFIX = "ood/"


@dataclass(frozen=True)
class Result:
    """What a finished run found.

    Args:
        method: its name.
        seed: its seed.
        head: the class head that judges, the method's first.
        accuracies: in percent, by test set, ``test`` and then those from elsewhere.
        num_images: of each set.
        epochs: of each stage.
        train_seconds: wall-clock time of training.
        images: training images seen.
        flops: floating-point operations of training, or ``None`` if they were not counted.
        selection: what the weights were chosen on; ``None`` for the last epoch's.
    """

    method: str
    seed: int
    head: str
    accuracies: dict[str, float]
    num_images: dict[str, int]
    epochs: tuple[int, ...]
    train_seconds: float
    images: int
    flops: float | None
    selection: str | None


def read_results(folder: Path, contents: Contents) -> list[Result]:
    """Return what the finished runs of a comparison found, in the order of the table.

    Raises:
        CheckpointError: a run's records are damaged.
    """
    places = [(name, seed, run_folder(folder, name, seed)) for name, seed in contents.runs()]
    return [read_result(place, method=name, seed=seed) for name, seed, place in places if is_finished(place)]


def read_result(folder: Path, *, method: str, seed: int) -> Result:
    """Return what a finished run found.

    Raises:
        CheckpointError: its records are damaged, or tell of no end or no class head.
    """
    rows = list(read_records(folder / "records.jsonl"))
    end = find_end(rows)
    if end is None:
        raise CheckpointError(f"a finished run in {folder}", "one that is not", f"auxo train --resume {folder}")
    judged = [row for row in rows if row["kind"] == "result" and row["head_kind"] == "class" and row["split"] != "val"]
    first: dict[str, dict[str, Any]] = {}
    for row in judged:
        first.setdefault(row["split"], row)  # of several heads the first is the one to be used
    if not first:
        fix = "give a test set: --data.test, --data.test-fraction or --data.ood"
        raise CheckpointError(f"accuracies on test sets in {folder}", "none", fix)
    return Result(
        method=method,
        seed=seed,
        head=next(iter(first.values()))["head"],
        accuracies={name: 100 * row["accuracy"] for name, row in first.items()},
        num_images={name: row["n"] for name, row in first.items()},
        epochs=_epochs(folder / "config.json"),
        train_seconds=end.compute.train_seconds,
        images=end.compute.images,
        flops=end.compute.flops,
        selection=None if end.selection is None else end.selection.split,
    )


def _epochs(path: Path) -> tuple[int, ...]:
    """Return the epochs of a run's stages."""
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["run"]["stages"]
        return tuple(stage["epochs"] for stage in stages)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the config of a run in {path}", "something else", "take it from a copy") from error


def sets_of(results: Sequence[Result]) -> list[str]:
    """Return the test sets of results, each once."""
    return list(dict.fromkeys(name for result in results for name in result.accuracies))


def with_mean(result: Result) -> dict[str, float]:
    """Return accuracies in percent by set, with their mean over the sets from elsewhere if there are two or more."""
    elsewhere = [value for name, value in result.accuracies.items() if name.startswith(_PREFIX)]
    return {**result.accuracies, **({ELSEWHERE: fmean(elsewhere)} if len(elsewhere) > 1 else {})}
