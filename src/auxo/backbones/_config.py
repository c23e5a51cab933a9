"""Which backbone a run uses, by configuration."""

from dataclasses import dataclass

from auxo.errors import ConfigError
from auxo.interfaces import AbstractBackbone
from auxo.random import derive_seed, global_seed
from auxo.registry import load
from auxo.types import Task

__all__ = ["BackboneConfig"]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The shared network and its first weights."""

    name: str = "lenet5"
    """A backbone's name (auxo list), or timm: and the name of a model of timm, such as timm:resnet18."""
    pretrained: bool = False
    """Start from timm's downloaded weights instead of random ones; only for timm:*, the others refuse."""

    def __post_init__(self) -> None:
        if self.pretrained and self._key != "timm":
            raise ConfigError(
                "a timm:* backbone with backbone.pretrained",
                repr(self.name),
                "pass --backbone.no-pretrained, or name a model of timm such as timm:resnet18",
            )

    @property
    def _key(self) -> str:
        """The registry's key: the name, without the model that follows timm:."""
        return "timm" if self.name.startswith("timm:") else self.name

    def build(self, task: Task, *, seed: int) -> AbstractBackbone:
        """Return the backbone for the images of ``task``, on the CPU.

        The first weights depend on the seed, the name and the number of channels alone: torch's global generators are
        seeded from the stream ``init/backbone`` for the time of building and put back after it.

        Args:
            task: gives the channels and the size of the images.
            seed: the run's seed.

        Raises:
            ConfigError: there is no such backbone, or its package is missing.
            ShapeError: the backbone cannot take images of this size.
        """
        module = load("backbones", self._key)
        options = {"pretrained": True} if self.pretrained else {}
        with global_seed(derive_seed(seed, "init", "backbone")):
            backbone: AbstractBackbone = module.build(
                self.name, channels=task.channels, height=task.height, width=task.width, **options
            )
        return backbone
