"""A vision model of Hugging Face transformers as a backbone: write hf: and its name or folder; an extra to install."""

import importlib
import inspect
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from auxo.backbones._foreign import Widths, check_patches, explain_download, first_line, try_out
from auxo.errors import CheckpointError, ConfigError, ShapeError
from auxo.files.moved import find_place
from auxo.interfaces import AbstractBackbone, group_layers
from auxo.types import Features, Images

NAMES = ("hf",)
SOURCE = (
    "Wolf et al., Transformers: State-of-the-Art Natural Language Processing, EMNLP 2020, System Demonstrations "
    "(https://github.com/huggingface/transformers), its AutoModel without the heads of its tasks, for models of images "
    "of one size. The pooled features are the model's own pooled output, or its class token where it has none (ViT "
    "and DeiT are built without their pooler, which their classifiers do not use), or the mean over the last map. The "
    "maps are the hidden states, of transformers those of the patches on their grid. Images of another size than the "
    "model's get interpolated position embeddings, as its authors' code interpolates them. A masked autoencoder sees "
    "the whole image: nothing is hidden (He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, "
    "fine-tune it so). Of CLIP and SigLIP only the part "
    "that sees. Weights are read from safetensors alone, in float32, and no code of a model's authors is run."
)

_TOKEN_MODELS = (  # models whose tokens of patches come last, row by row
    "beit",
    "clip_vision_model",
    "data2vec-vision",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "siglip_vision_model",
    "vit",
    "vit_mae",
    "vit_msn",
)
_MASKED = "vit_mae"  # hides patches of each image at random, unless it is told not to
_CHANNELS_LAST = "hiera"  # gives its maps as rows, columns, channels
_INTERPOLATE = "interpolate_pos_encoding"
_WITHOUT_POOLER = ("deit", "vit")  # theirs belongs to pretraining: published classifiers leave it out
_NOT_ARCHITECTURE = ("_name_or_path", "architectures", "id2label", "label2id", "dtype", "transformers_version")


@runtime_checkable
class _Architecture(Protocol):
    """A configuration of transformers, as far as all of them are alike."""

    model_type: str


class HFBackbone(AbstractBackbone):
    """A vision model of transformers without the head of a task.

    Maps: ``stem``, ``stage1``, ``stage2``, … in the order in which the model computes them. Those of a plain vision
    transformer all lie on the grid of patches; they are read beside the prediction, which is not computed from them.

    Args:
        model: takes ``pixel_values`` and gives hidden states.
        widths: of the pooled vector and the maps.
    """

    def __init__(self, model: nn.Module, widths: Widths) -> None:
        super().__init__()
        self.model = model
        self.num_features, self.map_channels = widths

    def forward(self, images: Images) -> Features:
        """Return the pooled output or class token, and the maps of every stage or block."""
        return _pool_features(self.model, images)

    def list_layers(self) -> Sequence[Sequence[str]]:
        """Return the embedding, the blocks, of convolutional models and Swin within their stages, and what follows."""
        is_plain = cast("Any", self.model).config.model_type in _TOKEN_MODELS
        return group_layers(self.model, numbers=1 if is_plain else 2, prefix="model.")


def build(
    name: str, *, channels: int, height: int, width: int, pretrained: bool = False, architecture: str = ""
) -> HFBackbone:
    """Return a model of transformers as a backbone.

    Args:
        name: ``"hf:"`` and ``OWNER/NAME`` on the hub, or a folder with a ``config.json``.
        channels: colour channels of an image; without pretrained weights the model is built for them.
        height: pixels.
        width: pixels.
        pretrained: load the published weights, or those in the folder; otherwise they are random.
        architecture: from :func:`read_architecture`; if it is given, nothing is read but weights that are asked for.

    Raises:
        ConfigError: transformers is missing, or there is no such model, or it is none for images.
        CheckpointError: the weights lack some that the model has.
        ShapeError: the model cannot take images of this size or with this number of channels.

    Side effects: one forward and backward pass of one blank image; downloads what is not in the folder or the cache.
    """
    architecture = architecture or read_architecture(name)
    transformers = _import_transformers()
    config = _read_config(transformers, architecture)
    own_channels = getattr(config, "num_channels", channels)
    if own_channels != channels and pretrained:
        expected = f"images of {own_channels} channels for the weights of {name}"
        raise ShapeError(expected, str(channels), "convert the images, or pass --backbone.no-pretrained")
    changes = _fit_images(config, channels=channels, size=(height, width), pretrained=pretrained)
    config = _read_config(transformers, architecture, **changes) if changes else config
    options = {"add_pooling_layer": False} if config.model_type in _WITHOUT_POOLER else {}
    model = (_load_model if pretrained else _make_model)(transformers, name, config, options)
    if getattr(model, "main_input_name", None) != "pixel_values":
        raise ConfigError("a model of transformers for images", f"{name} ({config.model_type})", "choose another")
    if config.model_type == _MASKED:  # fixed by its authors; transformers forgets so where it reads weights
        cast("Any", model).embeddings.position_embeddings.requires_grad_(False)
    if config.model_type in _TOKEN_MODELS:
        check_patches(_read_patch(config), name=name, height=height, width=width)
    size: Any = getattr(config, "image_size", None)
    made_for = max(size) if isinstance(size, list | tuple) else size
    widths = try_out(model, _pool_features, name=name, channels=channels, height=height, width=width, made_for=made_for)
    return HFBackbone(model, widths)


