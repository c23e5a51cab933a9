"""The networks of a method as a run builds them: shared, new, and trained ones that stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar, cast

from torch import Tensor

from auxo.backbones import BackboneConfig, FrozenBackbone, has_published_weights, normalisation_of
from auxo.errors import CheckpointError, ConfigError
from auxo.files import make_folder, remove_temporaries
from auxo.files.moved import find_path, suggest_moved
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.interfaces import AbstractBackbone, AbstractNetworks, BuildsBackbone
from auxo.registry.outside import is_outside
from auxo.runs.checkpoint import load_weights
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.tree import fold
from auxo.tasks import AbstractTask, Target
from auxo.types import Normalisation

_SHARED = "backbone"
_FOLDER = "networks"
_MODEL = "model.safetensors"
_Config = TypeVar("_Config")


class _Record(TypedDict):
    """What a frozen network is built from."""

    source: str
    backbone: dict[str, Any]
    mean: list[float]
    std: list[float]


class _Header(TypedDict):
    """What the file of a frozen network says of itself."""

    network: _Record


class Kept(NamedTuple):
    """A frozen network as a run keeps it.

    Args:
        record: what it is built from, and the normalisation that it expects, as JSON values.
        weights: its own; ``None`` where they come with those of the method, as in an export.
    """

    record: Mapping[str, Any]
    weights: Mapping[str, Tensor] | None = None


class Networks(AbstractNetworks):
    """The networks of a method.

    Args:
        shared: what the shared backbone is made from, or the network itself.
        task: what is to be predicted.
        seed: of the run.
        given: how the pipeline of the run normalises images; needed for networks that are loaded.
        first_weights: whether first weights matter; without, where others take their place, published ones are not
            read.
        kept: frozen networks that the run keeps, by name.
        columns: further columns of the data that the run learns, by name.

    Example:
        >>> from auxo.tasks import Classification
        >>> networks = Networks(BackboneConfig(), Classification(("a", "b"), 1, 28, 28), seed=0)
        >>> networks.backbone.num_features, networks.new("generator").num_features
        (84, 84)
    """

    def __init__(
        self,
        shared: BackboneConfig | AbstractBackbone,
        task: AbstractTask,
        *,
        seed: int,
        given: Normalisation | None = None,
        first_weights: bool = True,
        kept: Mapping[str, Kept] | None = None,
        columns: Mapping[str, Target] | None = None,
    ) -> None:
        self.task, self.seed, self.columns = task, seed, dict(columns or {})
        self._given, self._first_weights, self._kept = given, first_weights, dict(kept or {})
        self._config = shared if isinstance(shared, BackboneConfig) else None
        self.begins_trained = self._config is not None and (self._config.pretrained or self._config.weights is not None)
        self._names = {_SHARED}
        self.loaded: dict[str, Kept] = {}
        """Frozen networks that the method asked for, as a run keeps them."""
        if isinstance(shared, BackboneConfig):
            self.backbone = shared.build(task, seed=seed, first_weights=first_weights)
        else:
            self.backbone = shared

    def new(self, name: str, backbone: BuildsBackbone | None = None) -> AbstractBackbone:
        """See :meth:`auxo.interfaces.AbstractNetworks.new`."""
        self._take_name(name)
        made_from = backbone or replace(self._require_config(), pretrained=False, weights=None)
        return made_from.build(self.task, seed=self.seed, stream=name, first_weights=self._first_weights)

    def load(
        self,
        name: str,
        source: str,
        *,
        backbone: BuildsBackbone | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> FrozenBackbone:
        """See :meth:`auxo.interfaces.AbstractNetworks.load`."""
        self._take_name(name)
        if self._given is None:
            raise ConfigError("networks that know how a run normalises images", "none", "pass given=Normalisation(...)")
        if backbone is not None and not isinstance(backbone, BackboneConfig):
            raise ConfigError("a BackboneConfig for a loaded network", type(backbone).__name__, "pass one")
        kept = self._kept.get(name)
        if kept is None and not self._first_weights:
            got, fix = f"no {_FOLDER}/{name}.safetensors", "take it from a copy of the run"
            raise CheckpointError(f"the network {name} that the run keeps", got, fix)
        if kept is None:
            kept = self._read_source(source, backbone, (tuple(mean), tuple(std)))
        elif kept.weights is not None and kept.record["source"] != source:
            got, fix = f"one of {kept.record['source']}", "give each network of a run a name of its own"
            raise ConfigError(f"a network {name} of {source}", got, fix)
        self.loaded[name] = kept
        return self._build_frozen(name, kept, backbone)

    def _take_name(self, name: str) -> None:
        """Refuse a name that another network of the method has."""
        if name in self._names or not name.isidentifier():
            got, fix = repr(name), "give each network a word of its own"
            raise ConfigError(f"a new name of a network, other than {', '.join(sorted(self._names))}", got, fix)
        self._names.add(name)

    def _require_config(self) -> BackboneConfig:
        """Return what the shared backbone is made from."""
        if self._config is None:
            fix = "pass one, or make the networks from a BackboneConfig"
            raise ConfigError("a backbone's config", "none: the shared network was given itself", fix)
        return self._config

    def _read_source(
        self,
        source: str,
        backbone: BackboneConfig | None,
        stated: tuple[tuple[float, ...], tuple[float, ...]],
    ) -> Kept:
        """Return a trained network from where it is."""
        config, found = _find_source(source, backbone or self._require_config(), is_given=backbone is not None)
        mean, std = stated if any(stated) else found or ((), ())
        if not len(mean) == len(std) == self.task.channels:
            got = f"means of {len(mean)} and deviations of {len(std)}" if mean or std else "none"
            expected = f"how the network of {source} normalises its {self.task.channels} channels"
            raise ConfigError(expected, got, "pass mean and std")
        network = config.build(self.task, seed=self.seed)
        described = asdict(replace(config.recorded(), weights=None, pretrained=False, normalisation=""))
        record = {"source": source, "backbone": described, "mean": list(mean), "std": list(std)}
        return Kept(record, network.state_dict())

    def _build_frozen(self, name: str, kept: Kept, backbone: BackboneConfig | None) -> FrozenBackbone:
        """Return a frozen network."""
        config = BackboneConfig(**kept.record["backbone"])
        if is_outside(config.name):  # a record must not bring code along that the run's config does not name
            config = replace(backbone or self._require_config(), pretrained=False, weights=None)
        network = config.build(self.task, seed=self.seed, first_weights=False)
        if kept.weights is not None:
            load_weights(network, kept.weights, origin=f"the network {name} of the run")
        assert self._given is not None  # load has seen to it
        own = normalisation_of(tuple(kept.record["mean"]), tuple(kept.record["std"]))
        return FrozenBackbone(network, own=own, given=self._given, name=name)


def _find_source(
    source: str, backbone: BackboneConfig, *, is_given: bool
) -> tuple[BackboneConfig, tuple[tuple[float, ...], tuple[float, ...]] | None]:
    """Return what a trained network is made from, its weights included, and how it normalises, if that is known."""
    path = find_path(source)
    if has_published_weights(source):
        config = BackboneConfig(name=source, pretrained=True)
        return config, config.first_normalisation()
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ConfigError(f"a file of weights at {path}", "nothing there", f"{suggest_moved(source)}check the path")
        config = replace(backbone, pretrained=False, weights=source)
        return config, config.first_normalisation() or config.read_normalisation()
    if not (path / "config.json").is_file():
        fix = f"{suggest_moved(source)}name a finished run, a .safetensors file, or a backbone with published weights"
        raise ConfigError("a trained network", f"nothing such at {source}", fix)
    described = RunHistory.read_finished(path).document["run"]["backbone"]
    if is_outside(described["name"]) and not is_given:
        fix = f"pass the backbone {described['name']} beside the run, if you trust it"
        raise ConfigError(f"your leave to run the backbone of {source}", described["name"], fix)
    config = backbone if is_given else BackboneConfig(**described)
    config = replace(config, pretrained=False, weights=str(Path(source) / _MODEL))
    return config, config.first_normalisation()


def read_networks(folder: Path) -> dict[str, Kept]:
    """Return the frozen networks that a run directory keeps, by name.

    Raises:
        CheckpointError: a file is damaged.
    """
    files = sorted((folder / _FOLDER).glob("*.safetensors"))
    read = {path.stem: read_tensor_file(path, header=_Header, holds=("weights",)) for path in files}
    return {name: Kept(file.header["network"], file.tree["weights"]) for name, file in read.items()}


def write_networks(folder: Path, networks: Mapping[str, Kept]) -> None:
    """Keep frozen networks in a run directory, once for all of its stages and checkpoints."""
    if networks:
        remove_temporaries(make_folder(folder / _FOLDER))
    for name, kept in networks.items():
        path = folder / _FOLDER / f"{name}.safetensors"
        if not path.exists():
            write_tensor_file(path, {"weights": kept.weights}, {"network": dict(kept.record)})


def record_columns(columns: Mapping[str, Target]) -> list[list[Any]]:
    """Return columns as JSON values, for the header of a file."""
    return [[target.name, list(target.names), target.has_places, target.ignore] for target in columns.values()]


def read_columns(header: Mapping[str, Any]) -> dict[str, Target]:
    """Return the columns in the header of a trained model; none in one of a run that learns no columns."""
    return {name: Target(name, tuple(names), *rest) for name, names, *rest in header.get("columns", ())}


def record_backbones(config: _Config) -> _Config:
    """Return a configuration whose backbones, wherever they are in it, can be built again without a download.

    Of a run it is also noted how the first weights want images normalised, unless ``data.normalise`` is train.

    Raises:
        ConfigError: a model cannot be found, or its package is missing.
    """

    def combine(owner: object, made: dict[str, Any]) -> object:
        changed = {name: value for name, value in made.items() if value != getattr(owner, name)}
        found = replace(cast("Any", owner), **changed) if changed else owner
        if isinstance(found, ExperimentConfig) and found.data.normalise != "train":
            return replace(found, backbone=found.backbone.with_normalisation())
        return found.recorded() if isinstance(found, BackboneConfig) else found

    return cast("_Config", fold(config, combine))
