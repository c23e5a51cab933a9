"""FixMatch: a few labels, and sure answers to weak views of other images as labels of their strong views."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.errors import ConfigError
from auxo.gates import GateStep
from auxo.interfaces import (
    AbstractBackbone,
    AbstractMethod,
    AbstractNetworks,
    MethodConfig,
    PretextHead,
    StepPlan,
    TrainState,
    View,
)
from auxo.layers.batch_norm import keep_running_statistics
from auxo.losses import cross_entropy_losses
from auxo.optimizers import OptimizerConfig
from auxo.options import Range
from auxo.pretexts import GatedPretexts, GatedPretextsConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import LABEL, Batch, Batches, Images, Metrics

SOURCE = (
    "Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020 (arXiv "
    "2001.07685), Eq. 3 and 4 and Algorithm 1; github.com/google-research/fixmatch. Three random operations in the "
    "strong view, and the recipe cifar10_released, as in github.com/LeeDoYup/FixMatch-pytorch, which the authors of "
    "G-SSL (arXiv 2307.14897) extended; how their semi-supervised experiment weights its pretexts was read in their "
    "development code (github.com/aristorenaldo/FixMatch-pytorch), not in a paper. Differs: the strong view is made of "
    "a weak one, as in the first release (in the second the random operations come before crop and flip); the moving "
    "average follows faster in the first steps, and batch norm's running statistics are averaged like the weights, "
    "where both releases take the latest; with pretexts, pseudo-labels come from weak views as they are "
    "(transform_pseudo_labels: from transformed ones, as in the development code); a batch at the end of a pass over a "
    "split is smaller instead of beginning the next pass."
)


class _Joint(NamedTuple):
    """The inputs of the one pass that learns.

    Args:
        batch: labelled, weak and strong images after the pretexts' changes, one after the other.
        targets: the pretexts' answers, shape ``(images, pretexts)``.
        counts: images of each of the three.
    """

    batch: Batch
    targets: Tensor
    counts: list[int]


class _Averaged(nn.Module):
    """A moving average of the weights and running statistics of backbone, head and pretexts."""

    def __init__(self, backbone: AbstractBackbone, semantic: nn.Linear, pretexts: GatedPretexts) -> None:
        super().__init__()
        self.backbone, self.semantic, self.pretexts = deepcopy((backbone, semantic, pretexts))
        self.requires_grad_(False)

    @torch.no_grad()
    def follow(self, trained: nn.Module, *, kept: float) -> None:
        """Move towards the parts of ``trained`` with the same names, keeping a part; counts of batches are copied."""
        weights = trained.state_dict()
        for name, average in self.state_dict().items():
            if average.is_floating_point():
                average.lerp_(weights[name], 1 - kept)
            else:
                average.copy_(weights[name])


class FixMatch(AbstractMethod):
    r"""One class head on one backbone; three views in one pass.

    With labelled images ``x`` and unlabelled ones ``u``, ``w(u)`` a weak and ``s(u)`` a strong view, ``p`` the
    predicted probabilities and means over the batch, one step is taken on

    .. math:: CE(p(x), y) + \lambda_u \, \mathrm{mean}_u \, 1[\max p(w(u)) \ge \tau] \, CE(p(s(u)), \arg\max p(w(u)))
              + \lambda \sum_t g_t \, CE_t .

    No gradient runs through ``p(w(u))``; the mean is over all unlabelled images, sure or not. The last term is that of
    :class:`auxo.pretexts.GatedPretexts` over all three views, whose inputs then have one changed quadrant; without
    pretexts there is none. What predicts is a moving average of the weights.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of FixMatch."""

        serves = (Classification,)

        threshold: Annotated[float, Range(low=0, high=1)] = 0.95
        """Probability of the likeliest class from which a weak view's answer counts."""
        unlabelled_weight: Annotated[float, Range(low=0)] = field(default=1.0, metadata={"search": "log:0.1,10"})
        """Weight of the loss on unlabelled images; 0 leaves the labelled loss (and pretexts on all images)."""
        ratio: Annotated[int, Range(low=1)] = 7
        """Unlabelled images for each labelled one of a batch."""
        ema_decay: Annotated[float, Range(low=0, below=1)] = 0.999
        """Part of the averaged weights kept at each step; 0 predicts with the trained weights themselves."""
        pretexts: GatedPretextsConfig = field(default_factory=lambda: GatedPretextsConfig(tasks=()))
        """Pretexts on a quadrant of all images, their gate and weight; none by default."""
        transform_pseudo_labels: bool = False
        """With pretexts, take pseudo-labels from the transformed weak views (released): one forward pass fewer."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.transform_pseudo_labels and not self.pretexts.tasks:
                fix = "pass --method.pretexts.tasks flip lorot channel_shuffle"
                raise ConfigError("pretexts for transform-pseudo-labels", "none", fix)

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch: the average moves with each, and a gate weighs the whole."""
            return {"accumulate": "its average of weights moves with each batch", **self.pretexts.gate.refused_tuning}

        @classmethod
        def tiny(cls) -> "FixMatch.Config":
            """Return options under which a step sees as many unlabelled images as labelled ones."""
            return cls(ratio=1)

        def required_views(self) -> dict[str, View]:
            """Return the labelled images as ``train``, the unlabelled as ``weak`` and ``strong``, and a gate's own."""
            strong = View("unlabelled", augment="strong", ratio=self.ratio)
            weak = View("unlabelled", ratio=self.ratio)
            return {"train": View(), "weak": weak, "strong": strong, **self.pretexts.views}

        def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
            """Return a step on every view, the gate's own where it reads it."""
            return self.pretexts.gate.plan_view(super().plan(step, passes), step)

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.semantic = networks.linear_head("semantic")
        self.pretexts = config.pretexts.build(self.backbone.num_features, seed=networks.seed)
        self.averaged = _Averaged(self.backbone, self.semantic, self.pretexts) if config.ema_decay else None

    @property
    def predicting_backbone(self) -> AbstractBackbone:
        """The averaged backbone if there is one."""
        return (self.averaged or self).backbone

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over all trained weights."""
        return {"main": self.config.optimizer.build(self.trained_parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on labelled loss, unlabelled loss and pretexts, and move the average."""
        labelled, weak, strong = (batches[name] for name in ("train", "weak", "strong"))
        joint = self._join_views(state, batches)
        with runtime.autocast():
            features = self.backbone(joint.batch.images).pooled
            of_labelled, of_weak, of_strong = self.semantic(features).split(joint.counts)
        if self.config.pretexts.tasks and not self.config.transform_pseudo_labels:
            of_weak = self._logits_as_they_are(weak, runtime)
        confidences, pseudo_labels = _compute_probs(of_weak.detach()).max(dim=1)
        is_sure = (confidences >= self.config.threshold).to(confidences.dtype)
        classification_loss = labelled.mean(self.task.losses(of_labelled, labelled.targets))
        unlabelled_loss = strong.mean(is_sure * cross_entropy_losses(of_strong, pseudo_labels))
        step = self._gate_step(state, joint.batch, batches, runtime, classification_loss)
        gated = self.pretexts(features, joint.targets, step)
        loss = classification_loss + self.config.unlabelled_weight * unlabelled_loss + gated.loss
        runtime.step(state.optimizers["main"], loss)
        if self.averaged is not None:  # the first weights do not count
            self.averaged.follow(self, kept=min(self.config.ema_decay, state.step / (state.step + 9)))
        return {
            "classification_loss": classification_loss.detach(),
            "unlabelled_loss": unlabelled_loss.detach(),
            "mask_rate": weak.mean(is_sure),
            **gated.metrics,
        }

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the class head, ``semantic``, by the averaged weights if there are such."""
        parts = self.averaged or self
        return {"semantic": parts.semantic(parts.backbone(images).pooled)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the head of every pretext, by the averaged weights if there are such, unless none is trained."""
        parts = self.averaged or self
        return parts.pretexts.pretext_heads(parts.backbone) if self.config.pretexts.weight else {}

    def frozen_parameters(self) -> dict[str, str]:
        """Return the averaged weights, and those of the gate or pretexts that do not learn."""
        averaged = () if self.averaged is None else (name for name, _ in self.averaged.named_parameters())
        frozen = {f"averaged.{name}": "moving average of the trained weights" for name in averaged}
        return frozen | {f"pretexts.{name}": reason for name, reason in self.pretexts.frozen_parameters().items()}

    def _join_views(self, state: TrainState, batches: Batches) -> _Joint:
        """Change a quadrant of every image where there are pretexts, and put the three views one after the other."""
        views = {name: batches[name] for name in ("train", "weak", "strong")}
        made = [
            self.pretexts.make(
                view.images, draws=state.draws(f"pretexts/{name}", view), normalisation=view.normalisation
            )
            for name, view in views.items()
        ]
        first = batches["train"]
        batch = Batch(
            images=torch.cat([each.inputs for each in made]),
            targets={LABEL: torch.cat([view.labels for view in views.values()])},
            indices=torch.cat([view.indices for view in views.values()]),
            total=sum(view.joined_size for view in views.values()),
            num_processes=first.num_processes,
            normalisation=first.normalisation,
        )
        targets = torch.cat([each.targets for each in made])
        return _Joint(batch, targets, [len(view) for view in views.values()])

    def _gate_step(
        self, state: TrainState, joint: Batch, batches: Batches, runtime: Runtime, classification_loss: Tensor
    ) -> GateStep:
        """Return what the gate may know of a step; the primary loss is that of the labelled images."""

        def classify(logits: Tensor, batch: Batch) -> Tensor:
            return cross_entropy_losses(logits, batch.labels)

        return self.pretexts.gate_step(
            state,
            joint,
            batches,
            runtime,
            backbone=self.backbone,
            head=self.semantic,
            classify=classify,
            primary_loss=classification_loss,
        )

    @torch.no_grad()
    def _logits_as_they_are(self, weak: Batch, runtime: Runtime) -> Tensor:
        """Return the logits of weak views without the pretexts' changes; running statistics stay."""
        with runtime.autocast(), keep_running_statistics(self.backbone):
            logits: Tensor = self.semantic(self.backbone(weak.images).pooled)
        return logits


