"""Classification alone: the baseline without any auxiliary task."""

from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from auxo.experiment import ExperimentConfig, StageConfig
from auxo.heads import linear_head
from auxo.interfaces import AbstractBackbone, AbstractMethod, MethodConfig, TrainState
from auxo.losses import cross_entropy_losses
from auxo.runtime import Runtime
from auxo.types import Batches, Images, Metrics, Task

__all__ = ["Supervised", "recipe"]

SOURCE = "The baseline of every paper: softmax cross-entropy on labelled images. One step per batch."


class Supervised(AbstractMethod):
    """One linear head on the backbone, trained by cross-entropy.

    Args:
        config: options.
        backbone: the network.
        task: the classes.
        seed: for the head's first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of supervised training: the optimiser only."""

        def build(self, backbone: AbstractBackbone, task: Task, *, seed: int) -> "Supervised":
            """Return the method around ``backbone``."""
            return Supervised(self, backbone, task, seed=seed)

    def __init__(self, config: Config, backbone: AbstractBackbone, task: Task, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.task = task
        self.backbone = backbone
        self.semantic = linear_head("semantic", backbone.num_features, task.num_classes, seed=seed)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over everything."""
        return {"main": self.config.optimizer.build(self.parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the mean cross-entropy of the batch."""
        batch = batches["train"]
        with runtime.autocast():
            logits = self.semantic(self.backbone(batch.images).pooled)
        loss = batch.mean(cross_entropy_losses(logits, batch.labels))
        runtime.step(state.optimizers["main"], loss)
        return {"classification_loss": loss.detach()}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the only head, ``semantic``."""
        return {"semantic": self.semantic(self.backbone(images).pooled)}


def recipe() -> ExperimentConfig:
    """Return supervised training of a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=Supervised.Config()),))
