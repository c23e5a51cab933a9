"""A run's configuration as it may leave the machine: without the places of its files."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

from auxo.backbones import BackboneConfig
from auxo.registry.outside import is_outside, shorten_files, split_outside
from auxo.runs.document import list_files, map_json, replace_outside

_PLACES = ("train", "val", "test", "unlabelled")


def published(document: str | bytes) -> str:
    """Return the text of a ``config.json`` with names of files and folders in place of their paths.

    Files of equal names keep as many folders as tell them apart. Addresses such as ``hf://owner/name`` stay. Of data
    that a Python file makes only the name of that file is left: an export predicts without it.
    :func:`auxo.runs.from_json` reads it as that of an export.

    Args:
        document: what the run directory's ``config.json`` holds; bytes in any encoding of JSON.
    """
    found = json.loads(document)
    data = found["run"]["data"]
    for key in _PLACES:
        data[key] = name_place(data.get(key))
    data["ood"] = [name_place(place) for place in data["ood"]]
    data["root"] = None
    found["run"]["training"]["cache"] = None
    publish_backbone(found["run"]["backbone"])
    for stage in found["run"]["stages"]:
        stage["method"] = map_json(stage["method"], _publish_option)
    names = shorten_files(list_files(found["run"]))
    found["run"] = replace_outside(found["run"], names.__getitem__)
    return json.dumps(found, indent=2) + "\n"


def config_of(document: str | bytes) -> str:
    """Return a digest of the configuration in a published ``config.json``, whatever its encoding."""
    run: Any = json.loads(document)["run"]
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:16]


def _publish_option(value: object) -> object:
    """Return an option of a method without the folders of files that it names."""
    if isinstance(value, dict) and value.keys() == {item.name for item in fields(BackboneConfig)}:
        publish_backbone(value)
    if isinstance(value, str) and not is_outside(value) and PurePath(value).is_absolute():
        return name_place(value)
    return value


def publish_backbone(backbone: dict[str, Any]) -> None:
    """Drop the folders of a file of weights and of a model of transformers, whose architecture is noted by its name.

    How the first weights wanted images normalised goes too: the export itself says how its own do.
    """
    backbone["weights"], backbone["normalisation"] = name_place(backbone.get("weights")), ""
    library, colon, place = backbone["name"].partition(":")
    if library == "hf" and Path(place).expanduser().is_dir():
        name = f"{library}{colon}{PurePath(place).name}"
        noted = json.loads(backbone.get("architecture") or "{}")
        backbone["architecture"] = json.dumps({name: noted.get(backbone["name"])}) if noted else ""
        backbone["name"] = name


def name_place(place: str | None) -> str | None:
    """Return the last part of a path, or the name of a file that makes data; addresses stay."""
    if place is not None and is_outside(place):
        return split_outside(place)[0].name
    return place if place is None or "://" in place else PurePath(place).name
