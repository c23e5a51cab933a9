"""A perceptron with softplus: how much a task counts depends on how large all losses are."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates.combinations._interface import AbstractCombination, draw_weights, first_weights
from auxo.gates.combinations._layers import LayersConfig

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
    class Config(LayersConfig):
        """Options of the perceptron."""

        def build(self, *, num_tasks: int, seed: int) -> "NonlinearCombination":
            """Return the network."""
            with first_weights(seed):
                return NonlinearCombination(self, num_tasks)

    def __init__(self, config: Config, num_tasks: int) -> None:
        super().__init__()
        *inner, last = config.layers(num_tasks, has_biases=True)
        parts = [part for layer in inner for part in (layer, nn.Softplus())]
        self.layers = nn.Sequential(*parts, last)
        draw_weights(self, low=config.low, high=config.high)

    def forward(self, losses: Float[Tensor, "samples tasks"]) -> Float[Tensor, " samples"]:
        """Return the perceptron's output."""
        combined: Tensor = self.layers(losses).squeeze(1)
        return combined
