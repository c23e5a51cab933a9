"""Which backbone a run uses, by configuration."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Annotated, Any

import tyro

from auxo.backbones._weights import load_weights_file, read_file_normalisation, require_safetensors
from auxo.errors import ConfigError, ShapeError
from auxo.files.json_text import read_json
from auxo.files.moved import find_path
from auxo.interfaces import AbstractBackbone
from auxo.random import derive_seed, global_seed
from auxo.registry import entries, load, refuse_name
from auxo.registry.outside import absolute_name, call_outside, is_outside
from auxo.tasks import AbstractTask

AUTO = "auto"
"""Name of the backbone that is chosen by the size of the images."""

_DEFAULT = "lenet5"
_LIBRARIES = ("hf", "timm")  # whose models are named behind a colon
_OF_SMALL, _OF_LARGE, _LARGE = "resnet20", "resnet18", 64  # the latter from so many pixels of the shorter side
_OF_PRETRAINED = "efficientnet_lite0"


def has_published_weights(name: str) -> bool:
    """Return whether a backbone can start from weights that its authors published.

    Its module says so by a ``read_normalisation``, because such weights are of no use without the mean and deviation
    that they were trained with.

    Args:
        name: as ``backbone.name``; one that auxo does not have has none.
    """
    key = _key_of(name)
    return key in entries("backbones") and hasattr(load("backbones", key), "read_normalisation")


def _key_of(name: str) -> str:
    """Return the registry's key: the name, without the model that follows timm: or hf:."""
    library, colon, _ = name.partition(":")
    return library if colon and library in _LIBRARIES else name


def _require_known(name: str) -> None:
    """Refuse a name that no backbone has, and say what it may mean: a model of another library is named behind a colon.

    Raises:
        ConfigError: auxo has no such backbone.
    """
    if name in (_DEFAULT, AUTO) or is_outside(name) or _key_of(name) in entries("backbones"):
        return
    expected = "a backbone (auxo list backbones), or a model of another library as timm:NAME or hf:OWNER/NAME"
    owner, slash, model = name.removeprefix("https://huggingface.co/").rpartition("/")
    if name.endswith(".py"):
        raise refuse_name("backbones", name, ())
    if slash and owner and "/" not in owner:
        mine = f"timm:{model}" if owner == "timm" else f"hf:{owner}/{model}"
        raise ConfigError(expected, repr(name), f"did you mean {mine}?")
    near = get_close_matches(name, entries("backbones"), n=2)
    with suppress(ConfigError):  # timm is an extra
        near += load("backbones", "timm").suggest_names(name.rpartition(":")[2])[:2]
    fix = f"did you mean {' or '.join(near)}?" if near else "see auxo list backbones"
    raise ConfigError(expected, repr(name), fix)


def _read_json(note: str, field: str) -> dict[str, Any]:
    """Return what a run noted in a field, by the name of what it is of."""
    expected, fix = f"backbone.{field} as a run records it", f"take backbone.{field} out of the config"
    return read_json(note or "{}", dict[str, Any], expected=expected, fix=fix, error=ConfigError)


