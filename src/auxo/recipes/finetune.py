"""Fine-tuning of a network that was trained on ImageNet, for few photographs of your own."""

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig, TuningConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig


def recipe() -> ExperimentConfig:
    """Return EfficientNet-Lite0 from its published weights: a new head first, then all layers, at rates by depth.

    The weights are in the extra ``pretrained``. Images are scaled to 224 pixels, the size that the network was trained
    with; another network may want another, ``--data.image-size``. AdamW with a cosine by steps after a short warm-up,
    two epochs of the head alone, parts of the images and flips. The numbers are usual ones; none was searched for.
    """
    optimizer = OptimizerConfig(
        name="adamw", lr=1e-3, weight_decay=0.01, decay_norms=False, schedule="cosine", moves="step", warmup_steps=20
    )
    tuning = TuningConfig(freeze_epochs=2, backbone_rate=0.5, layer_decay=0.9, label_smoothing=0.1)
    return ExperimentConfig(
        stages=(StageConfig(method=Supervised.Config(optimizer=optimizer), epochs=12, batch_size=32, tuning=tuning),),
        backbone=BackboneConfig(name="efficientnet_lite0", pretrained=True),
        data=DataConfig(augment="crop_resize_flip", image_size=224),
    )
