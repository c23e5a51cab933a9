"""The images of a split as a method may ask for them: answers of all images in every process, features kept."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import PIL
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor, nn

from auxo.data import (
    EvaluationSplit,
    InputPipeline,
    MetaSplit,
    TrainSplit,
    UnlabelledSplit,
    ordered_batches,
)
from auxo.errors import CheckpointError
from auxo.evaluation.operations import OperationCounter
from auxo.evaluation.tally import Tally
from auxo.files import make_folder, remove_temporaries
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.interfaces import AbstractBackbone, AbstractImageReader, AbstractMethod
from auxo.layers.modes import evaluation_mode
from auxo.runtime import Runtime
from auxo.types import Batch

_ROW = "rows"

AnySplit: TypeAlias = TrainSplit | MetaSplit | UnlabelledSplit | EvaluationSplit


@dataclass
class FeatureCache:
    """Features that several runs can share, in a folder, under a digest of what they follow from.

    Args:
        folder: made if missing.
        runtime: the main process writes.
        spared: floating-point operations that were not done again, as features were found here.
        notes: lines for the user on files that could not be used.
    """

    folder: Path
    runtime: Runtime
    spared: int = 0
    notes: list[str] = field(default_factory=list)

    def find(self, key: str) -> Tensor | None:
        """Return the features of a key, if every process can read them."""
        path = self.folder / f"features-{key}.safetensors"
        try:
            found = read_tensor_file(path, header=dict[str, int]) if path.is_file() else None
        except CheckpointError as error:  # damaged, or of another version: they are computed anew and written over it
            found = None
            self.notes.append(f"features in the cache could not be used and are computed anew: got {error.got}, {path}")
        if self.runtime.any(found is None) or found is None:
            return None
        self.spared += found.header["flops"]
        features: Tensor = found.tree["features"]
        return features

    def keep(self, key: str, features: Tensor, *, flops: int) -> None:
        """Leave features for other runs."""
        if self.runtime.is_main:
            remove_temporaries(make_folder(self.folder))
            path = self.folder / f"features-{key}.safetensors"
            write_tensor_file(path, {"features": features}, {"flops": flops})
        self.runtime.barrier()


def to_device(batch: Batch, runtime: Runtime) -> Batch:
    """Return a batch with its images and targets on the device, uint8."""
    targets = {name: values.to(runtime.device) for name, values in batch.targets.items()}
    return replace(batch, images=runtime.to_device(batch.images), targets=targets)


class ImageReader(AbstractImageReader):
    """The images of a split as a method may ask for them.

    Args:
        method: in any mode.
        split: its images.
        pipeline: normalises them; on the device.
        runtime: device and processes.
        batch_size: images of one forward pass.
        workers: processes that decode a streaming source.
        cache: of features; ``None`` computes them.
    """

    def __init__(
        self,
        method: AbstractMethod,
        split: AnySplit,
        *,
        pipeline: InputPipeline,
        runtime: Runtime,
        batch_size: int,
        workers: int = 0,
        cache: FeatureCache | None = None,
    ) -> None:
        self.split = split.name
        self._method, self._source, self._pipeline, self._runtime = method, split.source, pipeline, runtime
        self._batch_size, self._workers, self._cache = batch_size, workers, cache

    def __len__(self) -> int:
        return len(self._source)

    @cached_property
    def targets(self) -> Mapping[str, Shaped[Tensor, "n ..."]]:
        """See :attr:`auxo.interfaces.AbstractImageReader.targets`."""
        return self._source.fetch_targets(torch.arange(len(self)))

    def read(self, function: Callable[[Batch], Tensor]) -> Shaped[Tensor, "n ..."]:
        """See :meth:`auxo.interfaces.AbstractImageReader.read`."""
        runtime, tally, dtype = self._runtime, Tally(len(self), self._runtime), torch.float32
        with evaluation_mode(self._method), torch.inference_mode(), runtime.autocast():
            if len(self) < runtime.num_processes:  # a process without images learns from the first what rows are like
                rows = function(self._normalise_batch(self._fetch_batch(torch.tensor([0]))))
                dtype = rows.dtype
                tally.expect({_ROW: rows})
            for batch in self._read_batches():
                rows = function(self._normalise_batch(batch))
                dtype = rows.dtype
                tally.add({_ROW: rows}, batch.indices)
        return tally.merge()[_ROW].to(dtype)

    def recall(
        self, description: str, compute: Callable[[], Tensor], *, network: nn.Module | None = None
    ) -> Shaped[Tensor, "n ..."]:
        """See :meth:`auxo.interfaces.AbstractImageReader.recall`."""
        if self._cache is None:
            return compute()
        key = self._digest_inputs(description, network)
        found = self._cache.find(key)
        if found is None:
            with OperationCounter() as counter:
                found = compute()
            flops = self._runtime.sum_count(counter.get_total_flops())
            self._cache.keep(key, found, flops=flops)
        return found

    def features(self, network: AbstractBackbone | None = None) -> Float[Tensor, "n dim"]:
        """See :meth:`auxo.interfaces.AbstractImageReader.features`."""
        chosen = network or self._method.predicting_backbone
        return self.recall("", lambda: self._compute_features(chosen), network=chosen)

    def pixels(self, positions: Int[Tensor, " k"]) -> UInt8[Tensor, "k channels height width"]:
        """See :meth:`auxo.interfaces.AbstractImageReader.pixels`."""
        return self._source.fetch(positions)

    def _read_batches(self) -> Iterator[Batch]:
        """Return this process's part of the images."""
        return ordered_batches(
            self._source,
            batch_size=self._batch_size,
            rank=self._runtime.rank,
            num_processes=self._runtime.num_processes,
            workers=self._workers,
        )

    def _fetch_batch(self, positions: Int[Tensor, " k"]) -> Batch:
        """Return some images with their targets."""
        return Batch(self._source.fetch(positions), self._source.fetch_targets(positions), positions)

    def _normalise_batch(self, batch: Batch) -> Batch:
        """Return a batch of network inputs on the device."""
        normalised: Batch = self._pipeline(to_device(batch, self._runtime), seed=None)
        return normalised

    def _compute_features(self, network: AbstractBackbone) -> Float[Tensor, "n dim"]:
        """Return the pooled features of every image."""
        return self.read(lambda batch: network(batch.images).pooled.float())

    def _digest_inputs(self, description: str, network: nn.Module | None) -> str:
        """Return a digest of all that an answer follows from."""
        digest = hashlib.sha256("".join(self._source.content_hashes()).encode())
        # Encoded images hash alike at every size, and however they are decoded: exactly beside masks, else faster.
        decoding = (self._source.image_shape, bool(self._source.places), PIL.__version__)
        settings = (self._runtime.autocast_dtype, self._runtime.device.type, decoding)
        # What weights do not say: strides, levels.
        digest.update(f"{description}{settings} {network}".encode())
        weights = {} if network is None else network.state_dict()
        for name, tensor in (*self._pipeline.state_dict().items(), *sorted(weights.items())):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:32]
