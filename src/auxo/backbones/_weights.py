"""The first weights of a backbone from a safetensors file, whatever stands before their names in it."""

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from auxo.errors import CheckpointError, ConfigError, ShapeError
from auxo.files.tensor_file import require_finite

_HEADS = ("classifier", "fc", "head", "head_dist", "pooler")  # what a published network may have beside a backbone
_OWN = "weights.backbone."  # where auxo's runs have the backbone
_NORMALISATION = ("pipeline.mean", "pipeline.std")  # and how they normalised images
_WRAPPED = "model."  # what another library's network is called in its backbone


def require_safetensors(path: str) -> None:
    """Refuse a file whose name is not that of a safetensors file.

    Raises:
        ConfigError: the name has another ending.
    """
    if not Path(path).suffix:
        fix = f"name a file, such as {Path(path) / 'model.safetensors'} of a run"
        raise ConfigError("a .safetensors file for --backbone.weights", repr(path), fix)
    if not path.endswith(".safetensors"):
        copy = Path(path).with_suffix(".safetensors").name
        raise ConfigError(
            "a .safetensors file for --backbone.weights",
            f"{path!r}; other formats can run code when they are read",
            "convert a file of tensors in Python: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            f"{copy!r})",
        )


def load_weights_file(backbone: nn.Module, path: Path, *, name: str) -> None:
    """Copy the weights in a file into a backbone, all that it has, in place.

    The backbone's names may stand in the file behind one prefix, as ``weights.backbone.`` in auxo's own files. What is
    beside that prefix is left out, and behind it the head of a classifier and the tables that a network computes.

    Args:
        backbone: whose weights are replaced.
        path: a safetensors file.
        name: the backbone's, for messages.

    Raises:
        ConfigError: there is no such file.
        CheckpointError: it is damaged, lacks weights of the backbone, has others, or holds several such networks.
        ShapeError: a weight has another shape.
        NonFiniteError: a weight is not finite.
    """
    if not path.is_file():
        raise ConfigError(f"a file at {path} for --backbone.weights", "nothing there", "check the path")
    state = backbone.state_dict()
    common = _WRAPPED if all(key.startswith(_WRAPPED) for key in state) else ""
    own = {key.removeprefix(common): tensor for key, tensor in state.items()}
    computed = {key.removeprefix(common) for key, _ in backbone.named_buffers()} - own.keys()
    try:
        with safe_open(path, framework="pt") as file:
            given = list(file.keys())
            prefix = _find_prefix(given, own.keys(), path)
            names = {key.removeprefix(prefix) for key in given if key.startswith(prefix)}
            _check_names(names, own.keys(), computed, path, name)
            tensors = {key: file.get_tensor(prefix + key) for key in own if key in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"a whole safetensors file at {path}", f"a damaged one ({error})", "copy it anew"
        ) from error
    for key, tensor in tensors.items():
        _compare_shapes(key, own[key], tensor, path, name)
    require_finite(tensors, origin=str(path), fix="copy it anew")
    with torch.no_grad():
        for key, tensor in tensors.items():
            own[key].copy_(tensor)  # the state's tensors share memory with the backbone's


def read_file_normalisation(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and standard deviation of each channel that a file of auxo's has beside its weights.

    Args:
        path: a safetensors file.

    Returns:
        Of pixels in [0, 1]; ``None`` where the file does not say, as those of others.

    Raises:
        CheckpointError: it is damaged.
        NonFiniteError: one of them is not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if not set(_NORMALISATION) <= set(file.keys()):
                return None
            found = {key: file.get_tensor(key) for key in _NORMALISATION}
    except (SafetensorError, OSError) as error:
        got = f"a damaged one ({error})"
        raise CheckpointError(f"a whole safetensors file at {path}", got, "copy it anew") from error
    require_finite(found, origin=str(path), fix="copy it anew")
    mean, std = (tuple(tensor.tolist()) for tensor in found.values())
    return mean, std


def _find_prefix(given: Iterable[str], own: Collection[str], path: Path) -> str:
    """Return what stands before the backbone's names in a file."""
    found: Counter[str] = Counter()
    for key in given:
        parts = key.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in own:
                found["".join(f"{part}." for part in parts[:start])] += 1
    most = max(found.values(), default=0)
    best = sorted((prefix for prefix, count in found.items() if count == most), key=len)
    ours = [prefix for prefix in best if prefix in (_OWN, _OWN + _WRAPPED)]
    if len(best) > 1 and most >= sum(map(_is_needed, own)) and not ours:
        got = f"several, behind {' and '.join(repr(prefix) for prefix in sorted(best))}"
        raise CheckpointError(f"one network in {path}", got, "save the one that is meant alone")
    return (ours or best or [""])[0]


def _check_names(
    names: Collection[str], own: Collection[str], computed: Collection[str], path: Path, name: str
) -> None:
    """Refuse a file without all weights of the backbone, or with weights of a larger one."""
    absent = sorted(key for key in own if key not in names and _is_needed(key))
    if absent:
        got = f"{len(absent)} of {len(own)} missing, first {absent[0]!r}"
        fix = "take the file of this network under these names (docs: Backbones, From pretrained weights)"
        raise CheckpointError(f"the weights of {name} in {path}", got, fix)
    others = sorted(set(names) - set(own) - set(computed))
    others = [key for key in others if key.partition(".")[0] not in _HEADS]
    if others:
        got = f"{len(others)} others too, first {others[0]!r}"
        raise CheckpointError(f"the weights of {name} in {path}", got, "take the file of this network")


def _is_needed(key: str) -> bool:
    """Whether a file must have a tensor: old ones do not count the batches of batch norm, which changes no result."""
    return not key.endswith("num_batches_tracked")


def _compare_shapes(key: str, own: Tensor, given: Tensor, path: Path, name: str) -> None:
    """Refuse a weight of another shape or kind of number."""
    if own.is_floating_point() != given.is_floating_point():
        raise CheckpointError(
            f"{key} of {own.dtype} in {path}", str(given.dtype), "take weights that are not quantised"
        )
    if own.shape == given.shape:
        return
    fix = f"take the weights of {name} for images of this size and number of channels"
    if own.ndim == 4 and own.shape[0] == given.shape[0] and own.shape[2:] == given.shape[2:]:
        fix = f"these weights are for {given.shape[1]} channels where this network has {own.shape[1]}"
    raise ShapeError(f"{key} of shape {tuple(own.shape)} in {path}", str(tuple(given.shape)), fix)
