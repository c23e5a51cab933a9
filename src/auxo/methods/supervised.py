"""Classification alone: the baseline without any auxiliary task."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.interfaces import AbstractMethod, AbstractNetworks, MethodConfig, TrainState
from auxo.layers.heads import HeadKind, class_head
from auxo.losses import LDAM, ClassLossConfig, CrossEntropy
from auxo.optimizers import OptimizerConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import LABEL, MIXED_LABEL, MIXED_PART, Batch, Batches, Images, Losses, Metrics

SOURCE = (
    "The baseline of every paper: softmax cross-entropy on labelled images. One step per batch. Class losses: LDAM and "
    "deferred re-weighting (Cao et al., NeurIPS 2019, arXiv 1906.07413, code kaidic/LDAM-DRW), focal loss (Lin et al., "
    "ICCV 2017, arXiv 1708.02002), weights by effective number (Cui et al., CVPR 2019, arXiv 1901.05555). Ours: class "
    "weights divide by their sum over the joined batch of all processes; focal loss takes its probability before the "
    "class weight, where the code of LDAM-DRW takes it after (weights_inside)."
)


class Supervised(AbstractMethod):
    """One head on the backbone, trained by a class loss; by default a linear head and cross-entropy.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of supervised training."""

        serves = (Classification,)

        class_loss: ClassLossConfig = field(default_factory=CrossEntropy)
        """What the head learns by."""
        head: HeadKind = "linear"
        """Linear, or cosine: normalised weights and features and no bias."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self.class_loss.check_head(self.head)

        @property
        def takes_mixed_labels(self) -> bool:
            """Whether the class loss is cross-entropy, which is linear in the labels."""
            return self.class_loss.smooths_labels

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse what the class loss has no form for."""
            return self.class_loss.refused_tuning

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        task = Classification.require(self.task)
        self.class_loss = config.class_loss.build(task.class_counts, head=config.head, smoothing=task.label_smoothing)
        self.semantic = class_head(
            config.head, "semantic", self.backbone.num_features, self.task.num_outputs, seed=networks.seed
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over everything."""
        return {"main": self.config.optimizer.build(self.trained_parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the mean class loss of the batch."""
        batch = batches["train"]
        with runtime.autocast():
            outputs = self.semantic(self.backbone(batch.images).pooled)
        loss = batch.mean(self._find_losses(outputs, batch, state, runtime))
        runtime.step(state.optimizers["main"], loss)
        return {"classification_loss": loss.detach()}

    def _find_losses(self, outputs: Tensor, batch: Batch, state: TrainState, runtime: Runtime) -> Losses:
        """Return the class loss of each image; of a mixed one that of both its labels, by their parts."""
        losses = self.class_loss.joined(outputs, batch, progress=state.progress, runtime=runtime)
        if MIXED_LABEL not in batch.targets:
            return losses
        other = replace(batch, targets={**batch.targets, LABEL: batch.targets[MIXED_LABEL]})
        others = self.class_loss.joined(outputs, other, progress=state.progress, runtime=runtime)
        return torch.lerp(others, losses, batch.targets[MIXED_PART].to(losses))

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the only head, ``semantic``."""
        return {"semantic": self.class_loss.logits(self.semantic(self.backbone(images).pooled))}


def recipe() -> ExperimentConfig:
    """Return supervised training of a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=Supervised.Config()),))


def cifar10_long_tailed() -> ExperimentConfig:
    """Return LDAM-DRW on long-tailed CIFAR-10: ResNet-32, ratio 0.01, 200 epochs, the last checkpoint.

    Optimiser, schedule, loss and augmentation are those of the released code of Cao et al., NeurIPS 2019. Differs: a
    tenth of the 50,000 training images validates, so the largest class has 4,500 images where the paper has 5,000; mean
    and standard deviation are those of the images that train.
    """
    optimizer = OptimizerConfig(
        lr=0.1, nesterov=False, weight_decay=2e-4, milestones=(0.8, 0.9), decay=0.01, warmup_epochs=5
    )
    loss = LDAM(class_weights="effective_number")
    method = Supervised.Config(optimizer=optimizer, class_loss=loss, head="cosine")
    return ExperimentConfig(
        stages=(StageConfig(method=method, epochs=200, batch_size=128),),
        backbone=BackboneConfig(name="resnet32_fan_in"),
        data=DataConfig(scenario="cifar10", imbalance="exp", imbalance_ratio=0.01, augment="crop_flip"),
    )
