"""Heads alone, on a backbone that stays as it is: a linear probe, or the warm-up of heads before BiSSL."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.optim import Optimizer

from auxo.interfaces import (
    AbstractImagePretext,
    AbstractMethod,
    AbstractNetworks,
    PretextHead,
    PretextMethodConfig,
    TrainState,
    View,
)
from auxo.layers.batch_norm import use_running_statistics
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.simclr import SimCLR
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import Batches, Images, Metrics

SOURCE = (
    "As a stage of BiSSL (Zakarias, Hansen, Tan, arXiv 2410.02387) after its released code: the class head is trained "
    "on the frozen backbone for 20 epochs at a constant rate. There the pretext's heads come trained from pretraining. "
    "Ours: they can be warmed up as well, for backbones that come without them; the backbone normalises by its running "
    "statistics meanwhile."
)


class LinearProbe(AbstractMethod):
    """Trains a linear class head, and if asked for the heads of a pretext, on fixed features.

    Args:
        config: options.
        networks: give the backbone, of which neither weights nor running statistics move.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PretextMethodConfig):
        """Options of a linear probe."""

        serves = (Classification,)

        optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(lr=0.03, schedule="constant", nesterov=False),
            metadata={"search": {"lr": "around:10"}},
        )
        """How the heads follow their gradients."""
        warm_up_pretext: bool = False
        """Train the heads of the pretext, too, on its views of all images."""

        @property
        def needs_pretext(self) -> bool:
            """Whether the pretext's heads are warmed up."""
            return self.warm_up_pretext

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse what is for the backbone, which stays as it is, and parts of what a pretext compares."""
            fixed = dict.fromkeys(("backbone_rate", "layer_decay", "freeze_epochs"), "the backbone is never trained")
            if not self.warm_up_pretext or isinstance(self.chosen_pretext, AbstractImagePretext):
                return fixed
            return {**fixed, "accumulate": "a pretext of two views compares the images of a batch"}

        @classmethod
        def tiny(cls) -> "LinearProbe.Config":
            """Return options with narrow heads."""
            return cls(pretext=SimCLR.Config(hidden=16, outputs=8))

        def required_views(self) -> dict[str, View]:
            """Return the labelled images as ``train``, and with a pretext its views."""
            return {"train": View(), **(self.chosen_pretext.views() if self.warm_up_pretext else {})}

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.backbone.requires_grad_(False)
        self.semantic = networks.linear_head("semantic")
        self.pretext = (
            config.chosen_pretext.build(self.backbone, seed=networks.seed) if config.warm_up_pretext else None
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over the heads."""
        frozen = self.frozen_parameters()
        return {"main": self.config.optimizer.build([p for name, p in self.named_parameters() if name not in frozen])}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step of the heads."""
        batch = batches["train"]
        with runtime.autocast(), use_running_statistics(self.backbone):
            logits = self.semantic(self.backbone(batch.images).pooled)
        classification_loss = batch.mean(self.task.losses(logits, batch.targets))
        if self.pretext is None:
            runtime.step(state.optimizers["main"], classification_loss)
            return {"classification_loss": classification_loss.detach()}
        inputs = self.pretext.prepare(batches, draws=state.draws, runtime=runtime)
        self.pretext.follow(self.backbone, progress=state.progress)
        with runtime.autocast(), use_running_statistics(self.backbone):
            pretext_loss = self.pretext(self.backbone, inputs).loss
        runtime.step(state.optimizers["main"], classification_loss + pretext_loss)
        return {"classification_loss": classification_loss.detach(), "pretext_loss": pretext_loss.detach()}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the class head, ``semantic``."""
        return {"semantic": self.semantic(self.backbone(images).pooled)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the pretext's heads whose answers are classes, if they are trained."""
        return {} if self.pretext is None else self.pretext.heads(self.backbone)

    def frozen_parameters(self) -> dict[str, str]:
        """Return the backbone, and what of the pretext follows other weights."""
        frozen = {f"backbone.{name}": "fixed features" for name, _ in self.backbone.named_parameters()}
        if self.pretext is not None:
            frozen |= {f"pretext.{name}": reason for name, reason in self.pretext.frozen_parameters().items()}
        return frozen


def recipe() -> ExperimentConfig:
    """Return a linear probe of a backbone on the built-in digits; give it weights by ``--backbone``."""
    return ExperimentConfig(stages=(StageConfig(method=LinearProbe.Config()),))
