"""One weight for each task."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates.combinations._interface import AbstractCombination, CombinationConfig, first_weights

SOURCE = "Linear combination of AuxiLearn (github.com/AvivNavon/AuxiLearn), without weight normalisation."


class LinearCombination(AbstractCombination):
    """The sum of the losses at weights that start at 1.

    Args:
        config: options.
        num_tasks: losses to combine.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(CombinationConfig):
        """Options of one weight for each task."""

        skip: bool = False
        """Add the primary task's mean loss where the gate weighs it: its weight starts at 2 and stays at 1 or above."""

        def build(self, *, num_tasks: int, seed: int) -> "LinearCombination":
            """Return the network."""
            with first_weights(seed):
                return LinearCombination(self, num_tasks)

    def __init__(self, config: Config, num_tasks: int) -> None:
        super().__init__()
        self.adds_primary = config.skip
        self.layer = nn.Linear(num_tasks, 1, bias=False)
        nn.init.ones_(self.layer.weight)

    def forward(self, losses: Float[Tensor, "samples tasks"]) -> Float[Tensor, " samples"]:
        """Return the weighted sum."""
        combined: Tensor = self.layer(losses).squeeze(1)
        return combined
