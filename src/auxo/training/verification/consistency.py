"""What the files of a run must say of each other, seen without any training."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Any

import auxo
from auxo.data import ValSplit
from auxo.errors import AuxoError
from auxo.evaluation import build_table, to_markdown
from auxo.files.tensor_file import read_tensor_file
from auxo.runs.checkpoint import Progress, measured_weights
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.records import EXTENSION, STOP, read_records
from auxo.runs.results import Compute, EvaluationRow, Selection
from auxo.training.verification.differences import compare_trees
from auxo.training.verification.findings import Finding
from auxo.training.verification.stored import Stored, StoredRun, StoredStage

RECORDS = "records.jsonl"
_LAST_KINDS = ("result", "end")


def check_rows(run: StoredRun) -> Iterator[Finding]:
    """Yield whether the records are in order, and as many up to each checkpoint as it counts."""
    counts: Counter[tuple[int, int]] = Counter()
    after: Counter[tuple[int, int]] = Counter()  # rows that are written behind the checkpoint at their step
    latest = (0, 0)
    try:
        for line, row in enumerate(read_records(run.folder / RECORDS), start=1):
            place = row["stage_number"], row["step"]
            if place < latest:
                yield Finding("differs", RECORDS, f"line {line} is of step {row['step']}, after one of {latest[1]}")
                return
            latest = place
            counts[place] += row["kind"] not in _LAST_KINDS
            after[place] += row["kind"] in (STOP, EXTENSION)
    except AuxoError as error:
        yield Finding("differs", RECORDS, f"expected {error.expected}, got {error.got}")
        return
    places = sorted(counts)
    sums = dict(zip(places, accumulate(counts[place] for place in places), strict=True))
    checked = 0
    for stage in run.stages:
        for stored in stage.saved:
            expected = None if stored.progress is None else stored.progress.num_rows
            here = stage.number, stored.step or 0
            found = max((sums[place] for place in places if place <= here), default=0) - after[here]
            if expected is not None and expected != found:
                text = f"{found} rows up to step {stored.step} of {stage.name}, where the checkpoint counts {expected}"
                yield Finding("differs", RECORDS, text)
            checked += expected is not None
    yield Finding("equal", RECORDS, f"{sum(counts.values())} rows in order, counted by {checked} checkpoints")


def check_ends(config: ExperimentConfig, run: StoredRun) -> Iterator[Finding]:
    """Yield whether each stage ends with the weights that it chose, and the run with those of its last stage."""
    for stage, rule in zip(run.stages, (each.selection for each in config.stages), strict=True):
        if stage.final is None:
            continue
        source = stage.best if rule.keeps_best else (stage.saved[-1] if stage.saved else None)
        if source is None:
            yield Finding("noted", _name_file(run, stage.final), "what its weights were copied from is not there")
            continue
        yield compare_weights(run, stage.final, source)
        yield from _check_progress(run, stage, stage.final)
        yield from _check_best(run, stage)
    last = run.stages[-1].final
    if run.model is not None and last is not None:
        yield compare_weights(run, run.model, last)


def check_results(config: ExperimentConfig, run: StoredRun, history: RunHistory) -> Iterator[Finding]:
    """Yield whether the last record and the table of a finished run say what the stages do."""
    finals = [stage.final.progress for stage in run.stages if stage.final is not None]
    spent = [progress for progress in finals if progress is not None]
    if len(spent) < len(run.stages) or not history.is_finished:
        return
    best = spent[-1].best if config.stages[-1].selection.keeps_best else None
    compute = Compute.total([progress.compute for progress in spent])
    if (history.selection, history.compute) != (best, compute):
        text = f"the last row says {history.selection or 'no selection'} and {history.compute}, "
        yield Finding("differs", RECORDS, f"{text}the stages say {best or 'no selection'} and {compute}")
    table, path = build_table(history.rows, selection=best, compute=compute), run.folder / "report.md"
    if run.model is None or run.model.header.get("auxo") != auxo.__version__ or not path.is_file():
        return
    written = path.read_text(encoding="utf-8", errors="replace").partition("\n")[2].strip()
    if written == to_markdown(table, notes=history.describe_course()).strip():
        yield Finding("equal", "report.md", "the table of the rows in the records")
    else:
        yield Finding("differs", "report.md", "another table than the rows in the records make")


def check_choice(config: ExperimentConfig, run: StoredRun, history: RunHistory, val: ValSplit) -> Iterator[Finding]:
    """Yield whether each stage that keeps its best weights chose them by what its records say."""
    for stage, rule in zip(run.stages, (each.selection for each in config.stages), strict=True):
        stored = stage.newest
        if not rule.keeps_best or stored is None or stored.progress is None:
            continue
        best: Selection | None = None
        try:
            for (step, epoch), rows in _group_evaluations(history, stage, last=stored.step).items():
                best = rule.select(val, rows, best, step=step, epoch=epoch)
        except (AuxoError, KeyError, TypeError, ValueError) as error:
            yield Finding("differs", RECORDS, f"stage {stage.name} cannot have been chosen from: {error}")
            continue
        subject, noted = f"choice of {stage.name}", stored.progress.best
        if best == noted:
            told = "nothing was evaluated yet" if best is None else best.describe()
            yield Finding("equal", subject, f"{told}, as the records say")
        else:
            said, noted_as = (None if each is None else each.describe() for each in (best, noted))
            yield Finding("differs", subject, f"{noted_as} is noted, and the records say {said}")


def check_exports(run: StoredRun) -> Iterator[Finding]:
    """Yield whether the weights of exports within the run directory are those of its model."""
    if run.model is None:
        return
    for path in sorted(run.folder.glob("export*/model.safetensors")):
        subject = str(path.relative_to(run.folder))
        try:
            exported = read_tensor_file(path, holds=("weights",)).tree["weights"]
        except AuxoError as error:
            yield Finding("differs", subject, f"expected {error.expected}, got {error.got}")
            continue
        own = read_tensor_file(run.model.path, holds=("weights",)).tree["weights"]
        difference = compare_trees({name: tensor for name, tensor in own.items() if name in exported}, exported)
        if difference is None:
            yield Finding("equal", subject, f"{len(exported)} tensors of model.safetensors")
        else:
            yield Finding("differs", subject, difference.describe())


def compare_weights(run: StoredRun, stored: Stored, source: Stored) -> Finding:
    """Return whether a file has the weights of the one that they were copied from."""
    subject = _name_file(run, stored)
    if stored.weights == source.weights:
        return Finding("equal", subject, f"the weights of {source.path.name}")
    theirs, ours = (measured_weights(read_tensor_file(each.path).tree) for each in (source, stored))
    difference = compare_trees(ours, theirs)
    told = "" if difference is None else difference.describe()
    return Finding("differs", subject, f"not the weights of {source.path.name}: {told}")


def _check_best(run: StoredRun, stage: StoredStage) -> Iterator[Finding]:
    """Yield whether the best weights are those of the checkpoint at their step, where that is kept."""
    noted = None if stage.best is None or stage.best.progress is None else stage.best.progress.best
    same = [stored for stored in stage.saved if noted is not None and stored.step == noted.step]
    if stage.best is not None and same:
        yield compare_weights(run, stage.best, same[0])


def _check_progress(run: StoredRun, stage: StoredStage, final: Stored) -> Iterator[Finding]:
    """Yield where the end of a stage says that it spent something else than its last checkpoint does."""
    last = stage.saved[-1].progress if stage.saved else None
    if last is None or final.progress is None:
        return
    ours, theirs = _list_spent(final.progress), _list_spent(last)
    names = [name for name, value in ours.items() if value != theirs[name]]
    if names:
        text = f"{names[0]} is {ours[names[0]]}, and {theirs[names[0]]} in {stage.saved[-1].path.name}"
        yield Finding("differs", _name_file(run, final), text)


def _list_spent(progress: Progress) -> Mapping[str, Any]:
    """Return what the last checkpoint of a stage and its end must say alike."""
    return {name: value for name, value in asdict(progress).items() if name not in ("num_rows", "environments")}


def _group_evaluations(
    history: RunHistory, stage: StoredStage, *, last: int | None
) -> dict[tuple[int, int], list[EvaluationRow]]:
    """Return the rows of each evaluation of a stage up to a step, by its step and epoch."""
    groups: dict[tuple[int, int], list[EvaluationRow]] = {}
    for record in history.records:
        is_later = last is not None and record["step"] > last
        if record["kind"] == "evaluation" and record["stage_number"] == stage.number and not is_later:
            rows = groups.setdefault((record["step"], int(record["epoch"])), [])
            rows.append(EvaluationRow.from_record(record))
    return groups


def _name_file(run: StoredRun, stored: Stored) -> str:
    """Return the place of a file in the run directory."""
    return str(Path(stored.path).relative_to(run.folder))
