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
from auxo.backbones import frozen_networks, stored_state
from auxo.data import AbstractSource, Splits
from auxo.errors import AuxoError, ConfigError
from auxo.evaluation import Reader, Table, build_table, to_markdown
from auxo.files import require_place, write_atomically, write_tensor_file
from auxo.files.folders import require_unused, writing_folder
from auxo.files.tensor_file import read_tensor_file
from auxo.options import find_member
from auxo.runs.adapted import AdaptationRecord
from auxo.runs.document import from_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.model import TrainedModel, load_model, splits_of
from auxo.runs.networks import write_networks
from auxo.runs.records import read_records
from auxo.runs.results import EvaluationRow
from auxo.runtime import RuntimeConfig, open_runtime, read_variable
from auxo.training.run import measure_sets

_MEASURED_ANEW = ("result", "end")
_COPIED = ("config.json", "moved.json")
_BATCH_SIZE = 250


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


def adapt(
    run: str | Path,
    images: str | AbstractSource,
    *,
    method: AdaptationConfig | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    code: Sequence[str] = (),
) -> AdaptedRun:
    """Adapt the model of a finished run to images without labels, as ``auxo adapt`` does.

    Args:
        run: the run directory; it is only read.
        images: folder, Parquet, CSV or ``hf://owner/name[:split]``, or a source of your own; labels are not read.
        method: how; ``None`` means :class:`auxo.adaptation.batch_norm.BatchNormAdaptation` with its defaults.
        out: the new run directory, not there or empty; ``None`` means RUN-adapted, or RUN-adapted-2 and so on.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        code: Python files of what is outside auxo that the run may import.

    Raises:
        AuxoError: see :func:`adapt_run`.
    """
    folder = Path(run)
    place = choose_folder(folder, None if out is None else Path(out))
    if not (folder / "config.json").is_file():
        raise ConfigError(f"a run directory at {folder}", "no config.json there", "name a folder under runs/")
    config = from_json((folder / "config.json").read_bytes(), origin=str(folder / "config.json"), code=code)
    with open_runtime(RuntimeConfig(device=device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        source = model.read_unlabelled(images, config.data) if isinstance(images, str) else images
        model.check_shape(source.image_shape, where=source.name)
        reader = Reader.of(model, runtime=runtime, batch_size=_BATCH_SIZE, workers=config.data.workers)
        how = find_member(AdaptationConfig, "batch_norm")() if method is None else method
        return adapt_run(how, model, config, source, run=folder, out=place, reader=reader)


def choose_folder(run: Path, out: Path | None) -> Path:
    """Return where the new run directory goes: ``out``, or RUN-adapted, RUN-adapted-2 and so on.

    Raises:
        ConfigError: several processes would each choose one.
        OutputError: ``out`` holds files, or cannot be made.
    """
    if out is not None:
        return require_unused(require_place(out))
    if read_variable("WORLD_SIZE", default=1) > 1:
        raise ConfigError("--out with several processes", "none", "name the run directory, so that all use the same")
    base = run.resolve()
    folder, number = base.with_name(f"{base.name}-adapted"), 2
    while folder.exists():
        folder, number = base.with_name(f"{base.name}-adapted-{number}"), number + 1
    return folder


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
    frozen = {each.name: each.network.state_dict() for each in frozen_networks(model.method).values()}
    write_networks(folder, {name: kept._replace(weights=frozen[name]) for name, kept in model.frozen.items()})
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
