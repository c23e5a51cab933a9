"""The values that travel between the layers: batches, features, metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields, replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, get_args, runtime_checkable

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from auxo.errors import ConfigError

LABEL = "label"
"""Name of the target that says which class an image is of."""

MASK = "mask"
"""Name of the target that says which class every pixel is of."""

MIXED_LABEL = "mixed_label"
"""Name of the target that says which class the image is of that was mixed into an image."""

MIXED_PART = "mixed_part"
"""Name of the target that says what part of an image is left where another was mixed into it."""

Images: TypeAlias = Float[Tensor, "batch channels height width"]
Labels: TypeAlias = Int[Tensor, " batch"]
Losses: TypeAlias = Float[Tensor, " samples"]
Metrics: TypeAlias = Mapping[str, Float[Tensor, ""]]


class Features(NamedTuple):
    """What a backbone returns.

    Args:
        pooled: one vector per image; shape ``(batch, dim)``.
        maps: named feature maps, coarsest last; shape ``(batch, channels, height, width)`` each.
    """

    pooled: Float[Tensor, "batch dim"]
    maps: dict[str, Float[Tensor, "batch channels height width"]]


class Normalisation(NamedTuple):
    """How pixels in [0, 1] became network inputs: ``(pixels - mean) / std``.

    Args:
        mean: shape ``(channels, 1, 1)``.
        std: shape ``(channels, 1, 1)``, > 0.
    """

    mean: Float[Tensor, "channels 1 1"]
    std: Float[Tensor, "channels 1 1"]

    def to_inputs(self, pixels: Images) -> Images:
        """Return the network inputs of pixels in [0, 1]."""
        return (pixels - self.mean) / self.std

    def to_pixels(self, inputs: Images) -> Images:
        """Return the pixels, in [0, 1] up to rounding, of network inputs."""
        return inputs * self.std + self.mean


class Column(NamedTuple):
    """One whole number for every image of a source: its class, or what another column of the data says.

    Args:
        values: shape ``(n,)``; int64, on the CPU; positions in ``names``. All -1 where the values are hidden.
        names: what the numbers stand for; empty where the values are hidden.
    """

    values: Int[Tensor, " n"]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """One process's part of a joined batch.

    Args:
        images: shape ``(batch, channels, height, width)``; uint8 0..255 as a source gives them,
            float and normalised once the input pipeline has run on the device.
        targets: what a task or a method learns from, and further columns of the data, by name. One value per image has
            the shape ``(batch,)``; a target with places, such as a mask, has the height and width of the images last.
            Where a target is hidden it has its value to ignore everywhere, -1 for classes.
        indices: shape ``(batch,)``; int64 position of each image in its source.
        first: position of this part's first image in the joined batch; 0 in a single process.
        total: number of images in the joined batch over all processes; ``None`` means this part is all.
        num_processes: how many processes share the joined batch.
        normalisation: what the input pipeline made of the pixels; ``None`` before it has run.
    """

    images: Shaped[Tensor, "batch channels height width"]
    targets: Mapping[str, Shaped[Tensor, "batch ..."]]
    indices: Labels
    first: int = 0
    total: int | None = None
    num_processes: int = 1
    normalisation: Normalisation | None = None

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def labels(self) -> Labels:
        """The target ``label``, shape ``(batch,)``; int64."""
        return self.targets[LABEL]

    @property
    def joined_size(self) -> int:
        """Number of images in the joined batch over all processes."""
        return len(self) if self.total is None else self.total

    @property
    def share(self) -> float:
        """Images in this part over the mean number per process; 1 in a single process."""
        return len(self) * self.num_processes / self.joined_size

    def mean(self, losses: Losses) -> Float[Tensor, ""]:
        """Mean of per-sample losses over the joined batch, up to averaging over processes.

        Each process returns its own mean scaled by its share, so that the plain average of these values (and of
        their gradients) over the processes equals the mean over the joined batch, also when the parts differ in size.

        Args:
            losses: shape ``(n,)`` with ``n`` any multiple of the number of images in this part.

        Returns:
            A scalar attached to the graph.
        """
        mean = losses.mean()
        return mean if self.num_processes == 1 else mean * self.share

    def split(self, count: int) -> "list[Batch]":
        """Return parts of about one size, in order; the plain average of their :meth:`mean` is that of the whole.

        Args:
            count: of parts, at most as many as there are images.
        """
        starts = [number * len(self) // count for number in range(count + 1)]
        return [
            replace(
                self,
                images=self.images[start:stop],
                targets={name: values[start:stop] for name, values in self.targets.items()},
                indices=self.indices[start:stop],
                first=self.first + start,
                total=self.joined_size,
                num_processes=self.num_processes * count,
            )
            for start, stop in pairwise(starts)
        ]


Batches: TypeAlias = Mapping[str, Batch]


class GradientParts:
    """The gradients of a batch that is computed in parts: their mean, as each part's loss is scaled by its share.

    Args:
        count: parts of a batch.
    """

    def __init__(self, count: int) -> None:
        self._count, self._added = count, 0
        self._sums: list[Tensor | None] = []

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add those of a part; the first after a whole batch begins the next one."""
        if self.is_complete:
            self._added, self._sums = 0, []
        pairs = zip(self._sums or [None] * len(gradients), gradients, strict=True)
        self._sums = [new if old is None else old if new is None else old + new for old, new in pairs]
        self._added += 1

    @property
    def is_complete(self) -> bool:
        """Whether all parts are there."""
        return self._added == self._count

    @property
    def gradients(self) -> list[Tensor | None]:
        """Those of the whole batch."""
        return [None if each is None else each / self._count for each in self._sums]


@runtime_checkable
class _Dataclass(Protocol):
    """A dataclass with its values."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def require_choice(option: str, value: str, literal: object) -> None:
    """Refuse a value that is none of a ``Literal``'s, which from Python nothing else does.

    Args:
        option: as the command line has it, for the message.
        value: what was given.
        literal: the type ``Literal[...]``.

    Raises:
        ConfigError: the value is none of them.
    """
    known = get_args(literal)
    if value not in known:
        raise ConfigError(f"{option} of {', '.join(known)}", repr(value), "choose one of them")


def refuse_unread(
    options: _Dataclass, readers: Mapping[str, Sequence[str]], *, chosen: Sequence[str], choice: str
) -> None:
    """Refuse options that differ from their defaults and that nothing of what was chosen reads.

    Args:
        options: a dataclass of options.
        readers: of the fields that not everything reads, the names of what does.
        chosen: the names that were chosen.
        choice: the option that chooses, as the command line has it; the others are called as it is.

    Raises:
        ConfigError: such an option was given.
    """
    prefix = choice.rpartition(".")[0]
    for item in fields(options):
        names, value = readers.get(item.name, chosen), getattr(options, item.name)
        if value != item.default and not set(names) & set(chosen):
            option = ".".join(filter(None, (prefix, item.name.replace("_", "-"))))
            got = f"{option} {value} with {', '.join(chosen)}, which {'does' if len(chosen) == 1 else 'do'} not read it"
            expected = f"{option} with {choice} {' or '.join(names)} only"
            raise ConfigError(expected, got, f"leave it at {item.default}, or choose {names[0]}")
