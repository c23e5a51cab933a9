"""Pixels of all images brought together by auxiliary labels, without masks and without a classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor
from torch.optim import Optimizer

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.interfaces import TrainState, View
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import AbstractPixelMethod, PixelMethodConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runtime import Runtime
from auxo.tasks import TaskConfig
from auxo.types import Batches, Images, Metrics

SOURCE = (
    "After Zhang, Torr, Ranftl, Richter, Looking Beyond Single Images for Contrastive Semantic Segmentation Learning, "
    "NeurIPS 2021, of which only the abstract could be read and no code exists. Theirs, by the abstract: a feature "
    "extractor, from networks trained without labels to segmentation networks trained on few, gives auxiliary labels "
    "of pixels that hold across images, and these say which pixels are positives and negatives of each other. All else "
    "is a reconstruction: labels are made once, before the first step, by clustering or by a network; the loss is that "
    "of auxo.pretexts.pixels; backbone and decoder are trained, then fine-tuned by the method segmenter in a second "
    "stage, as Zhao et al. (ICCV 2021, arXiv 2012.06985) have it. Ours: tint and contrast of each image drawn anew, "
    "cross-entropy on the same labels as another objective. Labels are not made anew while training."
)


class PixelContrast(AbstractPixelMethod):
    """Trains backbone and decoder by an objective on auxiliary labels; a later stage starts from both.

    The labels move with the pixels of an image; places from outside it have none.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PixelMethodConfig):
        """Options of pretraining by auxiliary labels of pixels."""

        optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(name="adamw", lr=3e-3, schedule="cosine", moves="step"),
            metadata={"search": {"lr": "around:10"}},
        )
        """How the weights follow their gradients."""
        images: Literal["all", "labelled"] = "all"
        """Images that are trained on: all, or those with masks alone, as supervised contrast with the labeller oracle
        has it."""
        retint: bool = True
        """Take each image's tint and contrast out and draw both anew: else colours that all pixels of an image share
        tell images apart, and the objective is met without looking at textures."""

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch, whose pixels are compared."""
            return {
                "accumulate": "pixels are compared across the images of a batch",
                "label_smoothing": "no head learns classes",
            }

        @property
        def labelled_split(self) -> str:
            """See :class:`auxo.pretexts.PixelMethodConfig`."""
            return "images" if self.images == "all" else "train"

        def required_views(self) -> dict[str, View]:
            """Return the images as ``first``."""
            return {"first": View(self.labelled_split, augment="retint" if self.retint else None)}

    config: Config
    head_names = ()

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over all trained weights."""
        return {"main": self.config.optimizer.build(self.trained_parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the objective."""
        answer = self.auxiliary_loss(state, batches["first"], runtime)
        runtime.step(state.optimizers["main"], answer.loss)
        return self.measure_objective(answer)

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return nothing: there is no head for the classes."""
        del images
        return {}


def recipe() -> ExperimentConfig:
    """Return pretraining on generated scenes of textures; ``auxo train segmentation`` fine-tunes after it."""
    return ExperimentConfig(
        stages=(StageConfig(method=PixelContrast.Config(), epochs=20, batch_size=8),),
        task=TaskConfig(name="segmentation"),
        backbone=BackboneConfig(name="conv4"),
        data=DataConfig(scenario="textured_scenes"),
        training=TrainingConfig(evaluate_every=20),
    )