def _fit_images(
    config: _Architecture, *, channels: int, size: tuple[int, int], pretrained: bool
) -> dict[str, int | float | list[int]]:
    """Return what of a configuration is changed for the images: their channels, the size of Hiera, hidden patches."""
    changes: dict[str, int | float | list[int]] = {}
    if getattr(config, "num_channels", channels) != channels:
        changes["num_channels"] = channels
    if config.model_type == _MASKED:
        changes["mask_ratio"] = 0.0
    if config.model_type == _CHANNELS_LAST and not pretrained:  # it folds tokens by the size that it is built for
        changes["image_size"] = list(size)
    return changes


def read_architecture(name: str) -> str:
    """Return what a model is built from, without its weights, as JSON.

    Args:
        name: as for :func:`build`.

    Raises:
        ConfigError: transformers is missing, or there is no such model.
    """
    place = _find_place(name)
    transformers = _import_transformers()
    expected = "a model of transformers: OWNER/NAME on the hub, or a folder with a config.json"
    try:
        config: Any = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        failure = explain_download(error, place=place)
        if failure is not None:
            raise ConfigError(expected, *failure) from error
        fix = "check its config.json, or install the version of transformers that wrote it"
        raise ConfigError(expected, f"{place!r} ({first_line(error)})", fix) from error
    values = json.loads(getattr(config, "vision_config", config).to_json_string(use_diff=False))
    return json.dumps({key: value for key, value in values.items() if key not in _NOT_ARCHITECTURE})


def read_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel that the published weights of a model expect.

    Args:
        name: as for :func:`build`.

    Raises:
        ConfigError: transformers is missing, or the model does not say.
    """
    _import_transformers()
    processors = importlib.import_module("transformers.image_processing_base").ImageProcessingMixin
    try:
        found, _ = processors.get_image_processor_dict(_find_place(name))
        return tuple(map(float, found["image_mean"])), tuple(map(float, found["image_std"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        read_architecture(name)  # which says so where there is no such model, or no connection
        got, fix = f"none for {name!r} ({first_line(error)})", "give mean and std, or pass --data.normalise train"
        raise ConfigError("a preprocessor_config.json with image_mean and image_std", got, fix) from error


def _find_place(name: str) -> str:
    """Return the hub's name or the folder that follows ``hf:``."""
    place = name.partition(":")[2]
    if not place:
        raise ConfigError("hf: and a model", repr(name), "write for instance hf:microsoft/resnet-50, or hf:FOLDER")
    place = find_place(place)
    return str(Path(place).expanduser()) if place.startswith("~") else place


def _import_transformers() -> ModuleType:
    """Import transformers, with which a torchvision that does not fit torch interferes."""
    try:
        transformers = importlib.import_module("transformers")
        _ = transformers.AutoModel  # what may be broken is imported on its first use
        return transformers
    except (ImportError, OSError, RuntimeError) as error:
        fix = "pip install 'auxo[transformers]'; a torchvision, if there is one, must fit the installed torch"
        got = f"an import that failed ({first_line(error)})"
        raise ConfigError("the package transformers for a hf:* backbone", got, fix) from error


def _read_config(transformers: ModuleType, architecture: str, **changes: int | float | list[int]) -> _Architecture:
    """Return transformers' configuration of an architecture, with changes."""
    values = json.loads(architecture)
    kind = values.pop("model_type", None)
    try:
        config: _Architecture = transformers.AutoConfig.for_model(kind, **{**values, **changes})
    except (ValueError, TypeError) as error:
        got = f"{kind!r} ({first_line(error)})"
        raise ConfigError("a kind of model that this transformers has", got, "install another version of it") from error
    return config


