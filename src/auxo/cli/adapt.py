"""``auxo adapt``: a trained model meets unlabelled images from where it will be used."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from auxo.adaptation import AdaptationConfig, AdaptedRun, adapt_run, choose_folder
from auxo.adaptation.batch_norm import BatchNormAdaptation
from auxo.cli.changes import read_options
from auxo.cli.estimate import list_label_notes
from auxo.cli.options import ModelOptions
from auxo.cli.terminal import print_table
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.evaluation import Reader
from auxo.options import Options as CheckedOptions
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = """Adapt a trained model to images without labels from where it will be used, and write it as a new run
directory, which every command takes. The run stays as it is. How much it helps cannot be told without labels."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo adapt``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run; it is only read."""
    path: Annotated[Positional[str], tyro.conf.arg(metavar="PATH")]
    """Images to adapt to: folder, Parquet, CSV or hf://owner/name[:split]. Answers are not read."""
    adaptation: Annotated[AdaptationConfig, tyro.conf.arg(name="")] = field(default_factory=BatchNormAdaptation)
    """How to adapt."""
    out: str | None = None
    """New run directory; by default RUN-adapted, or RUN-adapted-2 and so on."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    """How the model is loaded and run."""


def run(words: Sequence[str]) -> None:
    """Adapt, write the new run directory, and say what was done and what speaks against it."""
    options = read_options(Options, words, command="auxo adapt", description=DESCRIPTION)
    folder = Path(options.run)
    out = choose_folder(folder, None if options.out is None else Path(options.out))
    config = read_run_config(folder, code=options.use.code)
    with open_runtime(RuntimeConfig(device=options.use.device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        images = model.read_unlabelled(options.path, config.data)
        workers = config.data.workers
        reader = Reader.of(model, runtime=runtime, batch_size=options.use.batch_size, workers=workers)
        made = adapt_run(options.adaptation, model, config, images, run=folder, out=out, reader=reader)
        if runtime.is_main:
            if made.table is not None:
                print_table(made.table)
            labels = list_label_notes([options.path], model.task.targets[0].names)
            notes = [*made.record.doubts, *made.notes, *images.notes]
            say("\n".join([*labels, *(f"note: {note}" for note in notes), *_describe_run(made)]))


def _describe_run(made: AdaptedRun) -> list[str]:
    """Return what was done, whether it was kept, and where it is."""
    record = made.record
    facts = ", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in record.facts.items())
    done = f"{record.method} on {record.num_images:,} images of {record.images}{f' ({facts})' if facts else ''}"
    verdict = "kept" if record.is_kept else f"not kept: {record.reason}; the network there is that of {record.source}"
    return [f"adapted: {done}", verdict, f"run directory: {made.folder}"]
