"""Auxiliary tasks that are given: further columns of the data, and pretexts of one image, each with a head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import ConfigError, OptionError, ShapeError
from auxo.interfaces import (
    AbstractImagePretext,
    AbstractNetworks,
    DrawFrom,
    ImagePretextModule,
    PretextBatch,
    PretextConfig,
    PretextHead,
)
from auxo.layers.heads import PlaceHead
from auxo.options import Options, find_member
from auxo.registry.outside import absolute_name, short_name
from auxo.runtime import Runtime
from auxo.tasks import Target
from auxo.types import Batch, Features, Images, Losses


class GivenInputs(NamedTuple):
    """What the tasks ask about the images of a batch.

    Args:
        batch: the images, and the values of their columns.
        made: by pretext, its inputs and answers.
    """

    batch: Batch
    made: Mapping[str, PretextBatch]


@dataclass(frozen=True, kw_only=True)
class GivenTasksConfig(Options):
    """Auxiliary tasks that are given with the data, or made from images."""

    columns: tuple[str, ...] = ()
    """Further columns of the data, whose values a head tells: one for an image, or one for every pixel."""
    pretexts: tuple[str, ...] = ()
    """Pretexts of one image, each with its own defaults: rotation, jigsaw and others, or your own, file.py:Name."""
    map_name: str = ""
    """Of what has a value for every pixel: the map of the backbone that heads read; by default its finest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pretexts", tuple(map(absolute_name, self.pretexts)))
        _check_different("columns", [*self.columns])
        _check_different("pretexts", [*self.columns, *self.find_pretexts()])

    def __len__(self) -> int:
        return len(self.columns) + len(self.pretexts)

    def build(self, networks: AbstractNetworks) -> "GivenTasks":
        """Return the tasks' heads; see :class:`GivenTasks`."""
        return GivenTasks(self, networks)

    def find_pretexts(self) -> dict[str, AbstractImagePretext]:
        """Return the pretexts by what rows and metrics call them, in order.

        Raises:
            ConfigError: there is no such pretext.
            OptionError: one is not of one image, or is named twice.
        """
        found: dict[str, AbstractImagePretext] = {}
        for name in self.pretexts:
            kind = find_member(PretextConfig, name)
            if not issubclass(kind, AbstractImagePretext):
                fix = "choose one such as rotation, or pretrain with this one"
                raise OptionError("pretexts", "of one image each", short_name(name), fix)
            pretext = kind()
            if pretext.label in found:
                raise OptionError("pretexts", "of different names", f"{pretext.label} twice", "name each task once")
            found[pretext.label] = pretext
        return found


class GivenTasks(nn.Module):
    """A head for every column and pretext, on a backbone that the method has; one loss of each for every image.

    A column is answered from the features of the images. A pretext makes inputs of its own, which go through the
    backbone apart, so that batch norm sees them apart; where it makes several of an image, their losses are averaged.

    Args:
        config: options.
        networks: gives the shared backbone's width, the columns that the run learns, and the seed. First weights come
            from the streams ``init/column/NAME`` and ``init/PRETEXT``.

    Attributes:
        names: of the tasks, in order: columns, then pretexts.
        num_outputs: of each task, the number of answers that it chooses from.

    Raises:
        ConfigError: a column is not among those that the run learns, is a target of the task, or cannot be told.
    """

    def __init__(self, config: GivenTasksConfig, networks: AbstractNetworks) -> None:
        super().__init__()
        backbone, seed = networks.backbone, networks.seed
        self.targets = tuple(_find_column(name, networks) for name in config.columns)
        self.column_heads = nn.ModuleList(
            _build_head(target, networks, map_name=config.map_name) for target in self.targets
        )
        pretexts = config.find_pretexts()
        self.pretexts = nn.ModuleDict({name: each.build(backbone, seed=seed) for name, each in pretexts.items()})
        self.names = (*config.columns, *pretexts)
        counts = (pretext.num_outputs for pretext in pretexts.values())
        self.num_outputs = (*(len(target.names) for target in self.targets), *counts)

    def prepare(self, batch: Batch, draws: DrawFrom) -> GivenInputs:
        """Return what the tasks ask about the images of a batch.

        Args:
            batch: normalised images with the columns in ``targets``.
            draws: gives all randomness of the pretexts, from a stream's name and the batch: :meth:`TrainState.draws`.
        """
        made = {
            name: module.pretext.make(batch.images, draws=draws(module.pretext.stream, batch))
            for name, module in self._modules_of_pretexts().items()
        }
        return GivenInputs(batch, made)

    def loss_list(
        self,
        network: Callable[[Images], Features],
        features: Features,
        inputs: GivenInputs,
        *,
        runtime: Runtime,
    ) -> list[Float[Tensor, "batch ..."]]:
        """Return the losses of each task as it has them: shape ``(batch,)``, or ``(batch, height, width)`` with places.

        Nats where answers are chosen, attached to the graph, at least float32. An image, or a place, of which a column
        says nothing has the loss 0.

        Args:
            network: the backbone, or a function of images that is it at other weights.
            features: what it says of the images of the batch.
            inputs: from :meth:`prepare`.
            runtime: gives autocast.
        """
        batch = inputs.batch
        size = (batch.images.shape[-2], batch.images.shape[-1])
        losses: list[Tensor] = []
        for target, head in zip(self.targets, self.column_heads, strict=True):
            with runtime.autocast():
                outputs = head(features.maps, size) if target.has_places else head(features.pooled)
            losses.append(_tell_column(target, outputs, batch))
        for name, module in self._modules_of_pretexts().items():
            made = inputs.made[name]
            # A pass of its own: turned or cut images would move the batch statistics that the classes are told by.
            with runtime.autocast():
                outputs = module.head(network(made.inputs).pooled)
            losses.append(_mean_by_source(module.pretext.loss(outputs, made.targets), made, len(batch)))
        return losses

    def forward(
        self,
        network: Callable[[Images], Features],
        features: Features,
        inputs: GivenInputs,
        *,
        runtime: Runtime,
    ) -> Float[Tensor, "batch tasks"]:
        """Return the loss of every image at every task; the mean over its places where a column has such.

        Takes what :meth:`loss_list` takes.
        """
        losses = self.loss_list(network, features, inputs, runtime=runtime)
        if not losses:
            return features.pooled.new_zeros(len(features.pooled), 0)
        return torch.stack([mean_over_places(each) for each in losses], 1)

    def pretext_heads(self, backbone: nn.Module) -> dict[str, PretextHead]:
        """Return the pretexts' heads on ``backbone`` whose answers are classes, for evaluation."""
        modules = self._modules_of_pretexts().values()
        return {name: head for module in modules for name, head in module.heads(backbone).items()}

    def _modules_of_pretexts(self) -> dict[str, ImagePretextModule]:
        """Return the pretexts' modules by name, as what they are."""
        return {name: module for name, module in self.pretexts.items() if isinstance(module, ImagePretextModule)}


