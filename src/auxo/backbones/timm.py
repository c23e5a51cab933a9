"""Any model of timm as a backbone: write timm: and its name, such as timm:resnet18; an extra to install."""

import difflib
import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from auxo.backbones._foreign import Widths, check_patches, explain_download, first_line, try_out
from auxo.errors import ConfigError, ShapeError
from auxo.interfaces import AbstractBackbone, group_layers
from auxo.types import Features, Images

NAMES = ("timm",)
SOURCE = (
    "Wightman, PyTorch Image Models (https://github.com/huggingface/pytorch-image-models). The pooled features are "
    "those before timm's classifier, which is not built (num_classes=0); the maps are the outputs of the stages or "
    "blocks that forward_intermediates gives, in batch-channels-height-width order. Models that are made for one size, "
    "such as ViT, Swin and Hiera, are built for the size of the images (img_size); timm interpolates the position "
    "embeddings of published weights to it."
)
_MOST_SHOWN = 3


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


@runtime_checkable
class _Stated(Protocol):
    """What is used of timm's description of a model and its published weights."""

    input_size: Sequence[int]
    fixed_input_size: bool
    has_weights: bool
    hf_hub_id: str | None
    mean: Sequence[float]
    std: Sequence[float]


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
    size = (height, width)
    model = _create_model(timm, model_name, channels=channels, size=size, pretrained=pretrained)
    if getattr(model, "forward_intermediates", None) is None:
        raise ConfigError(
            "a model of timm that gives its maps", repr(model_name), "choose one with forward_intermediates"
        )
    projection = getattr(getattr(model, "patch_embed", None), "proj", None)
    if isinstance(projection, nn.Conv2d) and projection.kernel_size == projection.stride:  # no overlap, no rim
        rows, columns = projection.stride
        check_patches((rows, columns), name=name, height=height, width=width)
    stated: dict[str, Sequence[int]] = getattr(model, "pretrained_cfg", {})
    made_for = stated["input_size"][-1] if "input_size" in stated else None
    widths = try_out(model, _pool_features, name=name, channels=channels, height=height, width=width, made_for=made_for)
    return TimmBackbone(model, widths)


def read_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel that the published weights of a model expect.

    Args:
        name: as for :func:`build`.

    Raises:
        ConfigError: timm is missing, or has no such model, or no published weights of it.
    """
    timm = _import_timm()
    found = _find_published(timm, name.partition(":")[2])
    if found is None or not found.has_weights:
        fix = "give mean and std, or pass --data.normalise train"
        raise ConfigError("a model of timm with published weights", f"{name!r}, of which timm knows none", fix)
    return tuple(map(float, found.mean)), tuple(map(float, found.std))


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


class Published(NamedTuple):
    """A model of timm and what is known of its published weights.

    Args:
        name: as an option takes it, with the tag of its weights: ``"timm:resnet18.a1_in1k"``.
        pixels: side of the images that it was made for.
        is_fixed: whether it is built anew for another size.
        has_weights: whether there are weights to download.
    """

    name: str
    pixels: int
    is_fixed: bool
    has_weights: bool


def search(word: str) -> list[Published]:
    """Return the models of timm whose name has a word in it, with every tag of their weights; nothing is downloaded.

    Args:
        word: part of a name, or several parts divided by spaces, all of which must be there: ``"dino small"``.

    Raises:
        ConfigError: timm is missing.
    """
    timm = _import_timm()
    parts = word.lower().split()
    trained = timm.list_pretrained()
    plain = sorted(set(timm.list_models()) - {name.partition(".")[0] for name in trained})
    found = [name for name in [*trained, *plain] if all(part in name.lower() for part in parts)]
    stated = [(name, timm.get_pretrained_cfg(name)) for name in found]
    return [
        Published(f"timm:{name}", int(each.input_size[-1]), bool(each.fixed_input_size), name in trained)
        for name, each in stated
    ]


def suggest_names(word: str) -> list[str]:
    """Return the models of timm that a mistyped name may mean, the likeliest first.

    Args:
        word: what was typed, without ``timm:``.

    Raises:
        ConfigError: timm is missing.
    """
    timm = _import_timm()
    models: list[str] = timm.list_models()
    word = word.lower().rpartition("/")[2].partition(".")[0].replace("-", "_")
    parts = [part for part in word.split("_") if part]
    within = sorted((name for name in models if parts and all(part in name for part in parts)), key=len)
    near = difflib.get_close_matches(word, models, n=_MOST_SHOWN)
    very = difflib.get_close_matches(word, models, n=1, cutoff=0.85)
    return [f"timm:{name}" for name in dict.fromkeys([*very, *within, *near])][:_MOST_SHOWN]


def _create_model(
    timm: ModuleType, model_name: str, *, channels: int, size: tuple[int, int], pretrained: bool
) -> nn.Module:
    """Create a model without its classifier, turning timm's and the download's errors into one line."""
    published = _find_published(timm, model_name)
    if pretrained and published is not None and not published.has_weights:
        fix = "pass --backbone.no-pretrained, or choose one that has: auxo list backbones --search WORD"
        raise ConfigError("a model of timm with published weights", f"{model_name!r}, which has none", fix)
    options = {"pretrained": pretrained, "num_classes": 0, "in_chans": channels}
    is_sized = published is None or published.fixed_input_size
    try:
        try:
            model: nn.Module = timm.create_model(model_name, **options, **({"img_size": size} if is_sized else {}))
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            model = timm.create_model(model_name, **options)  # the trial says whether it takes this size
    except (AssertionError, OSError, RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
        failure = explain_download(error, place=(published and published.hf_hub_id) or model_name)
        if failure is not None:
            raise ConfigError(f"the published weights of timm:{model_name}", *failure) from error
        got = f"{size[0]}x{size[1]} ({first_line(error)})"
        fix = "choose another (auxo list backbones --search WORD)"
        if published is not None:
            fix = f"pass --data.image-size {published.input_size[-1]}, for which it is made"
        raise ShapeError(f"images of a size that timm:{model_name} can be built for", got, fix) from error
    return model


def _find_published(timm: ModuleType, model_name: str) -> "_Stated | None":
    """Return what timm says of a model and its weights; ``None`` of one that lies in a folder or elsewhere on the hub.

    Raises:
        ConfigError: timm has no such model, or no such weights of it.
    """
    if ":" in model_name:  # hf-hub:OWNER/NAME and local-dir:FOLDER, which create_model reads itself
        return None
    architecture, _, tag = model_name.partition(".")
    if not timm.is_model(architecture):
        near = suggest_names(model_name)
        fix = f"did you mean {' or '.join(near)}?" if near else "search them: auxo list backbones --search WORD"
        raise ConfigError("a model of timm", repr(model_name), fix)
    try:
        return cast("_Stated", timm.get_pretrained_cfg(model_name, allow_unregistered=not tag))
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        near = difflib.get_close_matches(model_name, tags, n=_MOST_SHOWN, cutoff=0.0) or [architecture]
        fix = f"did you mean timm:{' or timm:'.join(near)}?"
        raise ConfigError(f"weights of {architecture} that timm has", repr(tag), fix) from error
