"""Encoders trained by several pretexts, then one fusion of them; and encoders that are there already."""

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.interfaces import PretextConfig
from auxo.methods.multi_pretext import MultiPretext, place_of
from auxo.methods.pretrain import Pretraining
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.channel_shuffle import ChannelShuffle
from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.lorot import LoRot
from auxo.pretexts.rotation import Rotation
from auxo.pretexts.simclr import SimCLR
from auxo.runs.controls import control_of
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig, Transfer

_PRETEXTS: dict[str, PretextConfig] = {
    "rotation": Rotation("random"),
    "jigsaw": Jigsaw(grid=2),
    "lorot": LoRot(),
    "simclr": SimCLR.Config(hidden=128, outputs=64),
}
_HEADS = Attention.Config(heads=4)
"""With one head a weight chooses whole encoders, and few labels are learned by heart through the choice."""


def recipe() -> ExperimentConfig:
    """Return four encoders, each trained by a pretext on the built-in digits, and attention over them with 250 labels.

    Each stage begins from weights of its own.
    """
    encoders = tuple(_train_encoder(name, pretext, epochs=10) for name, pretext in _PRETEXTS.items())
    return ExperimentConfig(
        stages=(*encoders, _fuse_encoders(MultiPretext.Config(trained=tuple(_PRETEXTS), fusion=_HEADS), epochs=100)),
        data=DataConfig(num_labelled=250, augment="crop"),
        training=TrainingConfig(evaluate_every=10),
    )


def cifar10() -> ExperimentConfig:
    """Return four encoders with ResNet-18 on CIFAR-10, and attention over them with 1,000 labels; the values are ours.

    Encoders are trained for 200 epochs each, on all training images. Allow hours on a GPU.
    """
    pretexts = {**_PRETEXTS, "simclr": SimCLR.Config(), "channel_shuffle": ChannelShuffle()}
    del pretexts["lorot"]
    encoders = tuple(_train_encoder(name, each, epochs=200, batch_size=256) for name, each in pretexts.items())
    return ExperimentConfig(
        stages=(*encoders, _fuse_encoders(MultiPretext.Config(trained=tuple(pretexts), fusion=_HEADS), epochs=100)),
        backbone=BackboneConfig(name="resnet18"),
        data=DataConfig(scenario="cifar10", num_labelled=1000, augment="crop_flip"),
        training=TrainingConfig(evaluate_every=20),
    )


@control_of("multi_pretext")
def joint() -> ExperimentConfig:
    """Return the control of one encoder that all four pretexts train at once, and a probe of it, on the digits."""
    first, *others = _PRETEXTS
    method = Pretraining.Config(pretext=_PRETEXTS[first], further=tuple(others))
    stage = StageConfig(name="encoder", method=method, epochs=10, batch_size=128)
    fuse = _fuse_encoders(MultiPretext.Config(trained=("encoder",)), epochs=100)
    return ExperimentConfig(
        stages=(stage, fuse),
        data=DataConfig(num_labelled=250, augment="crop"),
        training=TrainingConfig(evaluate_every=10),
    )


def given() -> ExperimentConfig:
    """Return attention over encoders that are there already, on the built-in digits: name some.

    As in ``auxo train auxo.recipes.multi_pretext:given --method.encoders runs/one runs/other``.
    """
    stage = StageConfig(method=MultiPretext.Config(encoders=("...",), fusion=_HEADS), epochs=100, batch_size=128)
    return ExperimentConfig(stages=(stage,), training=TrainingConfig(evaluate_every=10))


def _train_encoder(name: str, pretext: PretextConfig, *, epochs: int, batch_size: int = 128) -> StageConfig:
    """Return a stage that trains one encoder, from weights that no other begins with."""
    optimizer = OptimizerConfig(lr=0.06, nesterov=False, schedule="cosine", moves="step", warmup_epochs=1)
    method = Pretraining.Config(pretext=pretext, first_weights=name, optimizer=optimizer)
    return StageConfig(name=name, method=method, epochs=epochs, batch_size=batch_size)


def _fuse_encoders(method: MultiPretext.Config, *, epochs: int) -> StageConfig:
    """Return the stage that fuses the encoders of earlier stages."""
    transfers = tuple(Transfer(stage=name, part="backbone", to=place_of(name)) for name in method.trained)
    return StageConfig(name="fuse", method=method, epochs=epochs, batch_size=128, transfers=transfers)
