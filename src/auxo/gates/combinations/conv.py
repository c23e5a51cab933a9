"""A convolutional network on maps of losses, for tasks with an answer for every pixel."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import ShapeError
from auxo.gates.combinations._interface import (
    AbstractCombination,
    CombinationConfig,
    check_bounds,
    check_hidden,
    draw_weights,
    first_weights,
)
from auxo.options import Range

SOURCE = (
    "Convolutional combination of AuxiLearn (github.com/AvivNavon/AuxiLearn), without weight normalisation: 3 x 3 "
    "kernels with 8 and 16 channels (its deeper one adds 32), first weights in [0, 0.1]."
)


class ConvCombination(AbstractCombination):
    """Convolutions with softplus, each followed by a mean over 2 x 2 places, then one output and its mean over places.

    The primary task's mean loss is added where the gate weighs it.

    Args:
        config: options.
        num_tasks: losses to combine.
    """

    reads_places = True

    @dataclass(frozen=True, kw_only=True)
    class Config(CombinationConfig):
        """Options of the convolutional network."""

        channels: tuple[Annotated[int, Range(low=1)], ...] = (8, 16)
        """Channels of each convolution; one more has its maps of half the size."""
        low: float = 0.0
        """Least first weight; biases start at 0."""
        high: float = 0.1
        """Largest first weight."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_hidden("channels", self.channels)
            check_bounds(self.low, self.high)

        def build(self, *, num_tasks: int, seed: int) -> "ConvCombination":
            """Return the network."""
            with first_weights(seed):
                return ConvCombination(self, num_tasks)

    def __init__(self, config: Config, num_tasks: int) -> None:
        super().__init__()
        self.smallest = 2 ** len(config.channels)
        parts: list[nn.Module] = []
        for width, following in pairwise((num_tasks, *config.channels)):
            parts += [nn.Conv2d(width, following, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2)]
        self.layers = nn.Sequential(*parts, nn.Conv2d(config.channels[-1], 1, 1, bias=False))
        draw_weights(self, low=config.low, high=config.high)

    def forward(self, losses: Float[Tensor, "samples tasks *places"]) -> Float[Tensor, " samples"]:
        """Return the mean over the places of the network's output.

        Raises:
            ShapeError: the losses have no places, or too few to be halved by every convolution.
        """
        if losses.dim() != 4 or min(losses.shape[2:]) < self.smallest:
            expected = f"losses of shape (samples, tasks, height, width) with sides of {self.smallest} or more"
            raise ShapeError(expected, str(tuple(losses.shape)), "choose another network, such as nonlinear")
        combined: Tensor = self.layers(losses).mean(dim=(1, 2, 3))
        return combined
