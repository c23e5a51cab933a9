"""BiSSL's four stages: pretraining, warm-up of the class head, the bilevel stage, fine-tuning."""

from dataclasses import replace

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.methods.bissl import BiSSL
from auxo.methods.linear_probe import LinearProbe
from auxo.methods.pretrain import Pretraining
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.simclr import SimCLR
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig, Transfer
from auxo.solvers.layerwise import LayerwiseSolver

_TRANSFERS = (
    Transfer(stage="pretrain", part="backbone", to="backbone"),
    Transfer(stage="pretrain", part="backbone", to="upper.backbone"),
    Transfer(stage="pretrain", part="pretext", to="pretext"),
    Transfer(stage="warm-up", part="semantic", to="upper.semantic"),
)
_SMALL = OptimizerConfig(lr=0.03, nesterov=False, schedule="cosine", moves="step")


def recipe() -> ExperimentConfig:
    """Return the four stages with SimCLR on the built-in digits, 250 of them labelled.

    Ours, for small networks: SGD on both levels, fewer and smaller steps in the released proportion of 5 to 2.
    """
    bilevel = BiSSL.Config(
        optimizer=_SMALL, lower_optimizer=_SMALL, lower_steps=10, upper_steps=4, pretext_ratio=2, curvature_ratio=1
    )
    return ExperimentConfig(
        stages=(
            StageConfig(name="pretrain", method=Pretraining.Config(), epochs=15, batch_size=128),
            StageConfig(name="warm-up", method=LinearProbe.Config(), epochs=20, start_from="pretrain"),
            StageConfig(name="bilevel", method=bilevel, epochs=20, transfers=_TRANSFERS),
            StageConfig(name="fine-tune", method=Supervised.Config(optimizer=_SMALL), epochs=60, start_from="bilevel"),
        ),
        pretext=SimCLR.Config(),
        data=DataConfig(num_labelled=250, augment="crop"),
        training=TrainingConfig(evaluate_every=10),
    )


def from_pretrained() -> ExperimentConfig:
    """Return BiSSL without pretraining, from a backbone that has weights: give it some by ``--backbone``.

    The warm-up trains the pretext's heads along with the class head.
    """
    run = recipe()
    _, warm_up, bilevel, fine_tuning = run.stages
    transfers = tuple(replace(transfer, stage="warm-up") for transfer in _TRANSFERS)
    stages = (
        replace(warm_up, method=LinearProbe.Config(warm_up_pretext=True), start_from="scratch"),
        replace(bilevel, transfers=transfers),
        fine_tuning,
    )
    return replace(run, stages=stages)


def released() -> ExperimentConfig:
    """Return the settings of the released code for SimCLR with a ResNet-50 at 96 pixels.

    Of its last version; the upper rates are those for CIFAR-10. Pass your images by ``--data.train`` and
    ``--data.unlabelled``; the release has ImageNet as the latter. All parts of images have an aspect ratio from 1:2 to
    1:1, and pixels are normalised by ImageNet's statistics, as there. Differs: rate and decay of fine-tuning were
    searched for there; a tenth of the training images validates; schedules begin with the warm-up's first step; parts
    are taken of the middle of an image scaled to 96 pixels, not of the whole image, and bicubic for the downstream
    task, too, where the release is bilinear; test images are their middle at 96 pixels, where the release takes 96 of
    109.
    """
    lars = OptimizerConfig(
        name="lars", lr=4.8, weight_decay=1e-6, schedule="cosine", moves="step", minimum_lr=4.8e-3, warmup_epochs=10
    )
    upper = OptimizerConfig(
        lr=0.015, nesterov=False, weight_decay=1e-3, schedule="cosine", moves="step", minimum_lr=1.5e-5
    )
    bilevel = BiSSL.Config(
        optimizer=upper,
        lower_optimizer=replace(lars, lr=1.0, minimum_lr=1e-3),
        solver=LayerwiseSolver(),
        batch_norm="move",
    )
    return ExperimentConfig(
        stages=(
            StageConfig(name="pretrain", method=Pretraining.Config(optimizer=lars), epochs=500, batch_size=1024),
            StageConfig(
                name="warm-up",
                method=LinearProbe.Config(optimizer=replace(upper, schedule="constant")),
                epochs=20,
                batch_size=256,
                start_from="pretrain",
            ),
            StageConfig(name="bilevel", method=bilevel, epochs=500, batch_size=256, transfers=_TRANSFERS),
            StageConfig(
                name="fine-tune",
                method=Supervised.Config(optimizer=upper),
                epochs=400,
                batch_size=256,
                start_from="bilevel",
            ),
        ),
        pretext=SimCLR.Config(),
        backbone=BackboneConfig(name="resnet50"),
        data=DataConfig(
            scenario="cifar10",
            image_size=96,
            augment="crop_resize_flip",
            crop_aspect=(0.5, 1.0),
            normalise="imagenet",
        ),
        training=TrainingConfig(evaluate_every=10),
    )
