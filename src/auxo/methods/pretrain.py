"""A pretext, without labels and without a class head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.errors import OptionError
from auxo.interfaces import (
    AbstractImagePretext,
    AbstractNetworks,
    AbstractPretextMethod,
    AbstractPretextModule,
    PretextConfig,
    PretextHead,
    PretextLoss,
    PretextMethodConfig,
    TrainState,
    View,
)
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member
from auxo.pretexts import collapse_metrics
from auxo.pretexts.simclr import SimCLR
from auxo.runtime import Runtime
from auxo.types import Batches, Images, Metrics

SOURCE = (
    "The pretexts' own: Chen et al., SimCLR, ICML 2020 (arXiv 2002.05709); Grill et al., BYOL, NeurIPS 2020 (arXiv "
    "2006.07733); Zbontar et al., Barlow Twins, ICML 2021 (arXiv 2103.03230); Bardes et al., VICReg, ICLR 2022 (arXiv "
    "2105.04906); pretexts of one image have theirs. Ours: two views are resized crops whose flips follow the run's "
    "own augmentation, one image is augmented as the run says; schedules move as the optimiser's options say. One "
    "network for several pretexts is after the idea of Doersch & Zisserman, Multi-task Self-Supervised Visual "
    "Learning, ICCV 2017 (arXiv 1708.07860), whose text was not checked: here each has inputs of its own, and the mean "
    "of their losses is taken."
)

_SHARED = "backbone"


class Pretraining(AbstractPretextMethod):
    """Trains backbone and pretext heads on the images alone; later stages start from the backbone.

    Where two views are compared, a warning sign of collapse, all images mapped to one point, is in the records of
    every step: ``embedding_std`` near 0, ``effective_rank`` near 1 (:func:`auxo.pretexts.collapse_metrics`).

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PretextMethodConfig):
        """Options of pretraining."""

        optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(lr=0.03, schedule="cosine", moves="step", warmup_epochs=1)
        )
        """How the weights follow their gradients; released BiSSL has name lars, lr 4.8 and batches of 1,024."""
        further: tuple[str, ...] = ()
        """Pretexts that train the same network along with the first, by name, each with its defaults: the loss is the
        mean of all."""
        first_weights: str = _SHARED
        """Name of the random numbers that the first weights come from: stages with names of their own begin apart."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if len(set(self.further)) < len(self.further):
                raise OptionError("further", "of different pretexts", ", ".join(self.further), "name each once")
            _ = self.further_pretexts  # refuses what is none
            if not self.first_weights.isidentifier():
                raise OptionError("first_weights", "of one word", repr(self.first_weights), "use letters, digits and _")

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch where a pretext compares its images, or follows each batch."""
            unlabelled = {"label_smoothing": "no head learns classes"}
            pretexts = (self.chosen_pretext, *self.further_pretexts.values())
            if all(isinstance(pretext, AbstractImagePretext) for pretext in pretexts):
                return unlabelled
            return {**unlabelled, "accumulate": "a pretext of two views compares the images of a batch"}

        @classmethod
        def tiny(cls) -> "Pretraining.Config":
            """Return options with narrow heads."""
            return cls(pretext=SimCLR.Config(hidden=16, outputs=8))

        @property
        def further_pretexts(self) -> dict[str, PretextConfig]:
            """The further pretexts with their defaults, by label."""
            made = [find_member(PretextConfig, name)() for name in self.further]
            return {pretext.label: pretext for pretext in made}

        def required_views(self) -> dict[str, View]:
            """Return the pretext's views of all images: ``first``, and where two are compared ``second``.

            Those of further pretexts have the pretext's name in front.
            """
            further = self.further_pretexts.items()
            own = {f"{label}_{name}": view for label, each in further for name, view in each.views().items()}
            return {**self.chosen_pretext.views(), **own}

    config: Config
    head_names = ()

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        # Weights that are not random are the same for all stages, whatever random numbers are asked for.
        if config.first_weights != _SHARED and not networks.begins_trained:
            self.backbone = networks.new(config.first_weights)
        self.pretext = config.chosen_pretext.build(self.backbone, seed=networks.seed)
        own = config.chosen_pretext.label
        if own in config.further_pretexts:
            raise OptionError("further", f"of others than {own}, the first pretext", own, "leave it out")
        self.further = nn.ModuleDict(
            {
                label: pretext.build(self.backbone, seed=networks.seed)
                for label, pretext in config.further_pretexts.items()
            }
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over all trained weights."""
        return {"main": self.config.optimizer.build(self.trained_parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the pretext's loss, or on the mean of those of all pretexts."""
        answer = self.pretext_loss(state, batches, runtime)
        losses = {self.config.chosen_pretext.label: answer.loss}
        for label in self.further:
            losses[label] = self._answer_further(label, state, batches, runtime)
        loss = torch.stack([*losses.values()]).mean()
        runtime.step(state.optimizers["main"], loss)
        each = {f"{label}_loss": one.detach() for label, one in losses.items()} if self.further else {}
        return {"pretext_loss": loss.detach(), **each, **collapse_metrics(answer.embeddings)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the heads of all pretexts whose answers are classes."""
        heads = super().pretext_heads()
        for pretext in self._further_modules().values():
            heads |= pretext.heads(self.backbone)
        return heads

    def frozen_parameters(self) -> dict[str, str]:
        """Return what follows the trained weights without gradients, if a pretext has such."""
        frozen = super().frozen_parameters()
        for label, pretext in self._further_modules().items():
            frozen |= {f"further.{label}.{name}": reason for name, reason in pretext.frozen_parameters().items()}
        return frozen

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return nothing: there is no class head."""
        del images
        return {}

    def _further_modules(self) -> dict[str, AbstractPretextModule[Any]]:
        """Return the heads of the further pretexts, by label."""
        return {label: cast("AbstractPretextModule[Any]", module) for label, module in self.further.items()}

    def _answer_further(self, label: str, state: TrainState, batches: Batches, runtime: Runtime) -> Float[Tensor, ""]:
        """Return the loss of a further pretext on its own views, and move what follows the trained weights."""
        pretext = self._further_modules()[label]
        views = self.config.further_pretexts[label].augmentations
        inputs = pretext.prepare(
            {name: batches[f"{label}_{name}"] for name in views}, draws=state.draws, runtime=runtime
        )
        pretext.follow(self.backbone, progress=state.progress)
        with runtime.autocast():
            answer: PretextLoss = pretext(self.backbone, inputs)
        return answer.loss
