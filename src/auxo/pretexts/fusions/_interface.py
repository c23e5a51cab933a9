"""What a fusion is: from the features of several encoders to class logits."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from auxo.options import FamilyOptions
from auxo.runtime import Runtime
from auxo.types import Batch


class EncoderShapes(NamedTuple):
    """What the features look like that a fusion is built for.

    Args:
        names: of the encoders, K of them.
        widths: for each encoder, the number of features at each level.
        num_outputs: classes.
        own_features: features of the run's own network, which is trained.
        seed: of the run, for first weights.
    """

    names: tuple[str, ...]
    widths: tuple[tuple[int, ...], ...]
    num_outputs: int
    own_features: int
    seed: int

    @property
    def totals(self) -> tuple[int, ...]:
        """For each encoder, the features of all levels together."""
        return tuple(map(sum, self.widths))


class Fused(NamedTuple):
    """What a fusion says of some images, attached to the graph.

    Args:
        logits: what predicts.
        learning: logits that each learn the labels; empty where those that predict do.
        weights: for each image and head, how much each encoder counts; non-negative, and sum to 1 over the encoders.
            ``None`` where nothing is weighed.
        values: of each level, what the encoders' features were projected to.
        vectors: of each level, what was made of the values.
    """

    logits: Float[Tensor, "batch classes"]
    learning: tuple[Float[Tensor, "batch classes"], ...] = ()
    weights: Float[Tensor, "batch heads encoders"] | None = None
    values: tuple[Float[Tensor, "batch encoders width"], ...] = ()
    vectors: tuple[Float[Tensor, "batch _"], ...] = ()


class FusionStep(NamedTuple):
    """What the further losses of a training step are made of.

    Args:
        parts: features of each encoder, of all levels.
        own: those of the run's own network; ``None`` where it is not read.
        batch: says how the images are shared out among processes.
        runtime: puts the processes together.
    """

    parts: Sequence[Float[Tensor, "batch _"]]
    own: Float[Tensor, "batch _"] | None
    batch: Batch
    runtime: Runtime


class AbstractFusion(nn.Module, ABC):
    """Makes class logits of the features of several encoders.

    Attributes:
        predicts_alone: whether it predicts from the run's own network, without the encoders.
        weighs: whether it says how much each encoder counts.
    """

    predicts_alone: bool = False
    weighs: bool = False

    @abstractmethod
    def forward(self, parts: Sequence[Float[Tensor, "batch _"]], own: Float[Tensor, "batch _"] | None = None) -> Fused:
        """Return the logits.

        Args:
            parts: features of each encoder in order, of all levels one after the other.
            own: features of the run's own network, where the fusion reads them.
        """

    def prepare(
        self, parts: Sequence[Float[Tensor, "n _"]], labels: Int[Tensor, " n"], *, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return values of the fusion's buffers that follow from the training images; by default none.

        Args:
            parts: features of all training images, of each encoder.
            labels: their classes.
            generator: random numbers, the same in every process.

        Raises:
            DataError: there are too few images.
        """
        del parts, labels, generator
        return {}

    def further_losses(self, fused: Fused, step: FusionStep) -> Mapping[str, Float[Tensor, ""]]:
        """Return what is added to the loss of the labels, by name, each with its weight; by default nothing.

        Averaged over the processes, each has the gradient of one process that holds the joined batch.
        """
        del fused, step
        return {}


@dataclass(frozen=True, kw_only=True)
class FusionConfig(FamilyOptions):
    """How the encoders are put together; each fusion has options of its own, nested in it as ``Config``."""

    family = "pretexts.fusions"

    @property
    def reads_own(self) -> bool:
        """Whether the run's own network is trained and read along with the encoders; by default it is not."""
        return False

    @property
    def prepares(self) -> bool:
        """Whether the fusion looks at all training images before the first step; by default it does not."""
        return False

    @abstractmethod
    def build(self, shapes: EncoderShapes) -> AbstractFusion:
        """Return the fusion, on the CPU; its first weights come from streams named after level and encoder.

        Raises:
            OptionError: an option does not fit the encoders.
        """


def joined_mean(rows: Float[Tensor, "batch n"], step: FusionStep) -> Float[Tensor, " n"]:
    """Return the mean row over the joined batch, the same in every process and differentiable there."""
    means = torch.stack([step.batch.mean(column) for column in rows.unbind(1)])
    return step.runtime.differentiable_sum(means) / step.runtime.num_processes
