"""What the combinations of several linear layers share: their options, their layers and their first weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from torch import nn

from auxo.gates.combinations._interface import CombinationConfig, check_bounds, check_hidden
from auxo.options import Range


@dataclass(frozen=True, kw_only=True)
class LayersConfig(CombinationConfig):
    """Options of linear layers one after the other."""

    hidden: tuple[Annotated[int, Range(low=1)], ...] = (3,)
    """Sizes of the hidden layers."""
    low: float = 0.0
    """Least first weight; biases start at 0."""
    high: float = 1.0
    """Largest first weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_hidden("hidden", self.hidden)
        check_bounds(self.low, self.high)

    def layers(self, num_tasks: int, *, has_biases: bool) -> Iterator[nn.Linear]:
        """Yield linear layers from the losses over hidden ones to one output, the last without a bias."""
        for number, (width, following) in enumerate(pairwise((num_tasks, *self.hidden, 1))):
            yield nn.Linear(width, following, bias=has_biases and number < len(self.hidden))
