"""``auxo explain``: images of what a trained model looks at and how it arranges its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from auxo.cli.changes import read_options
from auxo.cli.options import ModelOptions
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.data import AbstractSource
from auxo.data.config import Unknown
from auxo.errors import ConfigError
from auxo.explain import ExplainConfig, Subject, explain
from auxo.files import require_place
from auxo.options import Options as CheckedOptions
from auxo.registry.outside import short_name
from auxo.runs.exhibits import read_exhibits
from auxo.runs.experiment import ExperimentConfig, method_name
from auxo.runs.model import TrainedModel, load_model, splits_of
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = "Draw what a trained model looks at (Grad-CAM) and how it arranges its inputs (t-SNE)."


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo explain``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run, or of one in which the stage that is named is finished."""
    stage: str | None = None
    """Look at what this stage of the run ended with; by default at the model that the run ended with."""
    split: str | None = None
    """Split of the run to look at: train, meta, val, test or ood/NAME; default test, or val where there is none."""
    data: str | None = None
    """Labelled set to look at instead: folder, Parquet, CSV or hf://owner/name[:split]."""
    unknown: Annotated[Unknown | None, tyro.conf.arg(name="data.unknown")] = None
    """With --data: what to do with an image that has no label or one that train does not have: stop (refuse), or leave
    it out (ignore); default the run's own choice."""
    show: Annotated[ExplainConfig, tyro.conf.arg(name="")] = field(default_factory=ExplainConfig)
    """What to show."""
    out: str | None = None
    """Folder for the images and rows; default explain/SPLIT in the run directory, explain/STAGE/SPLIT of a stage."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=lambda: ModelOptions(batch_size=100))
    """How the model is loaded and run."""


def run(words: Sequence[str]) -> None:
    """Explain the model on the images and write what was found."""
    options = read_options(Options, words, command="auxo explain", description=DESCRIPTION)
    if options.data is not None and options.split is not None:
        got = f"--split {options.split} --data {options.data}"
        raise ConfigError("one of --split and --data", got, "leave one out")
    if options.unknown is not None and options.data is None:
        raise ConfigError("--data beside --data.unknown", "none", "leave it out: the run's sets are as they were")
    if options.out is not None:
        require_place(Path(options.out))
    folder = Path(options.run)
    config = read_run_config(folder, code=options.use.code)
    with open_runtime(RuntimeConfig(device=options.use.device, precision="float32")) as runtime:
        model = load_model(config, folder, runtime=runtime, stage=options.stage)
        split, source = _choose_source(config, model, options)
        subject = Subject(
            model=model,
            source=source,
            run=name_model(config, folder, options.stage),
            split=split,
            runtime=runtime,
            batch_size=options.use.batch_size,
        )
        found = explain(subject, options.show)
        default = folder / "explain" / (options.stage or "") / split.replace("/", "-")
        out = Path(options.out) if options.out else default
        if runtime.is_main:
            found.write(out)
            stages = [options.stage] if options.stage else [stage.name for stage in config.stages]
            shown = [f"{each.exhibit.title}: {each.path}" for each in read_exhibits(folder, stages)]
            say("\n".join([*found.notes, f"images and rows: {out}", *shown]))
        for failure in found.failures:  # after what could be made: the command ends with its code
            raise failure


def _choose_source(config: ExperimentConfig, model: TrainedModel, options: Options) -> tuple[str, AbstractSource]:
    """Return the images to look at and the name of their set."""
    if options.data is not None:
        source = model.read_judged(options.data, replace(config.data, unknown=options.unknown or config.data.unknown))
        return source.name, source
    splits = splits_of(config)
    model.check_splits(splits)
    known = {split.name: split.source for split in (splits.train, splits.meta, *splits.evaluation()) if split}
    name = options.split or ("test" if "test" in known else "val")
    if name not in known:
        raise ConfigError("a split of the run", repr(name), f"pass --split with one of {', '.join(known)}")
    return name, known[name]


def name_model(config: ExperimentConfig, folder: Path, name: str | None) -> str:
    """Return what captions call the model: method, backbone, run directory and the stage that was named."""
    stage = next((stage for stage in config.stages if stage.name == name), config.stages[-1])
    method = method_name(stage)
    place = folder.resolve().name + (f", stage {name}" if name else "")
    return f"{method} on {short_name(config.backbone.name)} ({place})"
