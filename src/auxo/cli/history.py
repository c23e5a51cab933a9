"""What the files of a run say of its weights: how they were chosen, what they cost, and what judged them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from auxo.evaluation import Compute, EvaluationRow, Selection
from auxo.experiment import ExperimentConfig, StageConfig
from auxo.training import find_end, read_records
from auxo.training.checkpoint import Checkpoints

__all__ = ["changed_sets", "history"]


def history(folder: Path, config: ExperimentConfig, *, stage: str | None) -> tuple[Selection | None, Compute]:
    """Return how weights were chosen and what they cost.

    Args:
        folder: the run directory.
        config: of the run.
        stage: name of a finished stage, whose cost is its own and that of the stages that it started from; ``None``
            means the end of the run, whose cost is that of all stages.
    """
    if stage is not None:
        return _of_stage(folder / "checkpoints", {each.name: each for each in config.stages}, stage)
    end = find_end(read_records(folder / "records.jsonl"))
    return (None, Compute(train_seconds=0.0, images=0)) if end is None else (end.selection, end.compute)


def changed_sets(folder: Path, rows: Sequence[EvaluationRow]) -> list[str]:
    """Return a line for each set that has another number of images than when the run ended.

    Args:
        folder: the run directory.
        rows: of the run's own sets as they are now.
    """
    records = read_records(folder / "records.jsonl")
    before = {row["split"]: row["n"] for row in records if row["kind"] == "result" and row["head_kind"] == "class"}
    now = {row.split: row.n for row in rows if row.kind == "class" and row.split in before}
    return [
        f"note: {name} has {count:,} images and had {before[name]:,} when the run ended: its results do not compare"
        for name, count in now.items()
        if before[name] != count
    ]


def _of_stage(folder: Path, stages: Mapping[str, StageConfig], name: str) -> tuple[Selection | None, Compute]:
    """Return the history of a stage from its checkpoints."""
    spent = [Checkpoints(folder, each, "").final_progress() for each in dict.fromkeys(_with_sources(stages, name))]
    flops = [progress.flops for progress in spent]
    counted = [value for value in flops if value is not None]
    compute = Compute(
        train_seconds=sum(progress.train_seconds for progress in spent),
        images=sum(progress.images for progress in spent),
        flops=sum(counted) if len(counted) == len(flops) else None,
    )
    return spent[0].best if stages[name].selection == "best_val" else None, compute


def _with_sources(stages: Mapping[str, StageConfig], name: str) -> list[str]:
    """Return the name of a stage, then those of the stages that its first weights come from."""
    return [name, *(each for source in stages[name].sources for each in _with_sources(stages, source))]