def _check_different(option: str, names: list[str]) -> None:
    """Refuse a task that is named twice: metrics could not tell the two apart."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(option, "of different names", f"{twice[0]} twice", "name each task once")


def _find_column(name: str, networks: AbstractNetworks) -> Target:
    """Return a column that can be told.

    Raises:
        ConfigError: it cannot, and why.
    """
    if name in (target.name for target in networks.task.targets):
        fix = "name another column; the task learns this one"
        raise ConfigError("auxiliary columns beside the task's own targets", repr(name), fix)
    if name not in networks.columns:
        got = f"{', '.join(networks.columns) or 'none'} without {name!r}"
        raise ConfigError(f"a column {name!r} that the run learns", got, "pass Networks(..., columns=...)")
    target = networks.columns[name]
    if len(target.names) < 2:
        got = f"{list(target.names)}" if target.names else "quantities"
        fix = "leave the column out, or give it other values"
        raise ConfigError(f"at least two values of the auxiliary column {name!r}", got, fix)
    return target


def _build_head(target: Target, networks: AbstractNetworks, *, map_name: str) -> nn.Module:
    """Return the head of a column."""
    name, count = f"column/{target.name}", len(target.names)
    if not target.has_places:
        return networks.linear_head(name, count)
    return place_head(name, networks, count, map_name=map_name)


def mean_over_places(losses: Float[Tensor, "batch ..."]) -> Losses:
    """Return the mean of each image's losses over its places; losses without places as they are."""
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


def place_head(name: str, networks: AbstractNetworks, num_outputs: int, *, map_name: str = "") -> PlaceHead:
    """Return a head that answers for every pixel from a map of the shared backbone.

    Args:
        name: of the head; its first weights come from the stream ``init/NAME``.
        networks: gives the backbone and the size of images.
        num_outputs: numbers for every pixel.
        map_name: of the backbone's maps; by default the finest.

    Raises:
        ConfigError: the backbone has no such map, or the map leaves the rim of the image out.
    """
    backbone, task = networks.backbone, networks.task
    known = [*backbone.map_channels]
    chosen = map_name or next(iter(known), "")
    if chosen not in known:
        got = f"{', '.join(known) or 'none'} of {type(backbone).__name__}"
        raise ConfigError(f"a map {chosen!r} of the backbone for what has places", got, "choose one of its maps")
    if backbone.map_size(chosen, height=task.height, width=task.width) != (task.height, task.width):
        got = f"{chosen!r} of {type(backbone).__name__}"
        raise ConfigError("a map that lies over the whole image", got, "choose another map, or another backbone")
    return PlaceHead(name, chosen, backbone.map_channels[chosen], num_outputs, seed=networks.seed)


def _tell_column(target: Target, outputs: Tensor, batch: Batch) -> Float[Tensor, "batch ..."]:
    """Return the cross-entropy of a column for every image, or every place; 0 where it says nothing."""
    values = batch.targets[target.name]
    if values.shape != (outputs.shape[0], *outputs.shape[2:]):
        got = f"{tuple(values.shape)} for outputs of {tuple(outputs.shape)}"
        raise ShapeError(f"one value of {target.name!r} for each image or place", got, "give maps of (height, width)")
    wide = outputs.float() if outputs.dtype.itemsize < 4 else outputs
    return functional.cross_entropy(wide, values.long(), ignore_index=target.ignore, reduction="none")


def _mean_by_source(losses: Losses, made: PretextBatch, count: int) -> Float[Tensor, " images"]:
    """Return for each of ``count`` images the mean loss of the inputs that were made from it."""
    # Sums of products, since adding by index has no fixed order on a GPU.
    belongs = made.sources.unsqueeze(1) == torch.arange(count, device=losses.device)
    return (losses.unsqueeze(1) * belongs).sum(0) / belongs.sum(0)
