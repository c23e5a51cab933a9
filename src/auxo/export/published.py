"""A run's configuration as it may leave the machine: without the places of its files."""

import hashlib
import json
from pathlib import Path, PurePath
from typing import Any

__all__ = ["config_of", "published", "with_code"]

_PLACES = ("train", "val", "test", "unlabelled")


def published(document: str) -> str:
    """Return the text of a ``config.json`` with names of files and folders in place of their paths.

    Addresses such as ``hf://owner/name`` stay. The result is read as any ``config.json``; :func:`with_code` names a
    method outside auxo again.

    Args:
        document: what the run directory's ``config.json`` holds.
    """
    found = json.loads(document)
    data = found["run"]["data"]
    for key in _PLACES:
        data[key] = _name(data.get(key))
    data["ood"] = [_name(place) for place in data["ood"]]
    data["root"] = None
    _publish_backbone(found["run"]["backbone"])
    for stage in found["run"]["stages"]:
        place, colon, path = stage["method"]["type"].rpartition(":")
        stage["method"]["type"] = f"{_name(place)}{colon}{path}" if place else path
    return json.dumps(found, indent=2) + "\n"


def with_code(document: str, code: str | None) -> str:
    """Return the text of a published ``config.json`` that names the user's file where a method is outside auxo.

    Args:
        document: from :func:`published`; any other text is returned as it is.
        code: the Python file that the user allows to run.
    """
    if code is None:
        return document
    try:
        found = json.loads(document)
        for stage in found["run"]["stages"]:
            place, colon, path = stage["method"]["type"].rpartition(":")
            if place:
                stage["method"]["type"] = f"{Path(code.partition(':')[0]).resolve()}{colon}{path}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return document  # whoever reads the configuration says what is wrong with it
    return json.dumps(found)


def config_of(document: str) -> str:
    """Return a digest of the configuration in the text of a published ``config.json``."""
    run: Any = json.loads(document)["run"]
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:16]


def _publish_backbone(backbone: dict[str, Any]) -> None:
    """Drop the folders of a file of weights and of a model of transformers, whose architecture is noted by its name."""
    backbone["weights"] = _name(backbone.get("weights"))
    library, colon, place = backbone["name"].partition(":")
    if library == "hf" and Path(place).expanduser().is_dir():
        name = f"{library}{colon}{PurePath(place).name}"
        noted = json.loads(backbone.get("architecture") or "{}")
        backbone["architecture"] = json.dumps({name: noted.get(backbone["name"])}) if noted else ""
        backbone["name"] = name


def _name(place: str | None) -> str | None:
    """Return the last part of a path; addresses stay."""
    return place if place is None or "://" in place else PurePath(place).name
