"""Pixels of all images brought together by auxiliary labels, then fine-tuning on the few that have masks."""

from dataclasses import replace

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.methods.pixel_contrast import PixelContrast
from auxo.methods.pretrain import Pretraining
from auxo.methods.segmenter import Segmenter
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.labellers import LabellerConfig
from auxo.pretexts.labellers.encoder import Encoder
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.pretexts.labellers.segmenter import Segmenter as SegmenterLabels
from auxo.pretexts.pixels import PixelObjectiveConfig
from auxo.pretexts.pixels.contrast import Contrast
from auxo.pretexts.pixels.cross_entropy import CrossEntropy
from auxo.pretexts.simclr import SimCLR
from auxo.runs.controls import control_of
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.tasks import TaskConfig

_RATES = OptimizerConfig(name="adamw", lr=3e-3, schedule="cosine", moves="step")
_INHERITED = 0.1
"""Part of the rate at which backbone and decoder of an earlier stage are fine-tuned on scenes."""
_EPOCHS, _FINE_EPOCHS = 20, 120
_PASSES = _EPOCHS * 200 // 10
"""Over ten images, that are as many images as those epochs over 200."""
_CONTRAST = Contrast.Config()


def recipe() -> ExperimentConfig:
    """Return contrast by texture labels on 200 generated scenes, then fine-tuning on ten that have masks."""
    return _run_stages(_build_pretraining(PatchEnergy.Config(), _CONTRAST), _build_fine_tuning())


@control_of("segmentation")
def none() -> ExperimentConfig:
    """Return the control without pretraining, at the schedule of the fine-tuning and the full rate everywhere."""
    return _run_stages(_build_fine_tuning(backbone_rate=1.0, decoder_rate=1.0))


@control_of("segmentation")
def none_longer() -> ExperimentConfig:
    """Return the control without pretraining that sees as many images as both stages together."""
    stage = _build_fine_tuning(backbone_rate=1.0, decoder_rate=1.0)
    return _run_stages(replace(stage, epochs=stage.epochs + _PASSES))


def joint() -> ExperimentConfig:
    """Return one stage in which the contrast is added to the loss of the classes, after a tenth of it."""
    method = Segmenter.Config(
        optimizer=_RATES, retint=True, objective=_CONTRAST, auxiliary_weight=0.5, auxiliary_after_epochs=30
    )
    return _run_stages(StageConfig(method=method, epochs=300, batch_size=8))


def cross_entropy() -> ExperimentConfig:
    """Return pretraining by cross-entropy on the same texture labels, then fine-tuning."""
    return _run_stages(_build_pretraining(PatchEnergy.Config(), CrossEntropy.Config()), _build_fine_tuning())


def within_image() -> ExperimentConfig:
    """Return contrast of pixels within each image alone, by the same texture labels, then fine-tuning."""
    objective = replace(_CONTRAST, positives="same_image", negatives="same_image")
    return _run_stages(_build_pretraining(PatchEnergy.Config(), objective), _build_fine_tuning())


def image_contrast() -> ExperimentConfig:
    """Return SimCLR of whole images, which hands over the backbone alone, then fine-tuning."""
    method = Pretraining.Config(pretext=SimCLR.Config(hidden=128, outputs=64), optimizer=_RATES)
    stage = StageConfig(name="pretrain", method=method, epochs=_EPOCHS, batch_size=50)
    # At a tenth of the rate a backbone learns next to nothing from a decoder that begins at random.
    return _run_stages(stage, _build_fine_tuning(backbone_rate=1.0, decoder_rate=1.0))


def supervised_contrast() -> ExperimentConfig:
    """Return contrast by the classes of the ten labelled images, as many steps as with all, then fine-tuning."""
    method = PixelContrast.Config(optimizer=_RATES, labeller=Oracle.Config(), objective=_CONTRAST, images="labelled")
    stage = StageConfig(name="pretrain", method=method, epochs=_PASSES, batch_size=8)
    return _run_stages(stage, _build_fine_tuning())


