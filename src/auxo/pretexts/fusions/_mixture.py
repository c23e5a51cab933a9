"""What fusions share that project the encoders' features to one width and make one vector of them."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from auxo.layers.heads import linear_head
from auxo.options import Range
from auxo.pretexts.fusions._interface import AbstractFusion, EncoderShapes, Fused, FusionConfig
from auxo.random import derive_seed, global_seed


@dataclass(frozen=True, kw_only=True)
class MixtureConfig(FusionConfig):
    """Options of the projections ``v_k = LN(W_k z_k + b_k)`` of each encoder's features."""

    width: Annotated[int | None, Range(low=1)] = None
    """Length m of a projection; by default the largest number of features that an encoder has: fewer may lose some."""
    norm: bool = True
    """Apply a LayerNorm of its own to each projection; without, an encoder with larger features counts for more."""
    relu: bool = False
    """Apply ReLU behind that."""

    def find_width(self, shapes: EncoderShapes, level: int) -> int:
        """Return the length of a projection at a level."""
        return self.width or max(widths[level] for widths in shapes.widths)


class Mixed(NamedTuple):
    """One vector of the values of several encoders.

    Args:
        vector: for each image.
        weights: see :class:`Fused`.
    """

    vector: Float[Tensor, "batch _"]
    weights: Float[Tensor, "batch heads encoders"] | None = None


class Projections(nn.Module):
    """One linear layer, and a LayerNorm, for each encoder at one level.

    An encoder's first weights follow from its name: others beside it change nothing.

    Args:
        config: options.
        shapes: of the encoders.
        level: number of the level.
    """

    def __init__(self, config: MixtureConfig, shapes: EncoderShapes, level: int) -> None:
        super().__init__()
        width = config.find_width(shapes, level)
        self.relu = config.relu
        self.linear, self.norms = nn.ModuleDict(), nn.ModuleDict()
        for name, widths in zip(shapes.names, shapes.widths, strict=True):
            # By name, so that a comparison with one encoder more or fewer starts the others alike.
            with global_seed(derive_seed(shapes.seed, "init", "fusion", level, name)):
                self.linear[name] = nn.Linear(widths[level], width)
            if config.norm:
                self.norms[name] = nn.LayerNorm(width)

    def forward(self, parts: Sequence[Float[Tensor, "batch _"]]) -> Float[Tensor, "batch encoders width"]:
        """Return the values of all encoders."""
        rows = []
        for (name, layer), part in zip(self.linear.items(), parts, strict=True):
            row = layer(part)
            rows.append(self.norms[name](row) if name in self.norms else row)
        values = torch.stack(rows, 1)
        return functional.relu(values) if self.relu else values


class AbstractMixture(AbstractFusion):
    """Projects the features of each level, makes one vector of them, and puts a linear head on the vectors.

    Args:
        config: options.
        shapes: of the encoders.
    """

    def __init__(self, config: MixtureConfig, shapes: EncoderShapes) -> None:
        super().__init__()
        self.level_widths = shapes.widths
        levels = range(len(shapes.widths[0]))
        self.projections = nn.ModuleList(Projections(config, shapes, level) for level in levels)
        widths = [config.find_width(shapes, level) for level in levels]
        num_features = sum(self.count_features(width, len(shapes.names)) for width in widths)
        self.semantic = linear_head("semantic", num_features, shapes.num_outputs, seed=shapes.seed)

    def count_features(self, width: int, num_encoders: int) -> int:
        """Return the length of the vector that is made of the encoders' values; by default their width."""
        del num_encoders
        return width

    @abstractmethod
    def mix(
        self, level: int, values: Float[Tensor, "batch encoders width"], own: Float[Tensor, "batch _"] | None
    ) -> Mixed:
        """Return one vector of the values at a level.

        Args:
            level: its number.
            values: of all encoders.
            own: features of the run's own network, where they are read.
        """

    def forward(self, parts: Sequence[Float[Tensor, "batch _"]], own: Float[Tensor, "batch _"] | None = None) -> Fused:
        """Return the logits of the head on the vectors of all levels, which stand one after the other."""
        pieces = [part.split(widths, 1) for part, widths in zip(parts, self.level_widths, strict=True)]
        values = [project([piece[level] for piece in pieces]) for level, project in enumerate(self.projections)]
        mixed = [self.mix(level, each, own) for level, each in enumerate(values)]
        weights = [each.weights for each in mixed if each.weights is not None]
        vectors = tuple(each.vector for each in mixed)
        return Fused(
            self.semantic(torch.cat(vectors, 1)),
            weights=torch.cat(weights, 1) if weights else None,
            values=tuple(values),
            vectors=vectors,
        )
