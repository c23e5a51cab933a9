"""An export: a folder with a card, labels, the input's description and the network in the formats asked for."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from torch.export import ExportedProgram

from auxo.errors import CheckpointError, ConfigError
from auxo.export.card import Card
from auxo.export.description import Description
from auxo.export.network import capture, describe_program
from auxo.export.onnx_file import require_onnx, to_onnx
from auxo.export.program_file import to_pt2
from auxo.export.published import published
from auxo.export.weights_file import write_network
from auxo.files import write_atomically
from auxo.files.folders import require_unused, writing_folder
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.model import TrainedModel

ExportFormat: TypeAlias = Literal["safetensors", "torch-export", "onnx", "hub-folder"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

_DESCRIPTION = "preprocess.json"
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class Export:
    """What was written.

    Args:
        folder: where.
        title: what the card calls the model.
        files: names in it, each with what it is.
        command: the words that predict with it.
    """

    folder: Path
    title: str
    files: dict[str, str]
    command: str


def is_export(folder: Path) -> bool:
    """Whether a folder is one that :func:`export_run` wrote."""
    return (folder / _DESCRIPTION).is_file()


def export_run(
    model: TrainedModel,
    config: ExperimentConfig,
    *,
    run: Path,
    formats: Sequence[ExportFormat] = ("hub-folder",),
    out: Path | None = None,
    licence: str = "unknown",
) -> Export:
    """Write the network of a finished run in some formats, with a model card, and return where.

    The folder appears when all is in it, or not at all.

    Args:
        model: of the run.
        config: of the run.
        run: the run directory.
        formats: ``safetensors`` is weights for auxo; ``torch-export`` a ``.pt2`` file for plain torch; ``onnx`` a file
            for onnxruntime and others; ``hub-folder`` the first two under a card with metadata for a model hub.
        out: new or empty folder; by default ``export`` in the run directory, or ``export-2`` and so on.
        licence: short name of the licence, such as ``apache-2.0``, for the card.

    Raises:
        ConfigError: no format, a licence that is no name, a missing package, or a network that cannot be traced.
        CheckpointError: the run has no results.
        OutputError: ``out`` holds files, or cannot be written.
    """
    _check_request(formats, licence)
    folder = _free_folder(run) if out is None else require_unused(out)
    history, document = RunHistory.read_finished(run), (run / "config.json").read_bytes()
    if not history.first_head():
        fix = "name a whole run directory"
        raise CheckpointError(f"the results of a head that predicts in {run / 'records.jsonl'}", "none", fix)
    program = capture(model)
    description = describe_program(Description.of(model), program)
    card = Card(
        config=config,
        description=description,
        history=history,
        digests=model.data,
        files=_files_of(formats),
        num_parameters=sum(parameter.numel() for parameter in program.parameters()),
        trained_with=str(json.loads(document).get("auxo", "of unknown version")),
        licence=licence,
    )
    texts = {
        "README.md": card.to_markdown(metadata="hub-folder" in formats),
        "labels.json": json.dumps(list(description.names), ensure_ascii=False) + "\n",
        "results.jsonl": "".join(json.dumps(record) + "\n" for record in history.results),
        _DESCRIPTION: json.dumps(description.preprocess(), indent=2) + "\n",
    }
    with writing_folder(folder) as temporary:
        _write_network(temporary, program, model, files=card.files, document=published(document))
        for name, text in texts.items():
            write_atomically(temporary / name, text)
    return Export(folder, card.title, dict(card.files), card.command(str(folder)))


def _check_request(formats: Sequence[ExportFormat], licence: str) -> None:
    """Refuse what cannot be written, before any work."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        got = repr(unknown[0]) if unknown else "none"
        raise ConfigError(f"a format of {', '.join(FORMATS)}", got, "name one with --format")
    if _LICENCE.fullmatch(licence) is None:
        fix = "give its short name, such as mit or cc-by-4.0"
        raise ConfigError("a licence of letters, digits, dots, + and hyphens", repr(licence), fix)
    if "onnx" in formats:
        require_onnx()


def _free_folder(run: Path) -> Path:
    """Return the first of ``export``, ``export-2``, … in the run directory that is not there."""
    folder, number = run / "export", 2
    while folder.exists():
        folder, number = run / f"export-{number}", number + 1
    return folder


def _files_of(formats: Sequence[ExportFormat]) -> dict[str, str]:
    """Return the files of an export, in the order of the card."""
    files = {"README.md": "this card"}
    if {"safetensors", "hub-folder"} & set(formats):
        files["model.safetensors"] = "the weights that predict, by their names in auxo"
        files["config.json"] = "the configuration of the run, without the places of its files; auxo needs it"
    if {"torch-export", "hub-folder"} & set(formats):
        files["model.pt2"] = "the network as torch.export saves it, for plain torch"
    if "onnx" in formats:
        files["model.onnx"] = "the network for onnxruntime and others; input `images`, output `logits`"
    return {
        **files,
        "labels.json": "what the outputs stand for, in their order",
        _DESCRIPTION: "how an image becomes the input",
        "results.jsonl": "the rows behind the numbers of this card",
    }


def _write_network(
    folder: Path, program: ExportedProgram, model: TrainedModel, *, files: Mapping[str, str], document: str
) -> None:
    """Write the network in every format that is among the files."""
    description = Description.of(model)
    if "model.safetensors" in files:
        write_network(folder, program, model, document=document)
    if "model.onnx" in files:
        write_atomically(folder / "model.onnx", to_onnx(program, description))
    if "model.pt2" in files:  # last, as it takes the example input from the program
        write_atomically(folder / "model.pt2", to_pt2(program, description))
