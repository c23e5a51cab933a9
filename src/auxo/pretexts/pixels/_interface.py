"""What an objective on the auxiliary labels of pixels is: from features and labels to one loss."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from auxo.interfaces import PretextLoss
from auxo.options import FamilyOptions
from auxo.random import Draws
from auxo.runtime import Runtime
from auxo.types import Batch

NOT_SHARED = "labels that differ from image to image"
"""What came where labels do not hold across images, as errors say it."""


class AbstractPixelObjective(nn.Module, ABC):
    """Makes a loss of the features and the auxiliary labels of a batch's pixels."""

    @abstractmethod
    def forward(
        self,
        features: Float[Tensor, "batch channels _ _"],
        labels: Int[Tensor, "batch height width"],
        *,
        batch: Batch,
        draws: Draws,
        runtime: Runtime,
    ) -> PretextLoss:
        """Return the loss over the joined batch; called once a step, outside autocast.

        Averaged over the processes, the loss and its gradient are those of one process that holds the joined batch.
        It is 0 with a gradient of 0 where no pixel counts.

        Args:
            features: what is trained says of the images, at its own resolution.
            labels: of every pixel of the images; any below 0 are ignored. They are brought to the resolution of the
                features by the nearest.
            batch: the images; says how they are shared out among processes, and which image is which.
            draws: random numbers of this step for each image.
            runtime: puts the processes together; every process must call.

        Raises:
            ShapeError: a process has too few pixels for batch norm that is not synchronised.
        """

    def check_labels(self, labels: Int[Tensor, "n _ _"]) -> None:
        """Refuse labels from which nothing can be learned; by default none.

        Args:
            labels: of every image that is trained on, at the resolution of the features.

        Raises:
            OptionError: an option leaves nothing to compare.
        """
        del labels


@dataclass(frozen=True, kw_only=True)
class PixelObjectiveConfig(FamilyOptions):
    """What pixels learn by their auxiliary labels; each objective has options of its own."""

    family = "pretexts.pixels"

    @abstractmethod
    def build(self, num_channels: int, *, num_labels: int | None, seed: int) -> AbstractPixelObjective:
        """Return the objective with its head, on the CPU.

        Args:
            num_channels: of the features.
            num_labels: labels are below it; ``None`` where their number depends on the images.
            seed: the run's seed; first weights come from streams named after the parts.

        Raises:
            ConfigError: the objective needs labels that images share.
        """
