"""MAXL on the built-in digits, its labels learned anew by a network that starts afresh, and the released run."""

from dataclasses import replace

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.methods.maxl import MAXL
from auxo.optimizers import OptimizerConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, Transfer

_FAST = OptimizerConfig(lr=0.05)
_TEACHER = OptimizerConfig(name="adamw", lr=0.01)
_DIGITS = MAXL.Config(
    optimizer=_FAST,
    generator_optimizer=_TEACHER,
    passes="interleaved",
    hidden=64,
    gamma=0.0,
    entropy_weight=0.005,  # at the released 0.2 the labels end uniform: see the method's page
    image_rewards=True,
)


def recipe() -> ExperimentConfig:
    """Return MAXL with LeNet-5 on the built-in digits, both levels step by step."""
    return ExperimentConfig(stages=(StageConfig(method=_DIGITS),))


def relabelled() -> ExperimentConfig:
    """Return two stages: MAXL, and a network with first weights that learns the sub-classes that MAXL ended with."""
    anew = replace(_DIGITS, labels="earlier")
    taken = Transfer(stage="invent", part="generator", to="generator")
    return ExperimentConfig(
        stages=(
            StageConfig(name="invent", method=_DIGITS),
            StageConfig(name="learn", method=anew, transfers=(taken,)),
        )
    )


def cifar100_released() -> ExperimentConfig:
    """Return the released run on CIFAR-100: VGG-16, 20 classes of 5 sub-classes, 200 epochs, batches of 100."""
    return ExperimentConfig(
        backbone=BackboneConfig(name="vgg16"),
        data=DataConfig(scenario="cifar100", label_column="coarse"),
        stages=(StageConfig(method=MAXL.Config(), epochs=200, batch_size=100),),
    )
