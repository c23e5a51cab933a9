"""The start of a stage: what a method makes of the images before its first step, and what that costs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from auxo.data import Splits
from auxo.errors import ConfigError
from auxo.evaluation import Reader
from auxo.evaluation.images import FeatureCache, ImageReader
from auxo.evaluation.operations import OperationCounter
from auxo.interfaces import AbstractMethod, Prepared, StageStart
from auxo.random import derive_seed, global_seed


class Start(NamedTuple):
    """What came of the start of a stage.

    Args:
        prepared: what the method made.
        seconds: that it took.
        flops: floating-point operations of all processes, those of features found in a cache among them; ``None``
            where they are not counted.
        notes: lines for the user.
    """

    prepared: Prepared
    seconds: float
    flops: float | None
    notes: Sequence[str] = ()


def has_start(method: AbstractMethod) -> bool:
    """Return whether a method does anything at the start of a stage."""
    return type(method).begin is not AbstractMethod.begin


def begin_stage(reader: Reader, splits: Splits, *, seed: int, cache: Path | None) -> Start:
    """Let the method of a reader begin a stage.

    Args:
        reader: of the method with the weights that the stage starts from.
        splits: the data.
        seed: of the stage.
        cache: folder of features that runs share, or ``None``.

    Raises:
        ConfigError: what the method returns does not fit the images, or it has changed its weights.
    """
    runtime, started = reader.runtime, time.perf_counter()
    kept = None if cache is None else FeatureCache(cache, runtime)
    shown = [split for split in (splits.train, splits.meta, splits.unlabelled) if split is not None]
    images = {split.name: reader.images(split, cache=kept) for split in shown}
    start = StageStart(images, seed, runtime.device)
    before = _note_versions(reader.method)
    with global_seed(derive_seed(seed, "begin")), OperationCounter() as counter:
        prepared = reader.method.begin(start)
    for name, version in _note_versions(reader.method).items():
        if before.get(name) != version:  # a run that goes on reads what was prepared, and would not have this change
            got, fix = f"a change of {name}", "return it in tensors, and set it at step 0 from state.prepared"
            raise ConfigError("weights that begin leaves as they are", got, fix)
    for split, targets in prepared.targets.items():
        if split not in images:
            fix = "name the split of the images"
            raise ConfigError(f"targets of {', '.join(images)} from begin", repr(split), fix)
        for name, values in targets.items():
            _check_target(name, values, images[split])
    notes = [] if kept is None else kept.notes
    return Start(prepared, time.perf_counter() - started, _count_operations(counter, kept, reader), notes)


def _note_versions(method: AbstractMethod) -> dict[str, int]:
    """Return how often each tensor of a method was changed in place."""
    return {name: tensor._version for name, tensor in method.state_dict(keep_vars=True).items()}


def _check_target(name: str, values: Tensor, images: ImageReader) -> None:
    """Refuse a target that the data have already, or that has not one value for each image."""
    if name in images.targets:
        raise ConfigError("a new name of a target from begin", f"{name!r}, which {images.split} has", "choose another")
    if values.ndim == 0 or len(values) != len(images):
        got, fix = f"the shape {tuple(values.shape)} for {name!r}", "return all of them"
        raise ConfigError(f"a value for each of the {len(images)} images of {images.split} from begin", got, fix)


def _count_operations(counter: OperationCounter, cache: FeatureCache | None, reader: Reader) -> float | None:
    """Return the operations of all processes; ``None`` in a compiled network, where they are not counted."""
    if reader.runtime.config.compile:
        return None
    own = reader.runtime.sum_count(counter.get_total_flops())
    return float(own + (0 if cache is None else cache.spared))
