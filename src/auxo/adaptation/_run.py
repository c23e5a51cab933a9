"""Adapt the network of a run directory, and write it as a run directory of its own, whole or not at all."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import auxo
from auxo.adaptation._check import doubt_chance
from auxo.adaptation._interface import AdaptationConfig, Setting, UnlabelledImages
from auxo.adaptation._network import Outcome, adapt_network
from auxo.backbones import stored_state
from auxo.data import AbstractSource, Splits
from auxo.errors import AuxoError
from auxo.evaluation import Reader, Table, build_table, to_markdown
from auxo.files import write_atomically, write_tensor_file
from auxo.files.folders import require_unused, writing_folder
from auxo.files.tensor_file import read_tensor_file
from auxo.runs.adapted import AdaptationRecord
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.model import TrainedModel, splits_of
from auxo.runs.networks import write_networks
from auxo.runs.records import read_records
from auxo.runs.results import EvaluationRow
from auxo.training.run import measure_sets

_MEASURED_ANEW = ("result", "end")
_COPIED = ("config.json", "moved.json")


class AdaptedRun(NamedTuple):
    """A run directory that was written.

    Args:
        folder: where.
        record: how it came about.
        table: what the network achieves on the run's own sets; ``None`` where they are not at hand.
        notes: what a person should know, a sentence each.
    """

    folder: Path
    record: AdaptationRecord
    table: Table | None
    notes: tuple[str, ...]


def adapt_run(
    adaptation: AdaptationConfig,
    model: TrainedModel,
    config: ExperimentConfig,
    images: AbstractSource,
    *,
    run: Path,
    out: Path,
    reader: Reader,
) -> AdaptedRun:
    """Adapt the model of a finished run, and write a run directory that all commands take like any other.

    The run directory appears when all is in it. The model is changed in place; the files of the run are only read. The
    run's own sets, where they are at hand, are measured again. What they say of the source stays in its directory.

    Args:
        adaptation: how.
        model: of the run, changed in place.
        config: of the run.
        images: from where the model will be used; labels of theirs are not read.
        run: the run directory.
        out: the new one; not there or empty.
        reader: of the model.

    Raises:
        ConfigError: the network cannot be adapted so.
        CheckpointError: the run is not finished, or damaged.
        DataError: an image is damaged, or images of the run are needed and not at hand.
        OutputError: ``out`` holds files, or cannot be written.
    """
    require_unused(out)
    history, started = RunHistory.read_finished(run), time.perf_counter()
    splits, notes = _find_splits(adaptation, model, config)
    setting = Setting(
        reader=reader,
        target=UnlabelledImages(images),
        seed=config.seed,
        source=None if splits is None else splits.train,
        shares=tuple(map(float, model.task.train_counts)),
    )
    chance = doubt_chance(history)
    outcome = adapt_network(adaptation, setting)
    outcome = outcome._replace(doubts=(*chance, *outcome.doubts))
    seconds = time.perf_counter() - started
    rows = [] if splits is None else measure_sets(reader, config.stages[-1], splits)
    record = _make_record(adaptation, outcome, images, run=run)
    table: Table | None = None
    if reader.runtime.is_main:
        with writing_folder(out) as folder:
            table = _write_files(folder, model, run=run, history=history, record=record, rows=rows, seconds=seconds)
    reader.runtime.barrier()
    return AdaptedRun(out, record, table if rows else None, notes)


def _find_splits(
    adaptation: AdaptationConfig, model: TrainedModel, config: ExperimentConfig
) -> tuple[Splits | None, tuple[str, ...]]:
    """Return the run's own images, or none and a note where they are neither here nor needed."""
    try:
        splits = splits_of(config)
        model.check_splits(splits)
    except AuxoError as error:
        if adaptation.needs_source:
            raise
        return None, (f"the run's own sets are not measured again: {error}",)
    return splits, ()


def _make_record(
    adaptation: AdaptationConfig, outcome: Outcome, images: AbstractSource, *, run: Path
) -> AdaptationRecord:
    """Return what the new run directory says of itself."""
    hashes = sorted(images.content_hashes())
    options = {name: value for name, value in asdict(adaptation).items() if name != "name"}
    return AdaptationRecord(
        auxo=auxo.__version__,
        source=str(run),
        source_digest=hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest(),
        method=adaptation.name,
        options=options,
        images=images.name,
        num_images=len(images),
        images_digest=hashlib.sha256(repr(hashes).encode()).hexdigest(),
        is_kept=outcome.is_kept,
        reason=outcome.reason,
        doubts=outcome.doubts,
        facts=dict(outcome.facts),
    )


def _write_files(
    folder: Path,
    model: TrainedModel,
    *,
    run: Path,
    history: RunHistory,
    record: AdaptationRecord,
    rows: Sequence[EvaluationRow],
    seconds: float,
) -> Table:
    """Write all files of the new run directory, and return the table of its results."""
    for name in _COPIED:
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)
    record.write(folder)
    write_networks(folder, model.frozen)
    header = read_tensor_file(run / "model.safetensors").header
    tree = {"weights": stored_state(model.method), "pipeline": model.pipeline.state_dict()}
    write_tensor_file(
        folder / "model.safetensors", tree, {**header, "auxo": auxo.__version__, "adapted": record.method}
    )
    lines = list(_continue_records(run, history, record, rows, seconds=seconds))
    write_atomically(folder / "records.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    written = RunHistory.read(folder)
    table = build_table(rows, selection=written.selection, compute=written.compute)
    text = to_markdown(table, notes=written.describe_course())
    write_atomically(folder / "report.md", f"# {run.name}, adapted\n\n{text}")
    return table


def _continue_records(
    run: Path, history: RunHistory, record: AdaptationRecord, rows: Sequence[EvaluationRow], *, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield the records of the training, then what was done, and what the network achieves now."""
    yield from (row for row in read_records(run / "records.jsonl") if row["kind"] not in _MEASURED_ANEW)
    (end,) = [row for row in history.records if row["kind"] == "end"][-1:]
    place = {name: end[name] for name in ("stage_number", "stage", "step", "global_step")}
    yield {"kind": "adaptation", **place, "method": record.method, "is_kept": record.is_kept, **record.facts}
    for row in rows:
        yield {"kind": "result", **place, **row.to_record()}
    # What forward passes of an adaptation cost is not counted as the updates of training are.
    yield {**end, "train_seconds": end["train_seconds"] + seconds, "flops": None}
