"""Fits of benchmarks/multi_pretext.py: a fusion to features that are there already, and a network to images."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.interfaces import (
    AbstractBackbone,
    AbstractImageReader,
    AbstractMethod,
    AbstractNetworks,
    MethodConfig,
    StageStart,
    TrainState,
)
from auxo.methods.multi_pretext import MultiPretext
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.fusions import FusionConfig
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Features

__all__ = ["Labelled", "fit_fusion", "fit_network"]

_RUNTIME = Runtime(config=RuntimeConfig(device="cpu", threads=1), device=torch.device("cpu"))
_CLASSES = tuple("0123456789")
_STEPS = 100  # of a fusion, each on all labelled images
_OPTIMIZER = OptimizerConfig(name="adamw", lr=3e-3, weight_decay=1e-4, schedule="cosine", moves="step")
_NETWORK_BATCH, _NETWORK_STEPS = 32, 200


class Labelled(NamedTuple):
    """Which images have a label, and the number of the draw."""

    positions: Tensor
    draw: int


class _Images(Protocol):
    """A task as the benchmark reads it."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    pipeline: InputPipeline


class _Columns(AbstractBackbone):
    """An encoder whose features are columns of its input."""

    map_channels = MappingProxyType({})

    def __init__(self, first: int, count: int) -> None:
        super().__init__()
        self.first, self.num_features = first, count

    def forward(self, images: Tensor) -> Features:
        """Return the columns."""
        return Features(images[:, 0, 0, self.first : self.first + self.num_features], {})


class _Given(AbstractNetworks):
    """Encoders whose features are known, one after the other in a row, and perhaps a network that is trained."""

    def __init__(self, widths: Mapping[str, int], *, own: AbstractBackbone | None, task: Any, seed: int) -> None:
        self.task, self.seed, self._columns, first = task, seed, {}, 0
        for name, width in widths.items():
            self._columns[name] = _Columns(first, width)
            first += width
        self.backbone = own or _Columns(0, 1)

    def new(self, name: str, backbone: object = None) -> AbstractBackbone:
        """Return an encoder."""
        del backbone
        return self._columns[name]

    def load(self, name: str, source: str, **_: object) -> AbstractBackbone:
        """Refuse: nothing is loaded here."""
        raise LookupError(f"{name} of {source}: all encoders here are there already")


