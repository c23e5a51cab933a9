"""Nested values with tensors in one safetensors file: no pickle, written atomically, checked when read."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from auxo.errors import CheckpointError, NonFiniteError
from auxo.files.atomic import write_atomically
from auxo.files.json_text import check_json, read_json
from auxo.files.pipes import refuse_pipe

FORMAT = 1
_FIX = "delete it to go on from an older one, or take it from a copy"


class _Format(TypedDict):
    """What every file of auxo's says of itself."""

    format: int


class _Header(_Format):
    """What a file of this format says of itself."""

    content: str
    digest: str


class _Content(TypedDict):
    """What it holds beside tensors."""

    tree: Any
    header: dict[str, Any]


class TensorFile(NamedTuple):
    """What a file holds.

    Args:
        tree: nested dicts and lists with numbers, strings and tensors.
        header: the description written with it.
    """

    tree: Any
    header: dict[str, Any]


def write_tensor_file(path: Path, tree: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of tensors and plain values.

    Tensors are stored by their path in the tree, such as ``weights.backbone.conv1.weight``; the rest and ``header`` as
    JSON in the file's metadata, with a digest of everything.

    Args:
        path: where to.
        tree: keys are strings or integers without a dot in front; leaves are tensors, numbers, strings, booleans, None.
        header: JSON-ready.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _take_out(tree, "", tensors)
    content = json.dumps({"header": dict(header), "tree": skeleton})
    description = {"format": FORMAT, "content": content, "digest": digest_tensors(tensors, content)}
    # One entry only: safetensors writes several in an order that changes from process to process.
    write_atomically(path, save(tensors, metadata={"auxo": json.dumps(description)}))


def read_tensor_file(
    path: Path, *, header: Callable[..., object] = dict[str, Any], holds: Sequence[str] = ()
) -> TensorFile:
    """Read a file of :func:`write_tensor_file` onto the CPU.

    Args:
        path: of the file.
        header: type of its header, see :func:`auxo.files.json_text.read_json`.
        holds: entries of the tree that must be there, each with tensors by name.

    Raises:
        CheckpointError: the file is missing, damaged, not auxo's, or of another format.
    """
    refuse_pipe(path, expected=f"a whole safetensors file at {path}", fix=_FIX)
    try:
        with safe_open(path, framework="pt") as file:
            description = (file.metadata() or {}).get("auxo")
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise CheckpointError(f"the file {path}", "nothing there", "check the run directory") from error
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        got = f"a damaged one ({_first_line(error)})"
        raise CheckpointError(f"a whole safetensors file at {path}", got, _FIX) from error
    metadata = _parse_header(description, path)
    if metadata["format"] != FORMAT:
        fix = "use the version of auxo that wrote it"
        raise CheckpointError(f"file format {FORMAT} in {path}", f"format {metadata['format']}", fix)
    if digest_tensors(tensors, metadata["content"]) != metadata["digest"]:
        raise CheckpointError(f"unchanged numbers in {path}", "other bytes than were written", _FIX)
    expected = f"a tree of tensors in {path}"
    content = read_json(metadata["content"], _Content, expected=expected, fix=_FIX)
    check_json(content["header"], header, expected=f"the header of {path}", fix=_FIX)
    try:
        tree = _put_back(content["tree"], tensors)
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # its maker wrote a digest of something else
        raise CheckpointError(expected, f"another ({type(error).__name__}: {_first_line(error)})", _FIX) from error
    check_holding(tree, holds, path=path)
    return TensorFile(tree, content["header"])


def check_holding(tree: object, names: Sequence[str], *, path: Path) -> None:
    """Refuse a tree of a file without some entries, each with tensors by name.

    Raises:
        CheckpointError: one is not there, or something else.
    """
    for name in names:
        entry = tree.get(name) if isinstance(tree, Mapping) else None
        if not isinstance(entry, Mapping) or not all(isinstance(tensor, Tensor) for tensor in entry.values()):
            raise CheckpointError(f"tensors called {name} in {path}", "something else", _FIX)


def require_finite(tensors: Mapping[str, Tensor], *, origin: str, fix: str) -> None:
    """Refuse weights that would answer every image alike, whatever it shows.

    Args:
        tensors: by name.
        origin: where they are, for the message.
        fix: what the user can do.

    Raises:
        NonFiniteError: one holds infinity or what is not a number.
    """
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise NonFiniteError(f"finite weights in {origin}", f"others in {name}", fix)


def _parse_header(description: str | None, path: Path) -> _Header:
    """Return what a file says of itself.

    Raises:
        CheckpointError: auxo did not write it.
    """
    expected, fix = f"a file written by auxo at {path}", "name an auxo run"
    try:
        known = read_json(description or "", _Format, expected=expected, fix=fix)
        if known["format"] != FORMAT:
            return _Header(format=known["format"], content="", digest="")
        return read_json(description or "", _Header, expected=expected, fix=fix)
    except CheckpointError as error:
        raise CheckpointError(expected, "a foreign safetensors file", fix) from error


def _first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _take_out(value: object, path: str, tensors: dict[str, Tensor]) -> object:
    """Return ``value`` as JSON, its tensors moved to ``tensors``."""
    if isinstance(value, Tensor):
        # A copy, because safetensors refuses tensors that share memory, such as tied weights.
        tensors[path] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": path}
    if isinstance(value, Mapping):
        prefix = f"{path}." if path else ""
        return {"items": [[key, _take_out(item, f"{prefix}{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_take_out(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]}
    return value


def _put_back(value: object, tensors: Mapping[str, Tensor]) -> object:
    """Invert :func:`_take_out`; tuples come back as lists."""
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "list" in value:
        return [_put_back(item, tensors) for item in value["list"]]
    return {key: _put_back(item, tensors) for key, item in value["items"]}


def digest_tensors(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return a digest of names, types, shapes and bytes of tensors on the CPU, and of a text.

    Example:
        >>> digest_tensors({"a": torch.tensor(0.0)}) == digest_tensors({"a": torch.tensor(-0.0)})
        False
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
