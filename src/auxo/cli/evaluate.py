"""``auxo evaluate``: judge a trained model again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from auxo.cli.options import parse_options
from auxo.cli.terminal import print_table
from auxo.cli.train import read_run_config
from auxo.data import EvaluationSplit, load_splits, ood_splits, read_source
from auxo.errors import ConfigError
from auxo.evaluation import Compute, Selection, build_table, evaluate
from auxo.experiment import ExperimentConfig
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.training import TrainedModel, load_model, read_records, require_folder_of, write_atomically

__all__ = ["run"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``auxo evaluate``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run."""
    data: tuple[str, ...] = ()
    """Labelled sets to judge on: folder, Parquet, CSV or hf://owner/name[:split]; by default all of the run's own."""
    out: str | None = None
    """File for the results, one JSON object a line; by default evaluation.jsonl in the run directory."""
    device: str = "auto"
    """"auto", "cpu", "cuda", "cuda:1" or "mps"."""
    batch_size: int = 500
    """Images per forward pass, >= 1."""
    code: str | None = None
    """Python file of a method outside auxo that the run may import."""


def run(words: Sequence[str]) -> None:
    """Measure every head, print the table, and write the rows."""
    own = "on labelled pictures of yours, which are resized and cropped to its input"
    description = f"Judge a trained model again, on the run's own sets or {own}."
    if len(words) > 1 and not words[0].startswith("-") and not words[1].startswith("-"):
        raise ConfigError("options of auxo evaluate after RUN", words[1], f"to judge on it, pass --data {words[1]}")
    options = parse_options(Options, words, command="auxo evaluate", description=description)
    if options.batch_size < 1:
        raise ConfigError("batch-size >= 1", str(options.batch_size), "give the number of images per pass")
    folder = Path(options.run)
    out = Path(options.out) if options.out else folder / "evaluation.jsonl"
    if options.out:
        require_folder_of(out)
    config = read_run_config(folder, code=options.code)
    with open_runtime(RuntimeConfig(device=options.device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        rows = []
        for split in _splits(config, model, options.data):
            rows += evaluate(
                model.method,
                split,
                pipeline=model.pipeline,
                runtime=runtime,
                batch_size=options.batch_size,
                workers=config.data.workers,
            )
        if runtime.is_main:
            selection, compute = _history(folder)
            table = build_table(rows, selection=selection, compute=compute)
            write_atomically(out, "".join(json.dumps(row.to_record()) + "\n" for row in rows))
            print_table(table)
            print(f"results: {out}")


def _splits(config: ExperimentConfig, model: TrainedModel, data: tuple[str, ...]) -> list[EvaluationSplit]:
    """Return the run's own sets, or the ones that are named."""
    if not data:
        splits = load_splits(config.data, seed=config.seed)
        model.check_splits(splits)
        return list(splits.evaluation())
    sized = replace(config.data, image_size=model.image_size)
    sources = [read_source(spec, sized, class_names=model.task.class_names) for spec in data]
    for spec, source in zip(data, sources, strict=True):
        model.check_shape(source.image_shape, where=spec)
    return list(ood_splits(sources))


def _history(folder: Path) -> tuple[Selection | None, Compute]:
    """Return how the run's checkpoint was chosen and what it cost."""
    end = [row for row in read_records(folder / "records.jsonl") if row["kind"] == "end"]
    if not end:
        return None, Compute(train_seconds=0.0, images=0)
    last = end[-1]
    selection = None if last["selection"] is None else Selection(**last["selection"])
    return selection, Compute(**{name: last[name] for name in ("train_seconds", "images", "flops")})