def self_training() -> ExperimentConfig:
    """Return cross-entropy on what a network trained on the ten labelled images says of all, then fine-tuning."""
    return _run_stages(_build_pretraining(SegmenterLabels.Config(), CrossEntropy.Config()), _build_fine_tuning())


def few_labels() -> ExperimentConfig:
    """Return contrast by the labels of a network trained on the ten labelled images, then fine-tuning."""
    return _run_stages(_build_pretraining(SegmenterLabels.Config(), _CONTRAST), _build_fine_tuning())


def oracle() -> ExperimentConfig:
    """Return the upper bound: contrast by the hidden masks of all images, then fine-tuning."""
    run = _run_stages(_build_pretraining(Oracle.Config(), _CONTRAST), _build_fine_tuning())
    return replace(run, data=replace(run.data, keep_hidden=True))


def camvid() -> ExperimentConfig:
    """Return the same on 40 labelled frames of CamVid, from ImageNet's weights, which also give the labels.

    Needs a copy of the set, and the extra ``pretrained``. Frames are 120x90; the values are ours.
    """
    labeller = Encoder.Config(clusters=24, layer="stage4")
    pretraining = StageConfig(
        name="pretrain",
        method=PixelContrast.Config(optimizer=_RATES, labeller=labeller, objective=_CONTRAST, retint=False),
        epochs=10,
        batch_size=8,
    )
    return _run_streets(pretraining, _build_street_tuning())


def camvid_none() -> ExperimentConfig:
    """Return the control of :func:`camvid`: fine-tuning from ImageNet's weights alone."""
    return _run_streets(_build_street_tuning())


def _build_pretraining(labeller: LabellerConfig, objective: PixelObjectiveConfig) -> StageConfig:
    """Return the first stage, on generated scenes."""
    method = PixelContrast.Config(optimizer=_RATES, labeller=labeller, objective=objective)
    return StageConfig(name="pretrain", method=method, epochs=_EPOCHS, batch_size=8)


def _build_fine_tuning(*, backbone_rate: float = _INHERITED, decoder_rate: float = _INHERITED) -> StageConfig:
    """Return the second stage, on generated scenes."""
    method = Segmenter.Config(optimizer=_RATES, backbone_rate=backbone_rate, decoder_rate=decoder_rate, retint=True)
    return StageConfig(name="fine-tune", method=method, epochs=_FINE_EPOCHS, batch_size=8)


def _build_street_tuning() -> StageConfig:
    """Return the stage that learns the classes of CamVid, everything at one rate.

    In so few steps a smaller rate for what was trained before is far behind on validation images.
    """
    method = Segmenter.Config(optimizer=_RATES)
    return StageConfig(name="fine-tune", method=method, epochs=60, batch_size=8)


def _run_stages(*stages: StageConfig) -> ExperimentConfig:
    """Return a run on generated scenes, each stage from the weights of the one before."""
    return ExperimentConfig(
        stages=_link_stages(stages),
        task=TaskConfig(name="segmentation"),
        backbone=BackboneConfig(name="conv4"),
        data=DataConfig(scenario="textured_scenes"),
        training=TrainingConfig(evaluate_every=20),
    )


def _run_streets(*stages: StageConfig) -> ExperimentConfig:
    """Return a run on CamVid."""
    return ExperimentConfig(
        stages=_link_stages(stages),
        task=TaskConfig(name="segmentation"),
        backbone=BackboneConfig(name="efficientnet_lite0", pretrained=True),
        data=DataConfig(scenario="camvid", num_labelled=40, augment="crop_flip"),
        training=TrainingConfig(evaluate_every=20, eval_batch_size=50),
    )


def _link_stages(stages: tuple[StageConfig, ...]) -> tuple[StageConfig, ...]:
    """Return the stages, each from the weights of the one before."""
    first, *others = stages
    linked = [replace(stage, start_from=before.name) for before, stage in zip(stages, others, strict=False)]
    return first, *linked
