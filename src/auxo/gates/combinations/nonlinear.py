"""A perceptron with softplus: how much a task counts depends on how large all losses are."""

from dataclasses import dataclass
from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates.combinations._interface import (
    AbstractCombination,
    CombinationConfig,
    build_layers,
    check_bounds,
    check_hidden,
    draw_weights,
    first_weights,
)
from auxo.options import Range

SOURCE = (
    "Nonlinear combination of AuxiLearn (github.com/AvivNavon/AuxiLearn), without weight normalisation, as in its "
    "experiments; hidden size 3 and first weights in [0, 1] are those of its NYUv2 experiment."
)


class NonlinearCombination(AbstractCombination):
    """Linear layers with softplus between them, the last without a bias; the primary task's mean loss is added.

    Args:
        config: options.
        num_tasks: losses to combine.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(CombinationConfig):
        """Options of the perceptron."""

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

        def build(self, *, num_tasks: int, seed: int) -> "NonlinearCombination":
            """Return the network."""
            with first_weights(seed):
                return NonlinearCombination(self, num_tasks)

    def __init__(self, config: Config, num_tasks: int) -> None:
        super().__init__()
        *inner, last = build_layers(num_tasks, config.hidden, has_biases=True)
        parts = [part for layer in inner for part in (layer, nn.Softplus())]
        self.layers = nn.Sequential(*parts, last)
        draw_weights(self, low=config.low, high=config.high)

    def forward(self, losses: Float[Tensor, "samples tasks"]) -> Float[Tensor, " samples"]:
        """Return the perceptron's output."""
        combined: Tensor = self.layers(losses).squeeze(1)
        return combined
