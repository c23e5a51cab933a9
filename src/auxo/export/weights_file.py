"""The weights that predict, as a safetensors file that auxo loads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch.export import ExportedProgram

from auxo.data import InputPipeline
from auxo.errors import CheckpointError
from auxo.export.description import Description
from auxo.export.published import config_of, name_place, publish_backbone
from auxo.files import write_atomically
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.runs.checkpoint import load_weights
from auxo.runs.document import outside_files
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import TrainedModel
from auxo.runs.networks import Kept, Networks, read_columns, record_columns
from auxo.runtime import Runtime

_PREFIX = "method."


class _Header(TypedDict, total=False):
    """The types of what the file says of itself."""

    exported: str
    config: str
    data: dict[str, str]
    networks: dict[str, dict[str, Any]]
    columns: list[list[Any]]


def write_network(folder: Path, program: ExportedProgram, model: TrainedModel, *, document: str) -> None:
    """Write ``config.json`` and, with the weights that the program reads, ``model.safetensors``.

    Weights are called as in the run's ``model.safetensors``: ``weights.backbone.convolution1.weight``; normalisation
    is ``pipeline.mean`` and ``pipeline.std``, of pixels in [0, 1].

    Args:
        folder: is there.
        program: from :func:`auxo.export.capture`.
        model: that the program was captured from.
        document: from :func:`auxo.export.published`.

    Raises:
        OutputError: the place cannot be written.
    """
    weights = {name.removeprefix(_PREFIX): t for name, t in program.state_dict.items() if name.startswith(_PREFIX)}
    tree = {"weights": weights, "pipeline": model.pipeline.state_dict()}
    header = {
        "exported": Description.of(model).to_json(),
        "config": config_of(document),
        "data": dict(model.data),
        "networks": {name: _publish_record(kept.record) for name, kept in model.frozen.items()},
        "columns": record_columns(model.columns),
    }
    write_tensor_file(folder / "model.safetensors", tree, header)
    write_atomically(folder / "config.json", document)


def load_network(config: ExperimentConfig, folder: Path, *, runtime: Runtime) -> TrainedModel:
    """Return the model of an exported folder, to predict with; heads that do not predict have random weights.

    Args:
        config: what ``config.json`` in the folder describes.
        folder: with ``model.safetensors`` and ``config.json``.
        runtime: the device to put it on.

    Raises:
        CheckpointError: the file is missing, damaged, no export, or of another configuration.
    """
    path = folder / "model.safetensors"
    tree, header = read_tensor_file(path, header=_Header, holds=("weights", "pipeline"))
    if "exported" not in header:
        raise CheckpointError(f"an exported network at {path}", "another file of auxo's", "name what auxo export wrote")
    if header["config"] != config_of((folder / "config.json").read_bytes()):
        fix = "put the exported config.json back, or export the run again"
        raise CheckpointError(f"the configuration of {path}", f"an edited one in {folder / 'config.json'}", fix)
    description = Description.from_json(
        header["exported"], origin=str(path), code=list(map(str, outside_files(config.task)))
    )
    task = description.task
    pipeline = InputPipeline(torch.zeros(task.channels), torch.ones(task.channels), image_shape=task.image_shape)
    load_weights(pipeline, tree["pipeline"], origin=str(path))
    kept = {name: Kept(record) for name, record in header.get("networks", {}).items()}
    columns = read_columns(header)
    networks = Networks(
        config.backbone,
        task,
        seed=config.seed,
        given=pipeline.normalisation,
        first_weights=False,
        kept=kept,
        columns=columns,
    )
    method = config.trained_stages[-1].method.build(networks)
    load_weights(method, {**method.state_dict(), **tree["weights"]}, origin=str(path))
    runtime.prepare(method, networks=method.networks)
    own_pipeline, data = pipeline.to(runtime.device), header["data"]
    return TrainedModel(
        method.eval(),
        own_pipeline,
        task,
        data,
        path,
        description.task_name,
        columns=columns,
        was_resized=description.was_resized,
        fit=description.fit,
    )


def _publish_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a frozen network is built from without places on this machine."""
    backbone = dict(record["backbone"])
    publish_backbone(backbone)
    return {**record, "source": name_place(record["source"]), "backbone": backbone}