class _Rows(AbstractImageReader):
    """Features as images."""

    split = "train"

    def __init__(self, rows: Tensor, labels: Tensor) -> None:
        self._rows, self._labels = rows, labels

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def targets(self) -> Mapping[str, Tensor]:
        """The classes."""
        return {"label": self._labels}

    def read(self, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return what a function says of all."""
        return function(Batch(self._rows[:, None, None], self.targets, torch.arange(len(self))))

    def features(self, network: AbstractBackbone | None = None) -> Tensor:
        """Return an encoder's columns."""
        assert network is not None
        return network(self._rows[:, None, None]).pooled

    def pixels(self, positions: Tensor) -> Tensor:
        """Refuse: there are none."""
        raise LookupError(f"{len(positions)} images: there are features alone")


def _prepare(method: AbstractMethod, rows: Tensor, labels: Tensor, draw: int) -> Mapping[str, Tensor]:
    """Return what a method makes of the labelled images before its first step."""
    return method.begin(StageStart({"train": _Rows(rows, labels)}, draw, torch.device("cpu"))).tensors


def _train(
    method: AbstractMethod,
    read: Callable[[Tensor, int], Batch],
    count: int,
    *,
    steps: int,
    batch: int,
    state: TrainState,
) -> None:
    """Take all steps, with the images in a new order in each pass."""
    method.train()
    for name, optimizer in state.optimizers.items():
        config = method.config.schedule(name)
        state.schedulers[name] = config.build_schedule(optimizer, num_epochs=steps, steps_per_epoch=1)
    generator, order = torch.Generator().manual_seed(state.seed), torch.empty(0, dtype=torch.int64)
    state.num_steps = steps
    for state.step in range(steps):
        if not len(order):
            order = torch.randperm(count, generator=generator)
        chosen, order = order[:batch], order[batch:]
        torch.manual_seed(state.step)
        method.update(state, {"train": read(chosen, state.step)}, _RUNTIME)
        for scheduler in state.schedulers.values():
            scheduler.step()
    method.eval()


@torch.no_grad()
def fit_fusion(
    fusion: FusionConfig,
    parts: Mapping[str, tuple[Tensor, Tensor]],
    labels: Tensor,
    answers: Tensor,
    labelled: Labelled,
    *,
    seed: int,
) -> dict[str, Any]:
    """Return accuracy in percent on test features, and where there are such the weights of the encoders.

    Args:
        fusion: options.
        parts: features of training and test images, by encoder.
        labels: of all training images.
        answers: of the test images.
        labelled: which training images count.
        seed: of pretraining.
    """
    task = Classification(_CLASSES, channels=1, height=1, width=1)
    networks = _Given(
        {name: part[0].shape[1] for name, part in parts.items()}, own=None, task=task, seed=100 * seed + labelled.draw
    )
    method = MultiPretext.Config(trained=tuple(parts), fusion=fusion, optimizer=_OPTIMIZER).build(networks)
    rows = torch.cat([part[0][labelled.positions] for part in parts.values()], 1)
    known = labels[labelled.positions]
    state = TrainState(method.optimizers(), seed=labelled.draw, prepared=_prepare(method, rows, known, labelled.draw))

    def read(chosen: Tensor, step: int) -> Batch:
        del step
        return Batch(torch.empty(len(chosen), 0, 0, 0), {"label": known[chosen]}, chosen)

    with torch.enable_grad():
        _train(method, read, len(known), steps=_STEPS, batch=len(known), state=state)
    shown = torch.cat([part[1] for part in parts.values()], 1)[:, None, None]
    fused = method.fuse(shown)
    found: dict[str, Any] = {"accuracy": 100 * (fused.logits.argmax(1) == answers).double().mean().item()}
    if fused.weights is not None:
        mean = fused.weights.mean((0, 1)).tolist()
        found["weights"] = dict(zip(parts, mean, strict=True))
    if fusion.name == "best_single":
        each = [100 * (logits.argmax(1) == answers).double().mean().item() for logits in fused.learning]
        found["singles"] = dict(zip(parts, each, strict=True))
    return found


@torch.no_grad()
def fit_network(
    config: MethodConfig,
    backbone: BackboneConfig,
    parts: Mapping[str, tuple[Tensor, Tensor]],
    images: _Images,
    labelled: Labelled,
    *,
    seed: int,
) -> dict[str, Any]:
    """Return accuracy in percent on test images of a network that is trained on augmented images.

    Args:
        config: of the method; one that fuses reads the features of its encoders in parts.
        backbone: the network.
        parts: features of training and test images, by encoder.
        images: the task.
        labelled: which training images count.
        seed: of pretraining.
    """
    pixels, labels = (tensor[labelled.positions] for tensor in images.train)
    _, channels, height, width = pixels.shape
    task = Classification(_CLASSES, channels, height, width, class_counts=tuple(labels.bincount(minlength=10).tolist()))
    run_seed = 100 * seed + labelled.draw
    networks: AbstractNetworks = Networks(backbone, task, seed=run_seed)
    if parts:
        widths = {name: part[0].shape[1] for name, part in parts.items()}
        networks = _Given(widths, own=networks.backbone, task=task, seed=run_seed)
    method = config.build(networks)
    method.to(memory_format=torch.channels_last)
    state = TrainState(method.optimizers(), seed=run_seed)
    if parts:
        rows = torch.cat([part[0][labelled.positions] for part in parts.values()], 1)
        state.prepared = _prepare(method, rows, labels, labelled.draw)

    def read(chosen: Tensor, step: int) -> Batch:
        batch = Batch(pixels[chosen], {"label": labels[chosen]}, chosen)
        return images.pipeline(batch, seed=1000 * run_seed + step, augment="crop_flip")

    with torch.enable_grad():
        _train(method, read, len(labels), steps=_NETWORK_STEPS, batch=_NETWORK_BATCH, state=state)
    right = 0
    for chosen in torch.arange(len(images.test[1])).split(500):
        batch = Batch(images.test[0][chosen], {"label": images.test[1][chosen]}, chosen)
        found = method.predict(images.pipeline(batch, seed=None).images)
        right += int((found.argmax(1) == images.test[1][chosen]).sum())
    return {"accuracy": 100 * right / len(images.test[1])}
