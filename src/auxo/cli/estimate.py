"""``auxo estimate``: the measure to expect on unlabelled images."""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from auxo.cli.changes import read_options
from auxo.cli.earlier import write_results
from auxo.cli.labels import draw_sample, judge_by_labels
from auxo.cli.options import ModelOptions
from auxo.cli.terminal import print_table
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.data.names import NameLookup
from auxo.errors import ConfigError
from auxo.estimation import (
    FEW_IMAGES,
    Estimate,
    Estimation,
    EstimationConfig,
    build_estimate_table,
    estimate_records,
    fit_estimation,
    read_source_indicators,
)
from auxo.evaluation import Reader
from auxo.files import prepare_place
from auxo.options import Options as CheckedOptions
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import TrainedModel, load_model, splits_of
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = """Say how well a run does on unlabelled images: estimators are fitted to transformed copies of the
run's validation images, then asked about the images, resized and cropped to the model's input."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo estimate``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run."""
    paths: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="PATH [PATH ...]")]
    """Sets of images, each judged by itself: folder, Parquet, CSV or hf://owner/name[:split]. Answers are not read."""
    estimation: Annotated[EstimationConfig, tyro.conf.arg(name="")] = field(default_factory=EstimationConfig)
    """How to estimate."""
    labels: str | None = None
    """A number: draw so many images of a set at random and write a file for the one who labels them, labels-SET.csv in
    the run directory. That file, with labels filled in: the measure itself, with an exact interval; no estimate."""
    out: str | None = None
    """File for the results, one JSON object a line; by default estimate.jsonl in the run directory, or labelled.jsonl;
    of a draw, the file for the labels."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    """How the model is loaded and run."""


def run(words: Sequence[str]) -> None:
    """Fit the estimators, ask them about every set, print the table and write what it rests on."""
    options = read_options(Options, words, command="auxo estimate", description=DESCRIPTION)
    if not options.paths:
        raise ConfigError("sets of images", "none", f"name them: auxo estimate {options.run} DIR")
    if options.labels is not None:
        _work_with_labels(options, options.labels)
        return
    folder = Path(options.run)
    out = prepare_place(Path(options.out) if options.out else folder / "estimate.jsonl")
    config = read_run_config(folder, code=options.use.code)
    with open_runtime(RuntimeConfig(device=options.use.device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        reader = Reader.of(model, runtime=runtime, batch_size=options.use.batch_size)
        reader.require_head()
        target = reader.require_answers("estimation")
        heads = list(reader.method.head_names)
        estimation, estimates = _estimate_sets(options, config, model, reader)
        if runtime.is_main:
            rows = estimate_records(estimation, estimates, run=options.run, heads=heads)
            text = "".join(json.dumps(row) + "\n" for row in rows)
            write_results(out, text)
            print_table(build_estimate_table(estimation, estimates))
            notes = _list_notes(options.paths, estimation, names=target.names)
            say("\n".join([*_list_refusals(estimates), *notes, f"estimates: {out}"]))


def _work_with_labels(options: Options, labels: str) -> None:
    """Draw the images to be labelled, or judge by their labels."""
    if len(options.paths) > 1:
        raise ConfigError("one set with --labels", ", ".join(options.paths), "give the command for each of them")
    folder, is_draw = Path(options.run), labels.isdecimal()
    config = read_run_config(folder, code=options.use.code)
    name = re.sub(r"[^\w.-]+", "-", os.path.basename(os.path.normpath(options.paths[0])))
    default = f"labels-{name}.csv" if is_draw else "labelled.jsonl"
    out = prepare_place(Path(options.out) if options.out else folder / default)
    with open_runtime(RuntimeConfig(device=options.use.device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        source = model.read_unlabelled(options.paths[0], config.data)
        reader = Reader.of(model, runtime=runtime, batch_size=options.use.batch_size)
        reader.require_head()
        if is_draw:
            draw_sample(int(labels), source, seed=config.seed, out=out)
        else:
            level = options.estimation.confidence
            judge_by_labels(Path(labels), source, reader, seed=config.seed, confidence=level, out=out)


def _estimate_sets(
    options: Options, config: ExperimentConfig, model: TrainedModel, reader: Reader
) -> tuple[Estimation, list[list[Estimate]]]:
    """Fit on the run's validation images and ask about every set."""
    sources = [model.read_unlabelled(path, config.data) for path in options.paths]
    splits = splits_of(config)
    model.check_splits(splits)
    measured = [read_source_indicators(reader, source) for source in sources]  # first: a damaged image is found at once
    estimation = fit_estimation(
        reader,
        splits.val,
        seed=config.seed,
        config=options.estimation,
        observer=_show_progress if reader.runtime.is_main else lambda _done, _total: None,
    )
    pairs = zip(sources, measured, strict=True)
    return estimation, [estimation.estimate(found, name=source.name) for source, found in pairs]


def _list_notes(paths: Sequence[str], estimation: Estimation, *, names: Sequence[str]) -> list[str]:
    """Return what the user should know beside the table."""
    notes = list_label_notes(paths, names)
    if estimation.num_images < FEW_IMAGES:
        notes.append(f"note: {estimation.num_images} validation images are few; the estimates are rough")
    return notes


def list_label_notes(paths: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return a line for each path whose folders are called as classes.

    Args:
        paths: of sets, as the user named them.
        names: of the classes.
    """
    labelled = [path for path in paths if _has_class_folders(path, names)]
    return [f"note: the folders in {path} are called as classes, which was not used" for path in labelled]


def _list_refusals(estimates: Sequence[Sequence[Estimate]]) -> list[str]:
    """Return one line for every estimator that is refused, or two where the sets differ in the reason."""
    sets: dict[tuple[str, str], list[str]] = {}
    for row in (row for rows in estimates for row in rows if row.refused is not None):
        sets.setdefault((row.estimator, str(row.refused)), []).append(row.name)
    every = len(estimates)
    return [
        f"refused: {estimator}{'' if len(names) == every else ' on ' + ', '.join(names)}: {reason}"
        for (estimator, reason), names in sets.items()
    ]


def _has_class_folders(path: str, names: Sequence[str]) -> bool:
    """Whether a path is a folder with folders that are called as classes are."""
    folder, lookup = os.path.expanduser(path), NameLookup(names)
    if not os.path.isdir(folder):
        return False
    with os.scandir(folder) as entries:
        return any(lookup.find(entry.name) is not None for entry in entries if entry.is_dir())


def _show_progress(done: int, total: int) -> None:
    """Count the sets on the terminal; say nothing where nobody watches."""
    if sys.stderr.isatty():
        say(f"set {done} of {total}", end="\n" if done == total else "\r", is_error=True, flush=True)
