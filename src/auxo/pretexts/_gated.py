"""Several label-free tasks on one image, answered from the classifier's features and weighted by a gate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from auxo.errors import ConfigError
from auxo.gates import AbstractGate, GateConfig, GateResult, GateStep, TaskLosses, build_gate_step
from auxo.gates.learned import LearnedGate
from auxo.interfaces import PretextBatch, PretextHead, TrainState, View
from auxo.layers.heads import HeadKind, class_head
from auxo.options import Options, Range
from auxo.pretexts._quadrants import AbstractQuadrantPretext, find_quadrant_pretexts, make_quadrants
from auxo.pretexts.channel_shuffle import ChannelShuffle
from auxo.pretexts.flip import Flip, FlipAxis
from auxo.random import Draws
from auxo.registry.outside import absolute_name
from auxo.runtime import Runtime
from auxo.types import Batch, Batches, Images, Losses, Metrics, Normalisation

_ShuffleSpace: TypeAlias = Literal["normalised", "pixels"]


class GatedLoss(NamedTuple):
    """What the pretexts add to the loss of a step.

    Args:
        loss: scalar, weighted and attached to the graph; its average over the processes is that of the joined batch.
        metrics: detached scalars, the same names at every step: ``<name>_loss`` of each pretext in nats; what the gate
            makes of them, ``gated_loss``, before its weight beside the class loss; the gate's weights ``gate_<name>``.
        weights: shape ``(tasks,)``; detached; the gate's, in the order of :attr:`GatedPretexts.names`.
    """

    loss: Float[Tensor, ""]
    metrics: Metrics
    weights: Float[Tensor, " tasks"]


@dataclass(frozen=True, kw_only=True)
class GatedPretextsConfig(Options):
    """Pretexts on one quadrant of every training image, and how their losses are weighted."""

    tasks: tuple[str, ...] = ("flip", "lorot", "channel_shuffle")
    """Pretexts that change one quadrant, each once, in the order in which they are applied: any of flip (2 classes),
    lorot (16: quadrant and turns), channel_shuffle (6) and your own, file.py:Name; may be empty."""
    flip_axis: FlipAxis = "horizontal"
    """What flip exchanges: left and right, or top and bottom as in the released long-tailed scripts."""
    shuffle_space: _ShuffleSpace = "normalised"
    """Where channel_shuffle exchanges channels: after normalisation, or before it, among pixels in [0, 1]."""
    gate: GateConfig = field(default_factory=LearnedGate.Config)
    """How the pretexts' losses are weighted against each other."""
    weight: Annotated[float, Range(low=0)] = 0.1
    """Weight of the gated loss beside the classification loss; 0 transforms images and trains no pretext."""
    normalise_weights: bool = True
    """Weights of a mean over the tasks; without, M times as much for M tasks, as in the release's plain sum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tasks", tuple(map(absolute_name, self.tasks)))
        _ = self.parts  # refuses what does not suit

    @property
    def parts(self) -> dict[str, AbstractQuadrantPretext]:
        """The pretexts by what rows and metrics call them, in order."""
        found = find_quadrant_pretexts(self.tasks, option="tasks")
        return {part.label: Flip(self.flip_axis) if isinstance(part, Flip) else part for part in found}

    @property
    def shuffles_normalised(self) -> bool:
        """Whether channels are exchanged after normalisation, which leads out of the range of pixels."""
        is_shuffled = any(isinstance(part, ChannelShuffle) for part in self.parts.values())
        return is_shuffled and self.shuffle_space == "normalised"

    @property
    def views(self) -> dict[str, View]:
        """The view that the gate asks for, ``gate``, if it does and there is something to weigh."""
        return {"gate": self.gate.view} if self.tasks and self.gate.view is not None else {}

    def build(
        self, num_features: int, *, seed: int, head: HeadKind = "linear", class_outputs: int | None = None
    ) -> "GatedPretexts":
        """Return the pretexts' heads and the gate; see :class:`GatedPretexts` for the arguments."""
        return GatedPretexts(self, num_features, seed=seed, head=head, class_outputs=class_outputs)


