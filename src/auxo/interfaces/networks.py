"""The networks that a method is built around."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from torch import nn

from auxo.interfaces.backbone import AbstractBackbone
from auxo.layers.heads import linear_head
from auxo.tasks import AbstractTask, Target


@runtime_checkable
class BuildsBackbone(Protocol):
    """What a backbone is made from, such as :class:`auxo.backbones.BackboneConfig`."""

    def build(
        self, task: AbstractTask, *, seed: int, stream: str = "backbone", first_weights: bool = True
    ) -> AbstractBackbone:
        """Return the backbone for the images of ``task``, its first weights from the stream ``init/STREAM``."""


class AbstractNetworks(ABC):
    """The networks of a method: the backbone that the stages of a run share, and others for which it asks.

    Attributes:
        backbone: the shared one, with the first weights of the stream ``init/backbone``.
        task: what is to be predicted, and the size of images.
        seed: of the run, for the first weights of heads.
        columns: further columns of the data that the run learns, by name, as the training images have them: those in
            the :attr:`MethodConfig.learned_columns` of its stages.
        begins_trained: whether the shared one begins from weights that are not random.
    """

    backbone: AbstractBackbone
    task: AbstractTask
    seed: int
    columns: Mapping[str, Target] = MappingProxyType({})
    begins_trained: bool = False

    def linear_head(self, name: str, num_outputs: int | None = None) -> nn.Linear:
        """Return a linear head on the shared backbone, its first weights from the stream ``init/NAME``.

        Args:
            name: of the head.
            num_outputs: numbers that it gives; ``None`` means those of the task.
        """
        count = self.task.num_outputs if num_outputs is None else num_outputs
        return linear_head(name, self.backbone.num_features, count, seed=self.seed)

    @abstractmethod
    def new(self, name: str, backbone: BuildsBackbone | None = None) -> AbstractBackbone:
        """Return another network that the method trains.

        Args:
            name: says which stream its first weights come from, ``init/NAME``; each network has its own.
            backbone: what to make it from; ``None`` means the architecture of the shared one, with random weights.

        Raises:
            ConfigError: the name is taken.
        """

    @abstractmethod
    def load(
        self,
        name: str,
        source: str,
        *,
        backbone: BuildsBackbone | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> AbstractBackbone:
        """Return a trained network that stays as it is: no gradient reaches its weights, and batch norm is fixed.

        It takes the inputs of the method and normalises them anew, as it was trained. The run keeps a copy of it
        beside its checkpoints, which is read whenever the run is; the source is needed once.

        Args:
            name: of the copy; each network of a run has its own.
            source: the directory of a finished run, whose backbone is meant; a safetensors file; or a backbone with
                published weights, such as ``efficientnet_lite0`` or ``timm:resnet18``.
            backbone: architecture of a file; ``None`` means that of the shared one. Beside a run whose backbone is in
                a file of the user's, that backbone.
            mean: per-channel mean of pixels in [0, 1] that the network expects; empty means what the source says.
            std: the standard deviation, likewise.

        Raises:
            ConfigError: the name is taken, the source cannot be read, or does not say how images are normalised.
            CheckpointError: the weights are damaged or another network's.
        """
