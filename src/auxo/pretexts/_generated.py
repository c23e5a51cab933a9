"""A generated auxiliary task: items made from pairs of a batch's, of any task, and the head that learns them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import ConfigError
from auxo.interfaces import (
    AbstractBackbone,
    AbstractImageReader,
    AbstractNetworks,
    Exhibit,
    TableExhibit,
    TextExhibit,
)
from auxo.layers.heads import linear_head
from auxo.layers.instance_terms import measure_distances, measure_labels, summarise_cells
from auxo.layers.joint_generator import (
    Generated,
    Items,
    JointGenerator,
    Made,
    TargetBlock,
    generated_losses,
    mix_items,
)
from auxo.layers.sub_classes import SubClasses
from auxo.pretexts._given import mean_over_places
from auxo.pretexts._pairs import gather_from
from auxo.random import Draws, named_generator
from auxo.runtime import Runtime
from auxo.types import Batch, Features, Losses, Metrics

_SHOWN = 2000  # images that exhibits are made from


class Pairing(NamedTuple):
    """What is settled for a batch before items are generated, which may be done several times.

    Args:
        batch: the images and their targets.
        partners: for each image, the place in the joined batch of the one that it is paired with.
        gather: maps this process's rows to those of the joined batch.
        share: of mixing, how much of an item is the image's own; read where no generator is learned.
    """

    batch: Batch
    partners: Int[Tensor, " batch"]
    gather: Callable[[Tensor], Tensor]
    share: Float[Tensor, ""]


class ItemPair(NamedTuple):
    """The items of a batch, and for each the one that it is paired with."""

    own: Items
    partner: Items


class GeneratedTask(nn.Module):
    """Generates an item from each image and its partner, and has a head that learns its target.

    A task whose targets have places is generated cell by cell of a map, from the cells at the same place of two
    images. Targets are what :meth:`auxo.tasks.AbstractTask.encode_targets` makes of them.

    Args:
        networks: the task, the backbone and the seed; the head's first weights come from ``init/generated``.
        map_name: of the backbone's maps, for a task whose targets have places.
        made: see :class:`JointGenerator`.
        hidden: width of the generator's hidden layers; 0 is that of the features.
        sub_classes: how many sub-classes of each class are generated, none for the targets themselves.
        mixes: whether items are mixed with one share for the batch, without a generator.
        has_head: whether generated items have a head of their own; else one that gives the task's outputs is passed in.

    Attributes:
        generator: what makes items; ``None`` where they are mixed.
        own_head: what learns them; ``None`` where it is given.
        given_blocks: what the numbers of the task's targets are.
        blocks: what those of the generated targets are.

    Raises:
        ConfigError: targets with and without places, or sub-classes of a task that has not one target of classes.
    """

    def __init__(
        self,
        networks: AbstractNetworks,
        *,
        map_name: str,
        made: Made,
        hidden: int,
        sub_classes: tuple[int, ...],
        mixes: bool,
        has_head: bool = True,
    ) -> None:
        super().__init__()
        self.task, backbone, seed = networks.task, networks.backbone, networks.seed
        places = {target.has_places for target in self.task.targets}
        if len(places) > 1:
            got = ", ".join(target.name for target in self.task.targets)
            raise ConfigError("targets that all have places, or none", got, "choose another task, or another method")
        self.map_name = map_name if True in places else ""
        dim = backbone.map_channels[self.map_name] if self.map_name else backbone.num_features
        pairs = zip(self.task.target_widths, self.task.targets, strict=True)
        self.given_blocks = tuple(TargetBlock(width, bool(target.names)) for width, target in pairs)
        self.blocks, divided = self.given_blocks, None
        if sub_classes:
            if [block.is_class for block in self.blocks] != [True]:
                fix = "leave sub-classes out"
                raise ConfigError("a task of one target with classes for sub-classes", type(self.task).__name__, fix)
            divided = SubClasses(sub_classes, num_classes=self.blocks[0].width)
        self.generator = None
        if not mixes:
            self.generator = JointGenerator(
                dim, self.blocks, made=made, hidden=hidden or dim, sub_classes=divided, seed=seed
            )
            self.blocks = self.generator.blocks
        total = sum(block.width for block in self.blocks)
        self.own_head = linear_head("generated", dim, total, seed=seed) if has_head else None
        if not has_head and (divided is not None or total != self.task.num_outputs):
            got = "sub-classes" if divided is not None else f"{total} numbers for {self.task.num_outputs} outputs"
            raise ConfigError(
                "generated targets that are the outputs of a shared head", got, "give them their own head"
            )

    def prepare(self, batch: Batch, *, draws: Draws, share: Tensor, runtime: Runtime) -> Pairing:
        """Return how the images of a batch are paired: at random, none with itself, each once.

        Args:
            batch: normalised images and their targets.
            draws: for the pairs.
            share: see :class:`Pairing`.
            runtime: puts the processes together; every process must call.

        Raises:
            ShapeError: the joined batch has one image.
        """
        gather = gather_from(runtime, batch)
        device = batch.images.device
        return Pairing(batch, draws.partners(len(batch)).to(device), gather, share.to(device))

    def pair(self, features: Features, pairing: Pairing) -> ItemPair:
        """Return the items of a batch and their partners, attached to the features."""
        found = features.maps[self.map_name].movedim(1, -1) if self.map_name else features.pooled
        numbers, known = self.task.encode_targets(pairing.batch.targets)
        # Under autocast features may be bfloat16, in which the probabilities of many classes would lose their digits.
        kind = torch.float32 if found.dtype.itemsize < 4 else found.dtype
        own = Items(found, *(_place_numbers(each, found).to(found.device, kind) for each in (numbers, known)))
        return ItemPair(own, own.pick(pairing.partners, pairing.gather))

    def generate(self, pair: ItemPair, pairing: Pairing) -> Generated:
        """Return a generated item for each one."""
        if self.generator is None:
            return mix_items(*pair, pairing.share.to(pair.own.numbers))
        made: Generated = self.generator(*pair)
        return made

    def forward(self, features: Features, pairing: Pairing, head: nn.Module | None = None) -> Losses:
        """Return every image's loss on its generated items, at least float32.

        Args:
            features: of the batch.
            pairing: of the same.
            head: maps features to outputs, in place of a head of its own.
        """
        head = self.own_head if head is None else head
        if head is None:
            raise ValueError("a head for generated items, which have none of their own")
        made = self.generate(self.pair(features, pairing), pairing)
        return mean_over_places(generated_losses(head(made.features), made, self.blocks))

    @torch.no_grad()
    def describe(self, pair: ItemPair, made: Generated, pairing: Pairing, runtime: Runtime) -> Metrics:
        """Return what would show a collapse; of the joined batch once averaged over the processes."""
        variances = [
            pairing.gather(summarise_cells(each)).var(0, correction=0).mean()
            for each in (made.features, pair.own.features)
        ]
        told = measure_labels(made, self.blocks, join=runtime.sum)
        return {
            "generated_variance": variances[0],
            "feature_variance": variances[1],
            "generated_distance": pairing.batch.mean(measure_distances(made.features, pair.own.features)),
            "label_entropy": told.entropy,
            "label_information": told.information,
        }


def _place_numbers(numbers: Float[Tensor, "n k ..."], found: Tensor) -> Float[Tensor, "n *cells k"]:
    """Return numbers at the cells of features: of a map those of the pixel that the nearest one is."""
    if found.dim() == 2:
        return numbers
    return functional.interpolate(numbers, size=found.shape[1:-1], mode="nearest").movedim(1, -1)


def show_generated(task: GeneratedTask, backbone: AbstractBackbone, reader: AbstractImageReader) -> Sequence[Exhibit]:
    """Return what items are like that are generated from images of a split: a text, and of classes a table.

    Args:
        task: of targets without places.
        backbone: gives features.
        reader: of the images.
    """
    chosen = torch.randperm(len(reader), generator=named_generator(0, "exhibits"))[:_SHOWN]
    if len(chosen) < 2:
        return ()
    like = next(backbone.parameters())
    device = like.device
    features = Features(reader.features(backbone)[chosen].to(device, like.dtype), {})
    targets = {target.name: reader.targets[target.name][chosen].to(device) for target in task.task.targets}
    batch = Batch(features.pooled[:, :, None, None], targets, chosen)
    partners = Draws(named_generator(0, "exhibit pairs")).partners(len(chosen)).to(device)
    pairing = Pairing(batch, partners, lambda rows: rows, torch.tensor(0.5, device=device))
    with torch.no_grad():
        pair = task.pair(features, pairing)
        made = task.generate(pair, pairing)
    variance, own = (float(each.var(0, correction=0).mean()) for each in (made.features, pair.own.features))
    told = measure_labels(made, task.blocks, join=lambda tensor: tensor)
    text = (
        f"Generated features of {len(chosen)} training images have a variance of {variance:.3g}, the real ones one of "
        f"{own:.3g}; they lie {float(measure_distances(made.features, pair.own.features).mean()):.2f} of their length "
        f"from their image's own. A generated label has an entropy of {float(told.entropy):.2f} nats and tells "
        f"{float(told.information):.2f} nats about its pair."
    )
    exhibits: list[Exhibit] = [TextExhibit("Generated items", text)]
    names = task.task.targets[0].names
    if names and task.blocks == task.given_blocks:
        exhibits.append(_table_labels(names, pair, made))
    return exhibits


def _table_labels(names: Sequence[str], pair: ItemPair, made: Generated) -> TableExhibit:
    """Return where the probability of generated labels lies, by the class of the image."""
    width = len(names)
    own, partner = (items.numbers[:, :width] for items in pair)
    targets = made.targets[:, :width]
    is_either = ((own + partner) > 0).to(targets)
    shares = torch.stack([(targets * own).sum(1), (targets * partner).sum(1), (targets * (1 - is_either)).sum(1)], 1)
    rows: list[tuple[str | int, ...]] = []
    for number, name in enumerate(names):
        members = (own[:, number] > 0) & (partner[:, number] == 0)
        means = [f"{value:.2f}" for value in shares[members].mean(0).tolist()] if members.any() else [""] * 3
        rows.append((name, int(members.sum()), *means))
    header = ("class", "pairs with another class", "on its own", "on the partner's", "on others")
    return TableExhibit("Probability of generated labels", header, rows)
