"""Classification and rotation prediction together, on one backbone."""

import math
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor
from torch.optim import Optimizer

from auxo.errors import ConfigError
from auxo.interfaces import AbstractMethod, AbstractNetworks, MethodConfig, PretextHead, TrainState
from auxo.joint import check_shared_upright, joint_features
from auxo.pretexts.rotation import Rotation
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import Batches, Images, Metrics

SOURCE = (
    "Deng, Gould, Zheng, What Does Rotation Prediction Tell Us about Classifier Accuracy under Varying Testing "
    "Environments?, ICML 2021 (arXiv 2106.05961). The paper's equation has all four rotations (expand, our default); "
    "its released code trains on one random rotation per image (random)."
)


class JointRotation(AbstractMethod):
    """Two linear heads on the backbone; one step per batch on the sum of both losses.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of joint training."""

        serves = (Classification,)

        rotation: Literal["expand", "random"] = "expand"
        """All four rotations of every image, or one random rotation of each."""
        rotation_weight: float = field(default=1.0, metadata={"search": "log:0.1,10"})
        """Weight of the rotation loss beside the classification loss, > 0; the papers have 1."""
        shared_upright: bool = False
        """Take the class logits from the rotated batch's upright block: one forward pass fewer, other batch norm."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_shared_upright(self.rotation, shared_upright=self.shared_upright)
            if not 0 < self.rotation_weight < math.inf:
                got = str(self.rotation_weight)
                raise ConfigError("rotation-weight > 0 and finite", got, "use the method supervised for none")

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.pretext = Rotation(config.rotation)
        self.semantic = networks.linear_head("semantic")
        self.rotation = networks.linear_head("rotation", self.pretext.num_outputs)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over everything."""
        return {"main": self.config.optimizer.build(self.parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on classification plus rotation loss."""
        batch = batches["train"]
        with runtime.autocast():
            features = joint_features(
                self.backbone,
                self.pretext,
                batch.images,
                draws=state.draws("rotation", batch),
                shared_upright=self.config.shared_upright,
            )
            logits = self.semantic(features.upright)
            rotation_logits = self.rotation(features.pretext)
        classification_loss = batch.mean(self.task.losses(logits, batch.targets))
        rotation_loss = batch.mean(self.pretext.loss(rotation_logits, features.targets))
        runtime.step(state.optimizers["main"], classification_loss + self.config.rotation_weight * rotation_loss)
        return {"classification_loss": classification_loss.detach(), "rotation_loss": rotation_loss.detach()}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the class head, ``semantic``."""
        return {"semantic": self.semantic(self.backbone(images).pooled)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the rotation head."""
        return {"rotation": PretextHead(self.pretext, lambda images: self.rotation(self.backbone(images).pooled))}


def recipe() -> ExperimentConfig:
    """Return joint training of a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=JointRotation.Config()),))
