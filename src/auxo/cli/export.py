"""``auxo export``: a trained network as files for use elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from auxo.cli.options import parse_options
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.export import FORMATS, ExportFormat, export_run
from auxo.files import require_place
from auxo.options import Options as CheckedOptions
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = "Write a trained network as files for use elsewhere, each with a model card."


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo export``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run."""
    format: tuple[Literal["all"] | ExportFormat, ...] = ("hub-folder",)
    """One or more: safetensors (weights, for auxo), torch-export (model.pt2, for plain torch), onnx (model.onnx, for
    onnxruntime and others; an extra to install), hub-folder (the first two, with a card for a model hub), or all."""
    out: str | None = None
    """New or empty folder for the files; default export in the run directory, or export-2 and so on."""
    license: str = "unknown"
    """Short name of the licence that you give the model, such as mit or cc-by-4.0, for its card."""
    code: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of what is outside auxo that the run may import; repeat it for several."""


def run(words: Sequence[str]) -> None:
    """Write the files and say where they are and how they are used."""
    options = parse_options(Options, words, command="auxo export", description=DESCRIPTION)
    formats = FORMATS if "all" in options.format else tuple(name for name in FORMATS if name in options.format)
    out = None if options.out is None else require_place(Path(options.out))
    folder = Path(options.run)
    config = read_run_config(folder, code=options.code)
    with open_runtime(RuntimeConfig(device="cpu", precision="float32")) as runtime:
        model = load_model(config, folder, runtime=runtime)
        made = export_run(
            model,
            config,
            run=folder,
            formats=formats,
            out=out,
            licence=options.license,
        )
    lines = [f"exported: {made.title}"]
    lines += [f"  {name:<18} {(made.folder / name).stat().st_size:>11,} bytes" for name in made.files]
    lines.append(f"use it with auxo: {made.command}")
    if {"model.pt2", "model.onnx"} & made.files.keys():
        lines.append(f"use it without: the Python lines under Use in {made.folder / 'README.md'}")
    if options.license == "unknown":
        lines.append("its card says that the licence is unknown; choose one with --license")
    say("\n".join([*lines, f"files: {made.folder}"]))
