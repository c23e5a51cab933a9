"""Classification and rotation, each with a weight that is learned: auxo train examples/my_method.py:recipe.

Source: Kendall, Gal, Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018 (arXiv 1705.07115).
"""

from dataclasses import dataclass

import torch

from auxo.interfaces import AbstractMethod, AbstractNetworks, MethodConfig, PretextHead, TrainState
from auxo.losses import cross_entropy_losses
from auxo.pretexts.rotation import Rotation
from auxo.runs import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.types import Batches, Images, Metrics


class LearnedWeights(AbstractMethod):
    """One step per batch on ``exp(-s) L_cls + s / 2 + exp(-t) L_rot + t / 2``; s and t are learned with the network."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """The optimiser alone. A field added here, with a docstring below it, becomes an option --method.field."""

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.pretext = Rotation().build(self.backbone, seed=networks.seed)
        self.semantic = networks.linear_head("semantic")
        self.log_variances = torch.nn.Parameter(torch.zeros(2))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self.config.optimizer.build(self.parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        batch, weights = batches["train"], (-self.log_variances).exp()
        inputs = self.pretext.prepare({"first": batch}, draws=state.draws, runtime=runtime)
        with runtime.autocast():
            logits = self.semantic(self.backbone(batch.images).pooled)
            rotation = self.pretext(self.backbone, inputs).loss
        classes = batch.mean(cross_entropy_losses(logits, batch.labels))
        runtime.step(state.optimizers["main"], weights @ torch.stack([classes, rotation]) + self.log_variances.mean())
        return {"class_loss": classes.detach(), "rotation_loss": rotation.detach(), "weight": weights[1].detach()}

    def head_logits(self, images: Images) -> dict[str, torch.Tensor]:
        return {"semantic": self.semantic(self.backbone(images).pooled)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        return self.pretext.heads(self.backbone)


def recipe() -> ExperimentConfig:
    """Return the run: the built-in digits and a LeNet-5 unless options say otherwise."""
    return ExperimentConfig(stages=(StageConfig(method=LearnedWeights.Config()),))