def _compute_probs(logits: Tensor) -> Tensor:
    """Return class probabilities, in float32 at least."""
    return (logits.float() if logits.dtype.itemsize < 4 else logits).softmax(dim=1)


def recipe() -> ExperimentConfig:
    """Return FixMatch with a LeNet-5 on the built-in digits, 250 of them labelled: 25 of each."""
    optimizer = OptimizerConfig(lr=0.03, weight_decay=5e-4, schedule="fixmatch", moves="step", decay_norms=False)
    return ExperimentConfig(
        stages=(StageConfig(method=FixMatch.Config(optimizer=optimizer), epochs=60, batch_size=32),),
        data=DataConfig(num_labelled=250, augment="crop"),
        training=TrainingConfig(evaluate_every=10),
    )


def cifar10_released() -> ExperimentConfig:
    """Return the CIFAR-10 recipe of the PyTorch release: 4,000 labels, 2^20 steps of 64 + 448 images, WRN-28-2.

    Differs: a tenth of the 50,000 training images validates and is in no other split; 16,645 passes over the labelled
    images, of 63 steps each, are 2^20 steps and 59; there is no mixed precision unless the runtime has it.
    """
    optimizer = OptimizerConfig(lr=0.03, weight_decay=5e-4, schedule="fixmatch", moves="step", decay_norms=False)
    return ExperimentConfig(
        stages=(StageConfig(method=FixMatch.Config(optimizer=optimizer), epochs=16_645, batch_size=64),),
        backbone=BackboneConfig(name="wrn_28_2_fixmatch"),
        data=DataConfig(scenario="cifar10", num_labelled=4000, augment="crop_flip"),
        training=TrainingConfig(evaluate_every=16),
    )
