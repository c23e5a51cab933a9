"""What a method's backbone returns, while the method predicts or where it cannot."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import ConfigError
from auxo.interfaces import AbstractMethod
from auxo.types import Features, Images


class Observation(NamedTuple):
    """A prediction and the features it was made from.

    Args:
        logits: of the head to be used; shape ``(batch, outputs)``, with height and width after it where targets have
            places.
        features: pooled vectors and named maps of the backbone that was called.
    """

    logits: Float[Tensor, "batch outputs ..."]
    features: Features


def observe(method: AbstractMethod, images: Images) -> Observation:
    """Return a prediction with the features it was made from, attached to the graph where there is one.

    The features are those of the network that the method says it predicts by, in its last call.

    Args:
        method: in the mode that it is to predict in.
        images: normalised; shape ``(batch, channels, height, width)``.

    Raises:
        ConfigError: the method predicts without calling a backbone.

    Example:
        >>> import torch
        >>> from auxo.backbones import BackboneConfig
        >>> from auxo.methods.supervised import Supervised
        >>> from auxo.runs import Networks
        >>> from auxo.tasks import Classification
        >>> task = Classification(("a", "b"), channels=1, height=28, width=28)
        >>> method = Supervised.Config().build(Networks(BackboneConfig(), task, seed=0))
        >>> seen = observe(method, torch.rand(3, 1, 28, 28))
        >>> seen.features.pooled.shape, sorted(seen.features.maps)
        (torch.Size([3, 84]), ['stage1', 'stage2'])
    """
    seen: list[Features] = []

    def hook(_module: nn.Module, _inputs: object, features: Features) -> None:
        seen.append(features)

    handle = method.predicting_backbone.register_forward_hook(hook)
    try:
        logits = method.predict(images)
    finally:
        handle.remove()
    if not seen:
        raise ConfigError(
            "a method that predicts by its predicting_backbone",
            f"{type(method).__name__}, whose predict does not call it",
            "let predicting_backbone return the network that the first head reads",
        )
    return Observation(logits, seen[-1])


def features_of(method: AbstractMethod, images: Images, *, predicts: bool) -> Features:
    """Return the features that a method predicts from, or those of its backbone where it has no head that predicts.

    Args:
        method: in the mode that it is to predict in.
        images: normalised; shape ``(batch, channels, height, width)``.
        predicts: whether it has a head that predicts, from :attr:`auxo.evaluation.Reader.predicts`.

    Raises:
        ConfigError: the method predicts without calling a backbone.
    """
    if predicts:
        return observe(method, images).features
    features: Features = method.predicting_backbone(images)
    return features
