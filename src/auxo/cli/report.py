"""``auxo report``: what runs were asked, what they achieved and what they look at, as a page for a browser."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import commonpath, relpath
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from auxo.cli.changes import read_options
from auxo.cli.options import ModelOptions
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.errors import ConfigError
from auxo.explain import ExplainConfig
from auxo.files import prepare_place, write_atomically
from auxo.options import Options as CheckedOptions
from auxo.reporting import Judgement, RunRecord, build_page, judge, read_run_record, render_page, run_names
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = """Write one HTML page on finished runs, which opens without a network: options, tables, curves, gates,
confusions, reliability, t-SNE, Grad-CAM, cost."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo report``."""

    runs: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Run directories of finished runs."""
    show: Annotated[ExplainConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: ExplainConfig(per_class=2, num_points=300)
    )
    """What Grad-CAM and t-SNE show."""
    out: str | None = None
    """File for the page; default report.html in the run directory, or of several runs in the folder that holds them."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    """How the models are loaded and run."""


def run(words: Sequence[str]) -> None:
    """Judge the runs on their own sets, write the page and say where it is."""
    options = read_options(Options, words, command="auxo report", description=DESCRIPTION)
    folders = _check_folders(options.runs)
    out = _choose_file(options.out, folders)
    records = [
        read_run_record(folder, read_run_config(folder, code=options.use.code), name=name)
        for folder, name in zip(folders, run_names(folders), strict=True)
    ]
    with open_runtime(RuntimeConfig(device=options.use.device, precision="float32")) as runtime:
        judgements: list[Judgement] = []
        for number, record in enumerate(records, start=1):
            _show_progress(record, number, len(records))
            judgements.append(judge(record, options.show, runtime=runtime, batch_size=options.use.batch_size))
        if runtime.is_main:
            page = render_page(build_page(records, judgements))
            write_atomically(out, page)
            say(f"report: {out} ({len(page.encode()) / 1e6:.1f} MB; open it in a browser)")


def _choose_file(out: str | None, folders: Sequence[Path]) -> Path:
    """Return the file for the page, which can be written."""
    if out is not None:
        place = Path(out)
    elif len(folders) == 1:
        place = folders[0] / "report.html"
    else:
        place = Path(relpath(commonpath([folder.resolve() for folder in folders]))) / "report.html"
    return prepare_place(place)


def _check_folders(runs: Sequence[str]) -> list[Path]:
    """Return the run directories, each of which is there and none twice."""
    if not runs:
        raise ConfigError("run directories", "none", "name them: auxo report runs/ossl-digits-seed0")
    folders = [Path(place) for place in runs]
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise ConfigError("different run directories", f"{folder} twice", "name each once")
        seen.add(folder.resolve())
    return folders


def _show_progress(record: RunRecord, number: int, total: int) -> None:
    """Name the run that is looked at; say nothing where nobody watches."""
    if sys.stderr.isatty():
        say(f"judging {record.name} ({number} of {total})", is_error=True, flush=True)
