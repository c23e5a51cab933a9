"""Several encoders, each trained by a pretext of its own, put together for one task by attention."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.backbones import FrozenBackbone, has_published_weights
from auxo.errors import ConfigError, OptionError, ShapeError
from auxo.interfaces import (
    AbstractBackbone,
    AbstractImageReader,
    AbstractMethod,
    AbstractNetworks,
    Exhibit,
    MethodConfig,
    Prepared,
    StageStart,
    StepPlan,
    TrainState,
    View,
)
from auxo.optimizers import OptimizerConfig
from auxo.options import Options, Range
from auxo.pretexts.fusions import (
    EncoderSet,
    EncoderShapes,
    Fused,
    FusionConfig,
    FusionStep,
    RenormalisedBackbone,
    exhibit_attention,
    joined_mean,
)
from auxo.pretexts.fusions.attention import Attention
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import LABEL, Batch, Batches, Images, Metrics

SOURCE = (
    "After Yao, Wu, Feng, Chen, Learning Downstream Task by Selectively Capturing Complementary Knowledge from "
    "Multiple Self-supervisedly Learning Pretexts, arXiv 2204.05248, of which only the abstract could be read: "
    "representations of several pretexts, learned beforehand, are squeezed by attention for one task with few labels. "
    "Formulas, pretexts, options and values are ours; nothing here reproduces the paper. L2-SP: Li, Grandvalet, "
    "Davoine, Explicit Inductive Bias for Transfer Learning, ICML 2018 (arXiv 1802.01483)."
)

_FEATURES, _MEAN, _SCALE, _ANCHOR, _FUSION = "features", "mean", "scale", "anchor", "fusion."


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig(Options):
    """Whether and how the encoders are trained along."""

    is_on: bool = False
    """Train the encoders, too; they are then run at every step. Batch norm keeps its running statistics."""
    rate: Annotated[float, Range(above=0)] = 0.1
    """Their learning rate over that of the rest."""
    after_epochs: Annotated[int, Range(low=0)] = 10
    """Epochs before, in which they stay as they are and the rest warms up."""
    anchor: Annotated[float, Range(low=0)] = 0.0
    """Weight of the squared distance of their weights to what they were (L2-SP)."""


class MultiPretext(AbstractMethod):
    r"""Encoders ``e_k`` that stay as they are, and a fusion of their features ``z_k`` that learns the labels.

    Features are standardised by the training images, and by default read once, before the first step. What is made of
    them is the fusion's: attention by default, see :class:`auxo.pretexts.fusions.attention.Attention`.

    Prediction runs every encoder once, unless the fusion trains a network that predicts alone.

    Args:
        config: options.
        networks: give the encoders, and the run's own network to a fusion that reads it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of several encoders."""

        serves = (Classification,)

        optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(
                name="adamw", lr=1e-3, weight_decay=1e-4, schedule="cosine", moves="step"
            ),
            metadata={"search": {"lr": "around:10"}},
        )
        """How the fusion's weights follow their gradients."""
        fusion: FusionConfig = field(default_factory=Attention.Config)
        """How the encoders are put together."""
        trained: tuple[str, ...] = ()
        """Names of encoders that earlier stages train; the recipe hands their weights over."""
        encoders: tuple[str, ...] = ()
        """Encoders that are there already: directories of finished runs, safetensors files of weights for the run's
        backbone, or names of models with published weights, such as efficientnet_lite0 or timm:resnet18; NAME=SOURCE
        gives one a name."""
        random: Annotated[int, Range(low=0)] = 0
        """Encoders of random weights beside them, as distractors."""
        levels: tuple[str, ...] = ("pooled",)
        """Depths that are fused: names of maps that every encoder has, averaged over their pixels, or pooled."""
        standardise: bool = True
        """Standardise every feature by the training images."""
        features: Literal["once", "online"] = "once"
        """Read the encoders' features once, of images that are not augmented, or at every step of augmented ones."""
        tune: FineTuningConfig = field(default_factory=FineTuningConfig)
        """Whether and how the encoders are trained along."""

        def __post_init__(self) -> None:
            object.__setattr__(self, "encoders", tuple(map(_make_absolute, self.encoders)))
            super().__post_init__()
            if not self.trained and not self.encoders:
                fix = "name finished runs, files or models with encoders, or stages in trained"
                raise OptionError("encoders", "of one or more", "none", fix)
            self.name_encoders()
            if not self.levels or len(set(self.levels)) < len(self.levels):
                raise OptionError("levels", "of different names, at least one", str(self.levels), "name each once")
            if self.tune.is_on and self.features == "once":
                fix = "choose online: the features of encoders that are trained change at every step"
                raise OptionError("features", "online with tune.is-on", "once", fix)

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch, which the fusion may compare, and what ``tune`` says already."""
            fixed = {} if self.tune.is_on else {"layer_decay": "the encoders are trained with method.tune.is-on alone"}
            return {
                **fixed,
                "accumulate": "a fusion may compare the images of a batch",
                "freeze_epochs": "method.tune.after-epochs says when the encoders are trained",
                "backbone_rate": "method.tune.rate says it",
            }

        @classmethod
        def tiny(cls) -> "MultiPretext.Config":
            """Return options for two encoders of earlier stages."""
            return cls(trained=("first", "second"))

        def name_encoders(self) -> dict[str, str]:
            """Return the sources of the encoders by name, in order; those of stages and random ones have none.

            Raises:
                ConfigError: two have one name, or a name is no word.
            """
            named = [(name, "") for name in self.trained]
            for source in self.encoders:
                name, is_named, place = source.partition("=")
                if not (is_named and name.isidentifier()):
                    name, place = _make_name(source), source
                named.append((name, place))
            named += [(f"random_{number}", "") for number in range(1, self.random + 1)]
            found = dict(named)
            if len(found) < len(named):
                twice = next(name for name, _ in named if [other for other, _ in named].count(name) > 1)
                raise ConfigError("encoders of different names", f"two called {twice}", "name them, as in NAME=SOURCE")
            for name in found:
                if not name.isidentifier() or hasattr(nn.ModuleDict, name) or name == "backbone":
                    fix = "use letters, digits and _, and no name of a function of torch's modules"
                    raise ConfigError("names of encoders that are words of their own", repr(name), fix)
            return found

        @property
        def inherited_parts(self) -> tuple[str, ...]:
            """The encoders that earlier stages train."""
            return tuple(map(place_of, self.trained))

        @property
        def shows_images(self) -> bool:
            """Whether steps need images."""
            return self.features == "online" or self.fusion.reads_own

        def required_views(self) -> dict[str, View]:
            """Return the training images, or what is known of them where features are read once."""
            return {"train": View(images=self.shows_images)}

        def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
            """Return a step of the fusion alone, or of the encoders, too."""
            is_tuned = self.tune.is_on and step >= self.tune.after_epochs * passes.get("train", 1)
            return StepPlan({"train": step}, None, "tuned" if is_tuned else "fusion")

    config: Config
    backbone: EncoderSet
    mean: Tensor
    scale: Tensor

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.own = networks.backbone if config.fusion.reads_own else None
        encoders = {
            name: self._load_encoder(networks, name, source) if source else networks.new(name)
            for name, source in config.name_encoders().items()
        }
        self.names = tuple(encoders)
        self.backbone = EncoderSet(encoders, levels=config.levels, is_trained=config.tune.is_on)
        shapes = EncoderShapes(
            self.names,
            self.backbone.widths,
            self.task.num_outputs,
            networks.backbone.num_features,
            networks.seed,
        )
        try:
            self.fusion = config.fusion.build(shapes)
        except OptionError as error:
            raise error.under("fusion") from error
        self.register_buffer("mean", torch.zeros(self.backbone.num_features))
        self.register_buffer("scale", torch.ones(self.backbone.num_features))

    @property
    def predicting_backbone(self) -> AbstractBackbone:
        """The encoders, or the network that predicts alone."""
        return self.own if self.own is not None and self.fusion.predicts_alone else self.backbone

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser for the fusion, with the run's own network, and one for encoders that are trained."""
        encoders = {*self.backbone.parameters()}
        rest = [parameter for parameter in self.trained_parameters() if parameter not in encoders]
        built = {"main": self.config.optimizer.build(rest)}
        if self.config.tune.is_on:
            built["encoders"] = self.config.optimizer.build(self.backbone.parameters(), rate=self.config.tune.rate)
        return built

    def begin(self, start: StageStart) -> Prepared:
        """Return the training images' features, how to standardise them, and what the fusion makes of them."""
        config, images = self.config, start.images["train"]
        tensors: dict[str, Tensor] = {}
        if config.features == "once" or config.standardise or config.fusion.prepares:
            # One encoder at a time: each has a file of its own in the cache, whatever others are beside it.
            rows = torch.cat([images.features(encoder) for encoder in self.backbone.members], 1)
            if config.standardise:
                tensors |= {_MEAN: rows.mean(0), _SCALE: _find_scale(rows)}
            if config.fusion.prepares:
                parts = rows.split(self.backbone.totals, 1)
                found = self.fusion.prepare(parts, images.targets[LABEL], generator=start.generator("fusion"))
                tensors |= {f"{_FUSION}{name}": value for name, value in found.items()}
            if config.features == "once":
                tensors[_FEATURES] = rows
        if config.tune.is_on and config.tune.anchor:
            tensors[_ANCHOR] = torch.cat([weight.detach().cpu().flatten() for weight in self.backbone.parameters()])
        return Prepared(tensors)

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the labels, and on what else the fusion asks for."""
        batch = batches["train"]
        if state.step == 0:
            self._take_prepared(state.prepared)
        is_tuned = state.kind == "tuned"
        own = None
        with runtime.autocast():
            parts = self._read_parts(state, batch, is_tuned=is_tuned)
            if self.own is not None:
                own = self.own(batch.images).pooled
            fused = self.fusion(parts, own)
        labels = [batch.mean(self.task.losses(each, batch.targets)) for each in fused.learning or (fused.logits,)]
        step = FusionStep(parts, own, batch, runtime)
        losses = {"classification_loss": torch.stack(labels).sum(), **self.fusion.further_losses(fused, step)}
        if is_tuned and _ANCHOR in state.prepared:
            losses["anchor_loss"] = self.config.tune.anchor * self._measure_distance(state.prepared[_ANCHOR])
        moved = [state.optimizers[name] for name in (("main", "encoders") if is_tuned else ("main",))]
        runtime.step_together(moved, torch.stack(list(losses.values())).sum())
        told = {name: loss.detach() for name, loss in losses.items()}
        return told if fused.weights is None else {**told, **self._tell_weights(fused.weights.detach(), step)}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the fusion, ``semantic``."""
        return {"semantic": self.fuse(images).logits}

    def fuse(self, images: Images) -> Fused:
        """Return what the fusion says of normalised images, with the weights of the encoders."""
        own = None if self.own is None else self.own(images).pooled
        if self.fusion.predicts_alone:
            parts: Sequence[Tensor] = ()
        else:
            parts = self._standardise_parts(self.backbone(images).pooled)
        fused: Fused = self.fusion(parts, own)
        return fused

    def image_values(self, images: Images) -> dict[str, Float[Tensor, " batch"]]:
        """Return the weight of each encoder at each image, ``attention_NAME``, its mean over heads and levels."""
        weights = self.fuse(images).weights
        if weights is None:
            return {}
        return {f"attention_{name}": column for name, column in zip(self.names, weights.mean(1).T, strict=True)}

    def exhibits(self, images: Mapping[str, AbstractImageReader]) -> Sequence[Exhibit]:
        """Return the weights of the encoders on the validation images, where the fusion weighs them."""
        if not self.fusion.weighs:
            return ()
        rows = images["val"].read(self._weigh_batch)
        names = Classification.require(self.task).class_names
        return exhibit_attention(images["val"], rows, names=self.names, class_names=names)

    def frozen_parameters(self) -> dict[str, str]:
        """Return the encoders, unless they are trained along."""
        if self.config.tune.is_on:
            return {}
        return {f"backbone.{name}": "encoders stay as they are" for name, _ in self.backbone.named_parameters()}

    def _load_encoder(self, networks: AbstractNetworks, name: str, source: str) -> AbstractBackbone:
        """Return an encoder that is there already; one that is trained further is a copy of it."""
        try:
            loaded = networks.load(name, source)
        except ShapeError as error:
            expected = f"{error.expected}, the encoder {name} of {source}"
            raise ShapeError(expected, error.got, "train it on images of this size, or leave it out") from error
        if not self.config.tune.is_on or not isinstance(loaded, FrozenBackbone):
            return loaded
        return RenormalisedBackbone(deepcopy(loaded.network), scale=loaded.scale, shift=loaded.shift)

    @torch.no_grad()
    def _take_prepared(self, prepared: Mapping[str, Tensor]) -> None:
        """Set the buffers that follow from the training images."""
        for name, value in prepared.items():
            if name in (_MEAN, _SCALE) or name.startswith(_FUSION):
                self.get_buffer(name).copy_(value)

    def _read_parts(self, state: TrainState, batch: Batch, *, is_tuned: bool) -> Sequence[Tensor]:
        """Return the standardised features of each encoder, attached to the graph where the encoders are trained."""
        if _FEATURES in state.prepared:
            kept = state.prepared[_FEATURES]
            return self._standardise_parts(kept[batch.indices.to(kept.device)])
        with torch.set_grad_enabled(is_tuned):
            rows = self.backbone(batch.images).pooled
        return self._standardise_parts(rows)

    def _standardise_parts(self, rows: Float[Tensor, "batch dim"]) -> Sequence[Float[Tensor, "batch _"]]:
        """Return the features of each encoder, standardised."""
        standard: Float[Tensor, "batch dim"] = (rows.to(self.mean.dtype) - self.mean) / self.scale
        parts: Sequence[Tensor] = standard.split(self.backbone.totals, 1)
        return parts

    def _measure_distance(self, anchor: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        """Return the squared distance of the encoders' weights to what they were."""
        weights = [*self.backbone.parameters()]
        starts = anchor.split([weight.numel() for weight in weights])
        pairs = zip(weights, starts, strict=True)
        return torch.stack([(weight.flatten() - start).square().sum() for weight, start in pairs]).sum()

    def _weigh_batch(self, batch: Batch) -> Float[Tensor, "batch encoders"]:
        """Return the weight of each encoder at each image."""
        return torch.stack([*self.image_values(batch.images).values()], 1).float()

    def _tell_weights(self, weights: Float[Tensor, "batch heads encoders"], step: FusionStep) -> Metrics:
        """Return the mean weight of each encoder in the batch, and the mean entropy of an image's weights in nats."""
        entropies = -torch.special.xlogy(weights, weights).sum(2).mean(1, keepdim=True)
        *means, entropy = joined_mean(torch.cat([weights.mean(1), entropies], 1), step).unbind()
        told = {f"attention_{name}": mean for name, mean in zip(self.names, means, strict=True)}
        return {**told, "attention_entropy": entropy}


def place_of(name: str) -> str:
    """Return the module that an encoder's weights go to, for the transfers of a recipe."""
    return f"backbone.encoders.{name}.network"


def _find_scale(rows: Float[Tensor, "n dim"]) -> Float[Tensor, " dim"]:
    """Return the standard deviation of each feature, and 1 for one that is the same everywhere."""
    deviation = rows.std(0, correction=0)  # of a constant column it is rounding, not 0
    return torch.where(deviation > 1e-6 * rows.abs().amax(0), deviation, 1.0)


def _make_name(source: str) -> str:
    """Return a word for an encoder: the name of its run, file or model."""
    path = Path(source)
    stem = path.stem if path.suffix == ".safetensors" else path.name
    if has_published_weights(source):
        stem = source.rpartition(":")[2].rpartition("/")[2]
    elif stem == "model":
        stem = path.absolute().parent.name
    word = re.sub(r"\W", "_", stem)
    return word if word.isidentifier() else f"encoder_{word}"


def _make_absolute(source: str) -> str:
    """Return a source that is the same from every folder."""
    name, is_named, place = source.rpartition("=")
    if has_published_weights(place):
        return source
    return f"{name}{is_named}{Path(place).expanduser().absolute()}" if place else source
