"""Classification and a pretext of one image together, on one backbone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from auxo.errors import ConfigError, OptionError
from auxo.interfaces import (
    AbstractImagePretext,
    AbstractNetworks,
    AbstractPretextMethod,
    ImagePretextModule,
    PretextMethodConfig,
    TrainState,
    View,
)
from auxo.options import LATER, Range
from auxo.pretexts.rotation import Rotation
from auxo.random import Draws
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import Batch, Batches, Images, Metrics

SOURCE = (
    "With rotation: Deng, Gould, Zheng, What Does Rotation Prediction Tell Us about Classifier Accuracy under Varying "
    "Testing Environments?, ICML 2021 (arXiv 2106.05961). The paper's equation has all four rotations (expand, our "
    "default); its released code trains on one random rotation per image (random). Other pretexts here are ours. "
    "With unlabelled images from elsewhere: after Sun, Tzeng, Darrell, Efros, Unsupervised Domain Adaptation through "
    "Self-Supervision, 2019 (arXiv 1909.11825), who train pretexts on source and target images together, several of "
    "them, and stop by the distance of the features' means; one pretext and neither stop here."
)


class JointTraining(AbstractPretextMethod):
    """Two linear heads on the backbone; one step per batch on the sum of both losses.

    Two forward passes, so that batch norm sees the images and the pretext's inputs apart, as the released code of Deng
    et al. does; one where the upright images are shared.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    pretext: ImagePretextModule

    @dataclass(frozen=True, kw_only=True)
    class Config(PretextMethodConfig):
        """Options of joint training."""

        serves = (Classification,)

        pretext_weight: Annotated[float, Range(above=0)] = field(default=1.0, metadata={"search": "log:0.1,10"})
        """Weight of the pretext's loss beside the classification loss; the papers have 1."""
        shared_upright: bool = False
        """Take the class logits from the pretext's inputs, of which the first are the images as they are (rotation with
        mode expand): one forward pass fewer, other batch norm."""
        unlabelled_weight: Annotated[float, Range(low=0)] = field(default=0.0, metadata=LATER)
        """Weight of the pretext's loss on as many unlabelled images in each step, such as those of --data.unlabelled,
        from where the network will be used; 0 needs none."""

        def required_views(self) -> dict[str, View]:
            """Return the training images, and the unlabelled ones where they count."""
            return {"train": View(), **({"unlabelled": View("unlabelled")} if self.unlabelled_weight else {})}

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse nothing: both losses are means over images."""
            return {}

        @classmethod
        def tiny(cls) -> "JointTraining.Config":
            """Return options with rotation."""
            return cls(pretext=Rotation())

        @property
        def chosen_pretext(self) -> AbstractImagePretext:
            """The pretext, which must be one of one image.

            Raises:
                ConfigError: it is not, or its inputs do not begin with the upright images that are to be shared.
            """
            pretext = super().chosen_pretext
            if not isinstance(pretext, AbstractImagePretext):
                fix = "choose one such as --pretext.name rotation, or pretrain with this one"
                raise ConfigError("a pretext of one image for JointTraining", pretext.label, fix)
            if self.shared_upright and not pretext.begins_upright:
                rule, fix = "off, where no pretext input is the image as it is", "choose rotation with mode expand"
                raise OptionError("shared_upright", rule, f"on with {pretext.label}", fix)
            return pretext

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.semantic = networks.linear_head("semantic")
        self.pretext = config.chosen_pretext.build(self.backbone, seed=networks.seed)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over everything."""
        return {"main": self.config.optimizer.build(self.parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on classification plus the pretext's loss."""
        batch = batches["train"]
        inputs = self.pretext.prepare({"first": batch}, draws=state.draws, runtime=runtime)
        with runtime.autocast():
            if self.config.shared_upright:
                features = self.backbone(inputs.made.inputs).pooled
                logits = self.semantic(features[: len(batch)])
                pretext_loss = self.pretext.answer_features(features, inputs).loss
            else:
                logits = self.semantic(self.backbone(batch.images).pooled)
                pretext_loss = self.pretext(self.backbone, inputs).loss
        classification_loss = batch.mean(self.task.losses(logits, batch.targets))
        loss = classification_loss + self.config.pretext_weight * pretext_loss
        metrics = {"classification_loss": classification_loss.detach(), "pretext_loss": pretext_loss.detach()}
        if self.config.unlabelled_weight:
            unlabelled_loss = self._answer_unlabelled(state, batches["unlabelled"], runtime)
            loss = loss + self.config.unlabelled_weight * unlabelled_loss
            metrics["unlabelled_loss"] = unlabelled_loss.detach()
        runtime.step(state.optimizers["main"], loss)
        return metrics

    def _answer_unlabelled(self, state: TrainState, batch: Batch, runtime: Runtime) -> Float[Tensor, ""]:
        """Return the pretext's loss on unlabelled images, in a forward pass of their own, with draws of their own."""

        def draw(stream: str, drawn: Batch) -> Draws:
            return state.draws(f"unlabelled/{stream}", drawn)

        inputs = self.pretext.prepare({"first": batch}, draws=draw, runtime=runtime)
        with runtime.autocast():
            loss: Tensor = self.pretext(self.backbone, inputs).loss
        return loss

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the class head, ``semantic``."""
        return {"semantic": self.semantic(self.backbone(images).pooled)}


def recipe() -> ExperimentConfig:
    """Return joint training with rotation, of a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=JointTraining.Config()),), pretext=Rotation())