class GatedPretexts(nn.Module):
    """The tasks' heads and their gate; the backbone and the class head belong to the method.

    Args:
        config: options.
        num_features: length of the pooled vector.
        seed: for the first weights, from the streams ``init/<pretext.stream>`` and ``init/gate``.
        head: linear heads, or cosines of features and prototypes; the latter without a scale, as released.
        class_outputs: let the gate weigh the class loss, too, with this many classes; by default it does not.

    Raises:
        ConfigError: the gate covers the class loss, and there is no pretext or no weight to set against it.

    Example:
        >>> pretexts = GatedPretextsConfig().build(64, seed=0)
        >>> pretexts.names, sum(p.numel() for p in pretexts.parameters())
        (('flip', 'lorot', 'channel_shuffle'), 1755)
    """

    def __init__(
        self,
        config: GatedPretextsConfig,
        num_features: int,
        *,
        seed: int,
        head: HeadKind = "linear",
        class_outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.covers_class = class_outputs is not None
        if self.covers_class and not (config.tasks and config.weight):
            got = "no pretext" if config.weight else "pretexts of weight 0"
            raise ConfigError("pretexts beside the class loss for a gate that covers it", got, "cover pretexts only")
        self.parts = config.parts
        num_answers = {name: part.num_outputs for name, part in self.parts.items()}
        self.heads = nn.ModuleDict(
            {
                name: class_head(head, part.stream, num_features, part.num_outputs, seed=seed)
                for name, part in self.parts.items()
            }
        )
        self.gate: AbstractGate | None = None
        if self.parts:
            num_outputs = (*(() if class_outputs is None else (class_outputs,)), *num_answers.values())
            self.gate = config.gate.build(num_features=num_features, num_outputs=num_outputs, seed=seed)

    @property
    def names(self) -> tuple[str, ...]:
        """What the gate weighs, in order: the class loss if it is covered, then the pretexts as they are applied."""
        return (*(("class",) if self.covers_class else ()), *self.parts)

    def make(self, images: Images, *, draws: Draws, normalisation: Normalisation | None = None) -> PretextBatch:
        """Return every image with one quadrant flipped, turned and its channels shuffled, as far as asked for.

        Args:
            images: shape ``(batch, channels, side, side)``; network inputs, the side even; left as they are.
            draws: of quadrants and codes, one of each per image.
            normalisation: how the inputs were made from pixels; needed where channels are exchanged among pixels.

        Returns:
            One input for each image, in their order; targets int64 of shape ``(batch, pretexts)``. Without pretexts
            the images themselves.
        """
        if not self.parts:
            places = torch.arange(len(images), device=images.device)
            return PretextBatch(images, places[:, None][:, :0], places)
        parts = tuple(self.parts.values())
        if self.config.shuffle_space == "normalised" or not any(isinstance(part, ChannelShuffle) for part in parts):
            return make_quadrants(images, parts, draws)
        if normalisation is None:
            raise ConfigError("a batch that says how it was normalised", "none", "make it with InputPipeline")
        made = make_quadrants(normalisation.to_pixels(images), parts, draws)
        return made._replace(inputs=normalisation.to_inputs(made.inputs))

    def losses(
        self, features: Float[Tensor, "samples dim"], targets: Int[Tensor, "samples pretexts"], *, runtime: Runtime
    ) -> Float[Tensor, "samples pretexts"]:
        """Return every sample's loss at every pretext, nats, attached to the graph."""
        with runtime.autocast():
            outputs = [head(features) for head in self.heads.values()]
        return self._stack_losses(outputs, targets)

    def gate_step(
        self,
        state: TrainState,
        batch: Batch,
        batches: Batches,
        runtime: Runtime,
        *,
        backbone: nn.Module,
        head: nn.Module,
        classify: Callable[[Tensor, Batch], Losses],
        primary_loss: Float[Tensor, ""] | None = None,
    ) -> GateStep:
        """Return what the gate may know of a step.

        Args:
            state: of the step.
            batch: that the method trains on.
            batches: its labelled images as ``train``, and those of the gate's own view, if it has one, as ``gate``.
            runtime: see :meth:`forward`.
            backbone: what the pretexts and the classes share.
            head: of the classes.
            classify: returns the class losses of the head's outputs for a batch.
            primary_loss: of the classes, where :meth:`forward` does not get their losses.
        """

        def answer(shown: Batch) -> TaskLosses:
            draws = state.draws("gate", shown)
            made = self.make(shown.images, draws=draws, normalisation=shown.normalisation)
            features = backbone(made.inputs).pooled
            primary = classify(head(features), shown)
            losses = self._stack_losses([each(features) for each in self.heads.values()], made.targets)
            return TaskLosses(self._stack_weighed(losses, primary), primary)

        scale = 1.0 if self.config.normalise_weights else float(len(self.names))
        step = build_gate_step(
            state,
            batches,
            runtime,
            parts={"backbone": backbone, "head": head, "heads": self.heads},
            answer=answer,
            primary=0 if self.covers_class else None,
            primary_loss=primary_loss,
            scale=scale if self.covers_class else scale * self.config.weight,
        )
        return replace(step, batch=batch)

    def forward(
        self,
        features: Float[Tensor, "samples dim"],
        targets: Int[Tensor, "samples pretexts"],
        step: GateStep,
        *,
        class_losses: Losses | None = None,
    ) -> GatedLoss:
        """Return the weighted loss of the pretexts, to be added to the class loss, and the metrics.

        Args:
            features: the backbone's, of the inputs of :meth:`make`; attached to the graph.
            targets: the answers of :meth:`make`.
            step: what else the gate may know; which task is primary is known here.
            class_losses: shape ``(samples,)``; their mean is the primary loss, unless the step says it. Part of the
                returned loss where the gate covers the class loss.
        """
        if self.gate is None:
            return GatedLoss(features.new_zeros(()), {}, features.new_zeros(0))
        losses = self.losses(features, targets, runtime=step.runtime)
        result = self._ask_gate(self.gate, losses, class_losses, features, step)
        scale = 1.0 if self.config.normalise_weights else float(len(self.names))
        weights = result.weights * scale
        loss = result.loss * scale if self.covers_class else result.loss * (scale * self.config.weight)
        means = losses.detach().mean(0) * step.batch.share
        metrics = {f"{name}_loss": mean for name, mean in zip(self.parts, means.unbind(), strict=True)}
        metrics["gated_loss"] = (result.loss * scale).detach()
        metrics |= {f"gate_{name}": weight for name, weight in zip(self.names, weights.unbind(), strict=True)}
        return GatedLoss(loss if self.config.weight else loss.detach(), metrics, weights)

    def summed_loss(
        self,
        features: Float[Tensor, "samples dim"],
        targets: Int[Tensor, "samples pretexts"],
        class_losses: Losses,
        step: GateStep,
    ) -> Float[Tensor, ""]:
        """Return the class and pretext losses summed over the samples, the weights held fixed: what an attack raises.

        Every sample's gradient is its own, whatever the size of the batch, but for the weights, which all samples set.
        """
        if self.gate is None:
            return class_losses.sum()
        losses = self.losses(features, targets, runtime=step.runtime)
        asked = replace(step, learns=False)
        weights = self._ask_gate(self.gate, losses, class_losses, features, asked).weights
        if not self.config.normalise_weights:
            weights = weights * len(self.names)
        total = (self._stack_weighed(losses, class_losses).sum(0) * weights).sum()
        return total if self.covers_class else class_losses.sum() + self.config.weight * total

    def pretext_heads(self, backbone: nn.Module) -> dict[str, PretextHead]:
        """Return each pretext with its head on ``backbone``, for evaluation: alone, the others left out."""

        def answer(name: str) -> Callable[[Tensor], Tensor]:
            return lambda images: self.heads[name](backbone(images).pooled)

        return {name: PretextHead(part, answer(name)) for name, part in self.parts.items()}

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parameters that no gradient reaches, each with the reason."""
        if self.gate is None:
            return {}
        if not self.config.weight:
            return dict.fromkeys((name for name, _ in self.named_parameters()), "the pretexts have weight 0")
        return {f"gate.{name}": reason for name, reason in self.gate.frozen_parameters().items()}

    def _ask_gate(
        self, gate: AbstractGate, losses: Tensor, class_losses: Losses | None, features: Tensor, step: GateStep
    ) -> GateResult:
        """Return what the gate makes of the losses, told which is the primary task's, and how large that is."""
        step = replace(step, primary=0 if self.covers_class else None)
        if step.primary_loss is None and class_losses is not None:
            step = replace(step, primary_loss=step.batch.mean(class_losses))
        result: GateResult = gate(self._stack_weighed(losses, class_losses), features, step)
        return result

    def _stack_losses(self, outputs: Sequence[Tensor], targets: Tensor) -> Float[Tensor, "samples pretexts"]:
        """Return every sample's loss at every pretext from the heads' outputs."""
        parts = zip(self.parts.values(), outputs, targets.unbind(1), strict=True)
        return torch.stack([part.loss(output, answers) for part, output, answers in parts], 1)

    def _stack_weighed(self, losses: Tensor, class_losses: Losses | None) -> Tensor:
        """Return what the gate weighs: the pretexts' losses, or the class loss and those at their weight."""
        if not self.covers_class:
            return losses
        if class_losses is None:
            raise ConfigError("class losses for a gate that covers them", "none", "pass class_losses")
        return torch.cat([class_losses[:, None], self.config.weight * losses], 1)
