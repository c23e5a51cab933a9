"""Ways to make one prediction of what several encoders say of an image, one module each, chosen by name."""

from auxo.pretexts.fusions._attention_exhibits import exhibit_attention
from auxo.pretexts.fusions._encoders import EncoderSet, RenormalisedBackbone
from auxo.pretexts.fusions._interface import AbstractFusion, EncoderShapes, Fused, FusionConfig, FusionStep, joined_mean

__all__ = [
    "AbstractFusion",
    "EncoderSet",
    "EncoderShapes",
    "Fused",
    "FusionConfig",
    "FusionStep",
    "RenormalisedBackbone",
    "exhibit_attention",
    "joined_mean",
]
