"""Linear layers one after the other: a linear function of the losses that is learned through a product."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates.combinations._interface import AbstractCombination, draw_weights, first_weights
from auxo.gates.combinations._layers import LayersConfig

SOURCE = (
    "Deep linear combination of AuxiLearn (github.com/AvivNavon/AuxiLearn), without weight normalisation; the sizes "
    "and first weights are those of its nonlinear network."
)


class DeepLinearCombination(AbstractCombination):
    """Linear layers without biases; the primary task's mean loss is added where the gate weighs it.

    Args:
        config: options.
        num_tasks: losses to combine.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(LayersConfig):
        """Options of the product of linear layers."""

        def build(self, *, num_tasks: int, seed: int) -> "DeepLinearCombination":
            """Return the network."""
            with first_weights(seed):
                return DeepLinearCombination(self, num_tasks)

    def __init__(self, config: Config, num_tasks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*config.layers(num_tasks, has_biases=False))
        draw_weights(self, low=config.low, high=config.high)

    def forward(self, losses: Float[Tensor, "samples tasks"]) -> Float[Tensor, " samples"]:
        """Return the product of the layers and the losses."""
        combined: Tensor = self.layers(losses).squeeze(1)
        return combined
