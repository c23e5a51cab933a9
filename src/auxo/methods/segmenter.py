"""Segmentation alone: backbone, decoder and a classifier of pixels, trained on labelled images."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.interfaces import AbstractMethod, AbstractNetworks, MethodConfig, TrainState, View
from auxo.layers.convolutions import enlarge_maps
from auxo.layers.decoders import DecoderConfig, list_unread, measure_maps
from auxo.layers.decoders.unet import UNet
from auxo.layers.heads import pixel_head
from auxo.losses import PixelLossConfig
from auxo.optimizers import OptimizerConfig
from auxo.options import Range
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runtime import Runtime, parameters_of
from auxo.tasks import Segmentation, TaskConfig
from auxo.types import MASK, Batches, Images, Metrics

SOURCE = (
    "The baseline of every paper on segmentation: softmax cross-entropy of the labelled pixels, a mean over those that "
    "are known; Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015 (arXiv "
    "1411.4038). Decoders after U-Net (arXiv 1505.04597) and DeepLabV3+ (arXiv 1802.02611). Ours: rates of the parts "
    "as factors on one rate; tint and contrast of each image drawn anew, an option."
)


class Segmenter(AbstractMethod):
    """A decoder on the backbone's maps and a 1x1 classifier, trained by the loss of the known pixels.

    Logits have the decoder's resolution and are enlarged to the image by bilinear interpolation, in training, too.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of segmentation."""

        serves = (Segmentation,)

        decoder: DecoderConfig = field(default_factory=UNet.Config)
        """How the backbone's maps become features of pixels."""
        loss: PixelLossConfig = field(default_factory=PixelLossConfig)
        """What the classifier learns by."""
        backbone_rate: Annotated[float, Range(above=0)] = 1.0
        """Factor on the learning rate for the backbone; 0.1 where an earlier stage has trained it."""
        decoder_rate: Annotated[float, Range(above=0)] = 1.0
        """Factor on the learning rate for the decoder; 0.1 where an earlier stage has trained it."""
        classifier_rate: Annotated[float, Range(above=0)] = 1.0
        """Factor on the learning rate for the classifier, whose first weights are always random."""
        retint: bool = False
        """Take each image's tint and contrast out and draw both anew, in training."""

        def required_views(self) -> dict[str, View]:
            """Return the labelled images as ``train``."""
            return {"train": View(augment="retint" if self.retint else None)}

        def schedule(self, name: str) -> OptimizerConfig:
            """Return the options of a part's optimiser: ``backbone``, ``decoder`` or ``classifier``."""
            rate: float = getattr(self, f"{name}_rate")
            return replace(self.optimizer, lr=rate * self.optimizer.lr, minimum_lr=rate * self.optimizer.minimum_lr)

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        task = Segmentation.require(self.task)
        self.decoder = config.decoder.build(measure_maps(self.backbone, task.image_shape), seed=networks.seed)
        self.classifier = pixel_head("semantic", self.decoder.num_features, task.num_outputs, seed=networks.seed)
        self.pixel_loss = config.loss.build(task.class_names, pixel_counts=task.pixel_counts)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return an optimiser for each part that has weights."""
        parts = {"backbone": self.backbone, "decoder": self.decoder, "classifier": self.classifier}
        trained = {name: [each for each in part.parameters() if each.requires_grad] for name, part in parts.items()}
        return {name: self.config.schedule(name).build(weights) for name, weights in trained.items() if weights}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the loss of the known pixels."""
        batch = batches["train"]
        with runtime.autocast():
            logits = self._classify_pixels(batch.images)
        loss = self.pixel_loss(logits, batch.targets[MASK], runtime=runtime)
        self._move_weights(state.optimizers, loss, runtime)
        return {"segmentation_loss": loss.detach()}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of every pixel, ``semantic``."""
        return {"semantic": self._classify_pixels(images)}

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parts of the backbone that no map leads through which the decoder reads."""
        unread = list_unread(self.backbone, self.decoder, self.task.image_shape)
        return {f"backbone.{name}": "the decoder reads no map behind it" for name in unread}

    def _classify_pixels(self, images: Images) -> Float[Tensor, "batch classes height width"]:
        """Return the logits at the size of the images."""
        features: Tensor = self.decoder(self.backbone(images).maps)
        return enlarge_maps(self.classifier(features), (images.shape[2], images.shape[3]))

    def _move_weights(self, optimizers: Mapping[str, Optimizer], loss: Float[Tensor, ""], runtime: Runtime) -> None:
        """Move every part by one backward pass: stepping the optimisers in turn would pass through the graph anew."""
        parts = {name: parameters_of(optimizer) for name, optimizer in optimizers.items()}
        gradients = torch.autograd.grad(loss, [each for part in parts.values() for each in part], allow_unused=True)
        averaged = iter(runtime.mean(gradients))
        for name, part in parts.items():
            runtime.apply(optimizers[name], [next(averaged) for _ in part])


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