def _make_model(transformers: ModuleType, name: str, config: _Architecture, options: dict[str, bool]) -> nn.Module:
    """Return the model with random weights."""
    try:
        made = transformers.AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False, **options)
    except (ValueError, TypeError) as error:
        got = f"{name!r} ({first_line(error)})"
        raise ConfigError("a model that transformers can build", got, "check its config.json") from error
    return cast("nn.Module", made)


def _load_model(transformers: ModuleType, name: str, config: _Architecture, options: dict[str, bool]) -> nn.Module:
    """Return the model with the weights of the hub or the folder, all of them."""
    try:
        with _without_report():
            model, found = transformers.AutoModel.from_pretrained(
                _find_place(name),
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
    except (OSError, RuntimeError, ValueError) as error:
        expected = "weights of transformers in safetensors"
        failure = explain_download(error, place=_find_place(name))
        if failure is not None:
            raise ConfigError(expected, *failure) from error
        got, fix = f"{name!r} ({first_line(error)})", "choose a model that has them"
        raise ConfigError(expected, got, fix) from error
    absent = sorted([*found["missing_keys"], *(entry[0] for entry in found["mismatched_keys"])])
    if absent:
        got = f"{len(absent)} missing or of another shape, first {absent[0]!r}"
        raise CheckpointError(f"all weights of the network in {name}", got, "take weights of this architecture")
    return cast("nn.Module", model)


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers from listing the weights of heads, which are left out on purpose."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _pool_features(model: nn.Module, images: Images) -> Features:
    """Return the pooled features and maps of a model of transformers."""
    kind = cast("Any", model).config.model_type
    output = model(pixel_values=images, output_hidden_states=True, **_find_options(model, images))
    last: Tensor = output.last_hidden_state
    hidden: tuple[Tensor, ...] = getattr(output, "reshaped_hidden_states", None) or output.hidden_states or ()
    pooled: Tensor | None = getattr(output, "pooler_output", None)
    if not hidden:
        raise ConfigError("a model of transformers that gives its maps", type(model).__name__, "choose another")
    if hidden[-1].ndim == 4:
        if kind == _CHANNELS_LAST:
            hidden = tuple(state.permute(0, 3, 1, 2) for state in hidden)
        maps = [*hidden, last] if last.ndim == 4 and last is not hidden[-1] else list(hidden)
        class_token = None
    else:
        height, width = _find_grid(model, images)
        num_others = last.shape[1] - height * width
        maps = [state[:, num_others:].transpose(1, 2).unflatten(2, (height, width)) for state in hidden]
        class_token = last[:, 0] if num_others else None
    if pooled is None:
        pooled = maps[-1].mean((2, 3)) if class_token is None else class_token
    return Features(pooled.flatten(1), {f"stage{number}" if number else "stem": m for number, m in enumerate(maps)})


def _find_options(model: nn.Module, images: Images) -> dict[str, object]:
    """Return what a model is told beside the images, so that it takes any size and sees all of them."""
    options: dict[str, object] = {}
    kind = cast("Any", model).config.model_type
    if kind != _CHANNELS_LAST and _INTERPOLATE in inspect.signature(model.forward).parameters:
        options[_INTERPOLATE] = True  # of images of the model's own size nothing is changed
    if kind == _MASKED:
        height, width = _find_grid(model, images)
        # patches are sorted by this noise, the first of which are seen: all of them, in their own order
        order = torch.arange(height * width, device=images.device, dtype=torch.float32)
        options["noise"] = order.expand(images.shape[0], -1)
    return options


def _find_grid(model: nn.Module, images: Images) -> tuple[int, int]:
    """Return the rows and columns of patches."""
    config = cast("Any", model).config
    if config.model_type not in _TOKEN_MODELS:
        fix = f"choose a convolutional one, Swin, Hiera, or one of {', '.join(_TOKEN_MODELS)}"
        raise ConfigError("a model of transformers whose tokens are known to be patches", config.model_type, fix)
    rows, columns = _read_patch(config)
    return images.shape[-2] // rows, images.shape[-1] // columns


def _read_patch(config: _Architecture) -> tuple[int, int]:
    """Return the rows and columns of pixels in a patch."""
    size: Any = vars(config)["patch_size"]
    rows, columns = size if isinstance(size, list | tuple) else (size, size)
    return int(rows), int(columns)