def _list_published() -> list[str]:
    """Return the names of the backbones that have published weights, as an option takes them."""
    names = [name for name in entries("backbones") if has_published_weights(name)]
    return [f"{name}:*" if name in _LIBRARIES else name for name in names]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The shared network and its first weights."""

    name: str = _DEFAULT
    """A backbone's name (auxo list), or auto: resnet20 for images below 64 pixels and resnet18 for larger ones,
    efficientnet_lite0 with pretrained; or timm: and the name of a model of timm, such as timm:resnet18, or hf: and the
    name or folder of a model of transformers, such as hf:microsoft/resnet-50, or one of your own, file.py:Name."""
    pretrained: bool = False
    """Start from the published weights instead of random ones; only for efficientnet_lite0, timm:* and hf:*, the others
    refuse."""
    weights: str | None = None
    """Start from the weights in this safetensors file: of this network, or the model.safetensors of a run."""
    architecture: Annotated[str, tyro.conf.Suppress] = ""
    """What a model of transformers is built from, as :meth:`recorded` notes it: JSON."""
    normalisation: Annotated[str, tyro.conf.Suppress] = ""
    """How the first weights want images normalised, as :meth:`with_normalisation` notes it: JSON."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", absolute_name(self.name))
        if self.name == AUTO and self.pretrained:
            object.__setattr__(self, "name", _OF_PRETRAINED)
        _require_known(self.name)
        if self.pretrained and not has_published_weights(self.name):
            raise ConfigError(
                "a backbone that has published weights with backbone.pretrained",
                repr(self.name),
                f"pass --backbone.no-pretrained, or name one of {', '.join(_list_published())}",
            )
        if self.weights is None:
            return
        require_safetensors(self.weights)
        if self.pretrained:
            got = f"both, --backbone.weights {self.weights}"
            raise ConfigError("backbone.pretrained or backbone.weights", got, "leave one of them out")

    @property
    def _find_key(self) -> str:
        """The registry's key."""
        return _key_of(self.name)

    def recorded(self) -> "BackboneConfig":
        """Return the same backbone with all that is needed to build it again without a download.

        A model of transformers is described by a file on the hub or in a folder, whose content is noted here; for all
        others nothing is to be noted.

        Raises:
            ConfigError: the model cannot be found, or transformers is missing.
        """
        if self._find_key != "hf":
            return replace(self, architecture="") if self.architecture else self
        if self._read_note():
            return self
        noted = json.loads(load("backbones", "hf").read_architecture(self.name))
        return replace(self, architecture=json.dumps({self.name: noted}))

    def _read_note(self) -> str:
        """Return what was noted of this model, or nothing."""
        noted = _read_json(self.architecture, "architecture").get(self.name)
        return "" if noted is None else json.dumps(noted)

    def read_normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and standard deviation of each channel that published weights expect; ``None`` for auxo's own.

        Raises:
            ConfigError: the model cannot be found, or its package is missing.
        """
        if not has_published_weights(self.name):
            return None
        found: tuple[tuple[float, ...], tuple[float, ...]] = load("backbones", self._find_key).read_normalisation(
            self.name
        )
        return found

    def first_normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and standard deviation of each channel that the first weights were trained with, of [0, 1].

        Published weights have them, and a file of auxo's; for random weights, and for files of others, ``None``. What
        was noted is not read again.

        Raises:
            ConfigError: published weights do not say, or their package is missing.
            CheckpointError: the file is damaged.
        """
        if self._first_weights_name is None:
            return None
        noted = _read_json(self.normalisation, "normalisation").get(self._first_weights_name)
        if noted is not None:
            mean, std = (tuple(map(float, values)) for values in noted)
            return mean, std
        if self.pretrained:
            return self.read_normalisation()
        path = find_path(str(self.weights))
        return read_file_normalisation(path) if path.is_file() else None  # build refuses a file that is not there

    def with_normalisation(self) -> "BackboneConfig":
        """Return the same backbone with :meth:`first_normalisation` noted, so that no source is needed for it again."""
        found = self.first_normalisation()
        return replace(self, normalisation="" if found is None else json.dumps({self._first_weights_name: found}))

    @property
    def _first_weights_name(self) -> str | None:
        """What the first weights are called in notes, so that those of others are not taken for theirs."""
        return self.name if self.pretrained else self.weights

    def build(
        self, task: AbstractTask, *, seed: int, stream: str = "backbone", first_weights: bool = True
    ) -> AbstractBackbone:
        """Return the backbone for the images of ``task``, on the CPU.

        The first weights depend on the seed, the name and the number of channels alone, if they are not pretrained:
        torch's global generators are seeded from the stream ``init/STREAM`` for the time of building and put back
        after it.

        Args:
            task: gives the channels and the size of the images.
            seed: the run's seed.
            stream: of the first weights.
            first_weights: whether to read pretrained weights; without, where others take their place, neither the
                file nor a download is needed.

        Raises:
            ConfigError: there is no such backbone or file, or its package is missing.
            CheckpointError: the file of weights is damaged or another network's.
            ShapeError: the backbone or its weights cannot take images of this size or number of channels.
        """
        if is_outside(self.name):
            return self._build_outside(task, derive_seed(seed, "init", stream), first_weights=first_weights)
        if self.name == AUTO:
            side = min(task.height, task.width)
            chosen = replace(self, name=_OF_LARGE if side >= _LARGE else _OF_SMALL)
            return chosen.build(task, seed=seed, stream=stream, first_weights=first_weights)
        module = load("backbones", self._find_key)
        minimum = getattr(module, "MINIMUM_PIXELS", 1)
        if min(task.height, task.width) < minimum:
            raise ShapeError(
                f"images of at least {minimum}x{minimum} pixels for the backbone {self.name}",
                f"{task.height}x{task.width}",
                f"pass --data.image-size {minimum} or more, or another --backbone.name (auxo list backbones)",
            )
        options: dict[str, object] = {}
        if has_published_weights(self.name):
            options["pretrained"] = self.pretrained and first_weights
        if self._find_key == "hf":
            options["architecture"] = self._read_note()
        with global_seed(derive_seed(seed, "init", stream)):
            backbone: AbstractBackbone = module.build(
                self.name, channels=task.channels, height=task.height, width=task.width, **options
            )
        if self.weights is not None and first_weights:
            load_weights_file(backbone, find_path(self.weights), name=self.name)
        return backbone

    def _build_outside(self, task: AbstractTask, seed: int, *, first_weights: bool) -> AbstractBackbone:
        """Return a backbone of the user's own: of a class or function that takes channels, height and width."""
        size = {"channels": task.channels, "height": task.height, "width": task.width}
        with global_seed(seed):
            backbone = call_outside(self.name, AbstractBackbone, **size)
        if not isinstance(getattr(backbone, "num_features", None), int):
            fix = "set it to the length of the pooled vector"
            raise ConfigError(f"a whole number num_features in the backbone {self.name}", "none", fix)
        if self.weights is not None and first_weights:
            load_weights_file(backbone, find_path(self.weights), name=self.name)
        return backbone
