"""Segmentation: backbone, decoder and a classifier of pixels, trained on images with masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated

from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.errors import OptionError
from auxo.interfaces import AbstractNetworks, StepPlan, TrainState, View
from auxo.layers.convolutions import enlarge_maps
from auxo.layers.heads import pixel_head
from auxo.losses import PixelLossConfig
from auxo.optimizers import OptimizerConfig
from auxo.options import Range, read_default
from auxo.pretexts import AbstractPixelMethod, PixelMethodConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runtime import Runtime
from auxo.tasks import Segmentation, TaskConfig
from auxo.types import MASK, Batches, Images, Metrics

SOURCE = (
    "The baseline of every paper on segmentation: softmax cross-entropy of the labelled pixels, a mean over those that "
    "are known; Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015 (arXiv "
    "1411.4038). Decoders after U-Net (arXiv 1505.04597) and DeepLabV3+ (arXiv 1802.02611). Ours: rates of the parts "
    "as factors on one rate; tint and contrast of each image drawn anew, an option."
)


_AUXILIARY = ("labeller", "objective", "auxiliary_after_epochs")
"""Options that only auxiliary labels read."""


class Segmenter(AbstractPixelMethod):
    """A decoder on the backbone's maps and a 1x1 classifier, trained by the loss of the known pixels.

    Logits have the decoder's resolution and are enlarged to the image by bilinear interpolation, in training, too. With
    an auxiliary weight, an objective on auxiliary labels of all images is added: joint training, as ContrastiveSeg
    (Wang et al., ICCV 2021, arXiv 2101.11939) adds its contrast after a warm-up.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PixelMethodConfig):
        """Options of segmentation."""

        loss: PixelLossConfig = field(default_factory=PixelLossConfig)
        """What the classifier learns by."""
        backbone_rate: Annotated[float, Range(above=0)] = 1.0
        """Factor on the learning rate for the backbone; 0.1 is usual after a stage that trained it, in many steps."""
        decoder_rate: Annotated[float, Range(above=0)] = 1.0
        """Factor on the learning rate for the decoder; 0.1 is usual after a stage that trained it, in many steps."""
        classifier_rate: Annotated[float, Range(above=0)] = 1.0
        """Factor on the learning rate for the classifier, whose first weights are always random."""
        retint: bool = False
        """Take each image's tint and contrast out and draw both anew, in training."""
        auxiliary_weight: Annotated[float, Range(low=0)] = 0.0
        """Weight of the objective on auxiliary labels of all images beside the loss of the classes; 0 makes none.
        ContrastiveSeg has 0.1 to 1."""
        auxiliary_after_epochs: Annotated[int, Range(low=0)] = 0
        """Epochs on the classes alone before the objective is added."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.auxiliary_weight:
                for item in fields(self):
                    if item.name in _AUXILIARY and getattr(self, item.name) != read_default(item):
                        rule, got = "as it is by default without auxiliary labels", "another, with auxiliary-weight 0"
                        raise OptionError(item.name, rule, got, "give --method.auxiliary-weight, such as 0.5")

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch: the loss is a mean over its known pixels."""
            return {
                "accumulate": "its loss is a mean over the known pixels of a batch, not over images",
                "backbone_rate": "method.backbone-rate says it",
                "label_smoothing": "its labels are those of pixels",
            }

        @property
        def uses_labels(self) -> bool:
            """Whether the objective has a weight."""
            return self.auxiliary_weight > 0

        def required_views(self) -> dict[str, View]:
            """Return the labelled images as ``train`` and, with auxiliary labels, all as ``images``."""
            augment = "retint" if self.retint else None
            views = {"train": View(augment=augment)}
            if self.uses_labels:
                views["images"] = View(self.labelled_split, augment=augment, stream="images")
            return views

        def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
            """Return a step on the classes alone, or with the objective beside them."""
            if not self.uses_labels:
                return super().plan(step, passes)
            if step < self.auxiliary_after_epochs * self.steps_per_epoch(passes):
                return StepPlan({"train": step}, kind="alone")
            return StepPlan({"train": step, "images": step}, kind="joint")

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        task = Segmentation.require(self.task)
        self.classifier = pixel_head("semantic", self.decoder.num_features, task.num_outputs, seed=networks.seed)
        try:
            self.pixel_loss = config.loss.build(task.class_names, pixel_counts=task.pixel_counts)
        except OptionError as error:
            raise error.under("loss") from error

    def optimizers(self) -> dict[str, Optimizer]:
        """Return an optimiser for each part that has weights."""
        parts = {"backbone": self.backbone, "decoder": self.decoder, "classifier": self.classifier}
        if self.objective is not None:
            parts["objective"] = self.objective
        trained = {name: [each for each in part.parameters() if each.requires_grad] for name, part in parts.items()}
        rates = {name: 1.0 if name == "objective" else getattr(self.config, f"{name}_rate") for name in parts}
        build = self.config.optimizer.build
        return {name: build(weights, rate=rates[name]) for name, weights in trained.items() if weights}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the loss of the known pixels, and on the objective where it counts."""
        batch = batches["train"]
        with runtime.autocast():
            logits = self._classify_pixels(batch.images)
        loss = self.pixel_loss(logits, batch.targets[MASK], runtime=runtime)
        metrics = {"segmentation_loss": loss.detach()}
        if state.kind == "joint":
            answer = self.auxiliary_loss(state, batches["images"], runtime)
            metrics |= self.measure_objective(answer)
            loss = loss + self.config.auxiliary_weight * answer.loss
        runtime.step_together([*state.optimizers.values()], loss)
        return metrics

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of every pixel, ``semantic``."""
        return {"semantic": self._classify_pixels(images)}

    def _classify_pixels(self, images: Images) -> Float[Tensor, "batch classes height width"]:
        """Return the logits at the size of the images."""
        logits: Tensor = self.classifier(self.decode_images(images))
        return enlarge_maps(logits, (images.shape[2], images.shape[3]))


def recipe() -> ExperimentConfig:
    """Return segmentation of generated scenes of textures with ten labelled images, with a small network."""
    optimizer = OptimizerConfig(name="adamw", lr=3e-3, schedule="cosine", moves="step")
    method = Segmenter.Config(optimizer=optimizer, retint=True)
    return ExperimentConfig(
        stages=(StageConfig(method=method, epochs=120, batch_size=8),),
        task=TaskConfig(name="segmentation"),
        backbone=BackboneConfig(name="conv4"),
        data=DataConfig(scenario="textured_scenes"),
        training=TrainingConfig(evaluate_every=20),
    )
