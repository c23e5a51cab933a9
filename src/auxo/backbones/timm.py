"""Any model of timm as a backbone: write timm: and its name, such as timm:resnet18; an extra to install."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from auxo.backbones._foreign import Widths, first_line, try_out
from auxo.errors import ConfigError
from auxo.interfaces import AbstractBackbone, group_layers
from auxo.types import Features, Images

NAMES = ("timm",)
SOURCE = (
    "Wightman, PyTorch Image Models (https://github.com/huggingface/pytorch-image-models). The pooled features are "
    "those before timm's classifier, which is not built (num_classes=0); the maps are the outputs of the stages or "
    "blocks that forward_intermediates gives, in batch-channels-height-width order."
)


class TimmBackbone(AbstractBackbone):
    """A model of timm without its classifier.

    Maps: ``stage1``, ``stage2``, … in the order in which the model computes them.

    Args:
        model: built with ``num_classes=0``; it must have ``forward_intermediates`` and ``forward_head``.
        widths: of the pooled vector and the maps.
    """

    def __init__(self, model: nn.Module, widths: Widths) -> None:
        super().__init__()
        self.model = model
        self.num_features, self.map_channels = widths

    def forward(self, images: Images) -> Features:
        """Return the features before the classifier and the maps of every stage."""
        return _pool_features(self.model, images)

    def list_layers(self) -> Sequence[Sequence[str]]:
        """Return the layers that timm's own layer-wise decay goes by, the model's ``group_matcher``."""
        match = getattr(self.model, "group_matcher", None)
        if match is None:
            return group_layers(self.model, prefix="model.")
        numbers = importlib.import_module("timm.models").group_parameters(self.model, match(coarse=False), reverse=True)
        layers: dict[int, list[str]] = {}
        for name, _ in self.model.named_parameters():
            layers.setdefault(int(numbers[name]), []).append(f"model.{name}")
        return [layers[number] for number in sorted(layers)]


class _Model(Protocol):
    """What is used of a model of timm."""

    def forward_intermediates(self, images: Tensor, *, output_fmt: str) -> tuple[Tensor, list[Tensor]]: ...

    def forward_head(self, last: Tensor, *, pre_logits: bool) -> Tensor: ...


def _pool_features(model: nn.Module, images: Images) -> Features:
    """Return the pooled features and maps of a model of timm."""
    typed = cast("_Model", model)
    last, maps = typed.forward_intermediates(images, output_fmt="NCHW")
    pooled = typed.forward_head(last, pre_logits=True)
    return Features(pooled, {f"stage{number}": stage for number, stage in enumerate(maps, start=1)})


def build(name: str, *, channels: int, height: int, width: int, pretrained: bool = False) -> TimmBackbone:
    """Return a model of timm as a backbone.

    Args:
        name: ``"timm:"`` and the name of a model, with its weights' tag if wanted: ``"timm:resnet18.a1_in1k"``.
        channels: colour channels of an image; with pretrained weights timm adapts the first layer to them.
        height: pixels.
        width: pixels.
        pretrained: download timm's weights; otherwise they are random.

    Raises:
        ConfigError: timm is missing, has no such model or weights, or the model gives no maps.
        ShapeError: the model cannot take images of this size.

    Side effects: one forward and backward pass of one blank image; a download if ``pretrained``.
    """
    model_name = name.partition(":")[2]
    if not model_name:
        raise ConfigError("timm: and the name of a model of timm", repr(name), "write for instance timm:resnet18")
    timm = _import_timm()
    model = _create_model(timm, model_name, channels=channels, pretrained=pretrained)
    if getattr(model, "forward_intermediates", None) is None:
        raise ConfigError(
            "a model of timm that gives its maps", repr(model_name), "choose one with forward_intermediates"
        )
    widths = try_out(model, _pool_features, name=name, channels=channels, height=height, width=width)
    return TimmBackbone(model, widths)


def read_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel that the published weights of a model expect.

    Args:
        name: as for :func:`build`.

    Raises:
        ConfigError: timm is missing, or knows no published weights of such a model.
    """
    timm = _import_timm()
    try:
        found = timm.get_pretrained_cfg(name.partition(":")[2], allow_unregistered=False)
        return tuple(map(float, found.mean)), tuple(map(float, found.std))
    except RuntimeError as error:
        got, fix = f"{name!r} ({first_line(error)})", "give mean and std, or pass --data.normalise train"
        raise ConfigError("a model of timm with published weights", got, fix) from error


def _import_timm() -> ModuleType:
    """Import timm, whose torchvision must fit the installed torch."""
    try:
        return importlib.import_module("timm")
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            "the package timm for a timm:* backbone",
            f"an import that failed ({first_line(error)})",
            f"pip install 'auxo[timm]', with a torchvision built for torch {torch.__version__}",
        ) from error


def _create_model(timm: ModuleType, model_name: str, *, channels: int, pretrained: bool) -> nn.Module:
    """Create a model without its classifier, turning timm's and the download's errors into one line."""
    try:
        model: nn.Module = timm.create_model(model_name, pretrained=pretrained, num_classes=0, in_chans=channels)
    except (AssertionError, OSError, RuntimeError, ValueError) as error:
        near = timm.list_models(f"*{model_name.partition('.')[0][:6]}*")[:3]
        raise ConfigError(
            "a model of timm" + (" with weights that can be had" if pretrained else ""),
            f"{model_name!r} ({first_line(error)})",
            f"did you mean {', '.join(near)}?" if near else "see timm.list_models()",
        ) from error
    return model
