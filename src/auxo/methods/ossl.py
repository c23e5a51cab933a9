"""OSSL: classification and rotation, then a step through an auxiliary classifier, on every batch."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.backbones import BackboneConfig
from auxo.bilevel import SoftmaxHeadProblem
from auxo.data import DataConfig
from auxo.errors import ConfigError
from auxo.interfaces import (
    AbstractMethod,
    AbstractNetworks,
    ImageInputs,
    ImagePretextModule,
    MethodConfig,
    PretextHead,
    TrainState,
    View,
)
from auxo.layers.batch_norm import keep_running_statistics
from auxo.losses import cross_entropy_losses
from auxo.optimizers import OptimizerConfig
from auxo.options import Options, Range
from auxo.pretexts.rotation import Rotation
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import Batch, Batches, Images, Metrics

SOURCE = (
    "After Boonlia, Dam, Ferdaus, Anavatti, Mullick, Improving Self-supervised Learning for Out-of-distribution Task "
    "via Auxiliary Classifier, ICIP 2022 (arXiv 2209.02881), as the authors' released code does it "
    "(github.com/harshita-555/OSSL, MIT). The paper's equations were not available to us: scope=reference is the code; "
    "head_only is the abstract taken literally; difference is a possible reading; implicit is ours. "
    "Differs from the code: nothing is selected on a test set; the semantic head is reported, never the better of two; "
    "a part of the training images validates."
)


@dataclass(frozen=True, kw_only=True)
class ImplicitConfig(Options):
    """Options of ``scope=implicit``; without effect in the other scopes."""

    response: Literal["rotated", "meta"] = "rotated"
    """Where the optimal auxiliary head is judged: on the three turned views of the batch, or on a meta batch."""
    weight: Annotated[float, Range(above=0)] = 1.0
    """Weight of the auxiliary head's response in the upper level."""
    proximal: Annotated[float, Range(above=0)] = 1.0
    """Strength that keeps the head near its last optimum; smaller makes both linear systems harder to solve."""
    newton_steps: Annotated[int, Range(low=1)] = 3
    """Newton steps to the head's optimum."""
    iterations: Annotated[int, Range(low=1)] = 10
    """Conjugate-gradient iterations in every Newton step and in the adjoint system."""


class _Features(NamedTuple):
    """Features of a batch and of the rotated images made from it.

    Args:
        upright: shape ``(batch, dim)``; of the images as they are.
        rotated: shape ``(n, dim)``; of the rotated images.
        inputs: the rotated images with their quarter turns, if there are any.
    """

    upright: Float[Tensor, "batch dim"]
    rotated: Float[Tensor, "n dim"]
    inputs: ImageInputs | None


class OSSL(AbstractMethod):
    r"""Three linear heads on one backbone: semantic (K classes), auxiliary (K), rotation (4).

    With ``f`` the backbone, ``c``, ``a``, ``r`` the heads, ``R_k`` a turn by k quarters and CE the mean cross-entropy,

    .. math::
        L_{cls} = CE(c(f(x)), y), \quad L_{rot} = CE(r(f(R_k x)), k), \quad L_{aux} = CE(a(f(x)), y).

    Every batch takes step A on ``L_cls + L_rot`` over ``f``, ``c``, ``r``, then step B at the new weights:

    * ``reference`` (released code): ``L_aux`` over ``f`` and ``a``, with an optimiser and momentum of its own. The code
      writes ``L_aux - L_cls + 1e-7`` with the semantic logits detached, which has the same gradient.
    * ``head_only``: ``L_aux`` over ``a`` alone; the weights of ``f``, ``c``, ``r`` train exactly as in joint training.
      (Batch norm's running statistics see one pass more, unless ``freeze_batch_norm`` is set.)
    * ``difference``: ``L_aux - L_cls`` over ``f`` and ``a``. Experimental: it pushes features away from the semantic
      head and vanishes where both heads are equal.
    * ``implicit`` (ours): no step B. The auxiliary head is a lower level in earnest, its optimum given the features,

      .. math:: a^*(f) = \arg\min_a CE(a(f(x)), y) + \frac{\rho}{2} \|a - a_{last}\|^2,

      and one step is taken on the upper level ``L_cls + L_rot + w L_resp(a^*(f), f)``. On the same loss and data the
      envelope theorem would cancel the implicit part but for the pull to the last head, so the response is judged
      elsewhere: by default it is the class loss of ``a^*`` on the three turned views,
      ``L_resp = CE(a^*(f(R_k x)), y)`` for k = 1, 2, 3. With
      ``H = \nabla_a^2 CE + \rho I`` at the optimum and ``V = H^{-1} \nabla_a L_resp``, the implicit function theorem
      gives

      .. math:: \frac{d L_{resp}}{d f} = \frac{\partial L_{resp}}{\partial f}
                - \frac{\partial}{\partial f} \langle \nabla_a CE(a^*, f), V \rangle ,

      so a feature is good when a head fitted on upright images also reads turned ones.
      See :class:`auxo.bilevel.SoftmaxHeadProblem`.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of OSSL and of its controls."""

        serves = (Classification,)

        scope: Literal["reference", "head_only", "difference", "implicit"] = "reference"
        """What the auxiliary classifier moves: see the method's page."""
        rotation: Literal["expand", "random", "off"] = "expand"
        """All four rotations, one random rotation, or no rotation task (the two-classifier control)."""
        second_head: Literal["auxiliary", "semantic"] = "auxiliary"
        """The head of step B: its own, or the semantic one again (the two-step control of equal compute)."""
        shared_upright: bool = False
        """Take step A's class logits from the rotated batch's upright block: one pass fewer, other batch norm."""
        freeze_batch_norm: bool = False
        """Leave batch norm's running statistics alone in step B."""
        auxiliary_weight_decay: Annotated[float | None, Range(low=0)] = None
        """Weight decay of step B; by default that of step A, so the backbone decays twice as in the released code."""
        implicit: ImplicitConfig = field(default_factory=ImplicitConfig)
        """Options of scope implicit."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.shared_upright and self.rotation != "expand":
                fix = "pass --method.rotation expand"
                raise ConfigError("rotation expand with shared-upright", self.rotation, fix)
            if self.scope != "reference" and self.second_head == "semantic":
                raise ConfigError("scope reference with second-head semantic", self.scope, "drop one of the options")
            if self.scope == "implicit" and self.implicit.response == "rotated" and self.rotation != "expand":
                raise ConfigError("rotation expand for a rotated response", self.rotation, "or use response meta")

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch, on which two steps are taken, and what the implicit head would not see."""
            found = {"accumulate": "it takes two steps on each batch"}
            if self.scope == "implicit":
                found = dict.fromkeys((*found, "freeze_epochs"), "the head's optimum is solved for on the whole batch")
            return found

        def required_views(self) -> dict[str, View]:
            """Return ``train``, and ``meta`` when the response is measured there."""
            needs_meta = self.scope == "implicit" and self.implicit.response == "meta"
            return {"train": View(), "meta": View("meta")} if needs_meta else {"train": View()}

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.semantic = networks.linear_head("semantic")
        self.auxiliary: nn.Linear | None = None
        if config.second_head == "auxiliary":
            self.head_names = ("semantic", "auxiliary")
            self.auxiliary = networks.linear_head("auxiliary")
        self.pretext: ImagePretextModule | None = None
        if config.rotation != "off":
            self.pretext = Rotation(config.rotation).build(self.backbone, seed=networks.seed)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return ``primary`` for step A and, where there is a step B, ``auxiliary`` with buffers of its own."""
        heads = [*self.semantic.parameters(), *(self.pretext.parameters() if self.pretext else ())]
        optimizers = {"primary": self.config.optimizer.build([*self.backbone.parameters(), *heads])}
        if self.config.scope != "implicit":
            second = self._second_head().parameters()
            features = () if self.config.scope == "head_only" else self.backbone.parameters()
            optimizers["auxiliary"] = self._second_optimizer_config().build([*features, *second])
        return optimizers

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take step A and step B, or in scope ``implicit`` the one step on the upper level."""
        batch = batches["train"]
        with runtime.autocast():
            features = self._compute_features(state, batch, runtime)
            logits = self.semantic(features.upright)
        classification_loss = batch.mean(self.task.losses(logits, batch.targets))
        metrics = {"classification_loss": classification_loss.detach()}
        loss = classification_loss
        if self.pretext is not None and features.inputs is not None:
            with runtime.autocast():
                rotation_loss = self.pretext.answer_features(features.rotated, features.inputs).loss
            metrics["rotation_loss"] = rotation_loss.detach()
            loss = loss + rotation_loss
        if self.config.scope == "implicit":
            response, report = self._solve_response(features, batches, runtime)
            runtime.step(state.optimizers["primary"], loss + self.config.implicit.weight * response)
            return {**metrics, **report}
        runtime.step(state.optimizers["primary"], loss)
        return {**metrics, **self._second_step(state, batch, runtime)}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of ``semantic``, to be used, and of ``auxiliary``."""
        pooled = self.backbone(images).pooled
        logits = {"semantic": self.semantic(pooled)}
        return logits if self.auxiliary is None else {**logits, "auxiliary": self.auxiliary(pooled)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the rotation head, if there is one."""
        if self.pretext is None:
            return {}
        return self.pretext.heads(self.backbone)

    def frozen_parameters(self) -> dict[str, str]:
        """Return the auxiliary head in scope ``implicit``, where it is solved for."""
        if self.config.scope != "implicit":
            return {}
        reason = "set to the optimum of the lower level after every step"
        return {"auxiliary.weight": reason, "auxiliary.bias": reason}

    def _compute_features(self, state: TrainState, batch: Batch, runtime: Runtime) -> _Features:
        """Return the features of step A.

        Two forward passes, so that batch norm sees the batch and the rotated images apart, as in the released code; one
        where the upright images are shared.
        """
        if self.pretext is None:
            pooled = self.backbone(batch.images).pooled
            return _Features(pooled, pooled[:0], None)
        inputs = self.pretext.prepare({"first": batch}, draws=state.draws, runtime=runtime)
        if self.config.shared_upright:
            features = self.backbone(inputs.made.inputs).pooled
            return _Features(features[: len(batch)], features, inputs)
        upright = self.backbone(batch.images).pooled
        return _Features(upright, self.backbone(inputs.made.inputs).pooled, inputs)

    def _second_step(self, state: TrainState, batch: Batch, runtime: Runtime) -> dict[str, Tensor]:
        """Step B, at the weights that step A left."""
        is_head_only = self.config.scope == "head_only"
        statistics = keep_running_statistics(self.backbone) if self.config.freeze_batch_norm else nullcontext()
        with runtime.autocast(), statistics, torch.set_grad_enabled(not is_head_only):
            pooled = self.backbone(batch.images).pooled
        with runtime.autocast(), torch.set_grad_enabled(self.config.scope == "difference"):
            semantic_logits = self.semantic(pooled)
        with runtime.autocast():
            logits = self._second_head()(pooled)
        auxiliary_loss = batch.mean(self.task.losses(logits, batch.targets))
        difference = auxiliary_loss - batch.mean(self.task.losses(semantic_logits, batch.targets))
        loss = difference if self.config.scope == "difference" else auxiliary_loss
        runtime.step(state.optimizers["auxiliary"], loss)
        return {"auxiliary_loss": auxiliary_loss.detach(), "auxiliary_minus_classification": difference.detach()}

    def _solve_response(
        self, features: _Features, batches: Batches, runtime: Runtime
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Solve the lower level and return the response, with the gradient that runs through the optimum."""
        config, batch, head = self.config.implicit, batches["train"], self._second_head()

        def average(tensor: Tensor) -> Tensor:
            (mean,) = runtime.mean([tensor])
            return tensor if mean is None else mean

        problem = SoftmaxHeadProblem(
            features=features.upright,
            labels=batch.labels,
            anchor=torch.cat([head.weight, head.bias.unsqueeze(1)], dim=1).detach(),
            proximal=config.proximal,
            share=batch.share,
            average=average,
        )
        solution = problem.solve(newton_steps=config.newton_steps, iterations=config.iterations)
        weight = solution.weight.requires_grad_()
        pooled, labels, judged = self._find_judged(features, batches, runtime)
        logits = pooled.to(weight.dtype) @ weight[:, :-1].T + weight[:, -1]
        explicit = judged.mean(cross_entropy_losses(logits, labels))
        (outer_gradient,) = torch.autograd.grad(explicit, weight, retain_graph=True)
        weight.requires_grad_(False)
        implicit = problem.response(solution, average(outer_gradient), iterations=config.iterations)
        with torch.no_grad():
            head.weight.copy_(weight[:, :-1])
            head.bias.copy_(weight[:, -1])
        report = {"response_loss": explicit.detach(), "lower_level_residual": solution.residual}
        return explicit + (implicit - implicit.detach()), report

    def _find_judged(self, features: _Features, batches: Batches, runtime: Runtime) -> tuple[Tensor, Tensor, Batch]:
        """Return the features and labels on which the optimal head is judged, and the batch they come from."""
        if self.config.implicit.response == "meta":
            batch = batches["meta"]
            with runtime.autocast():
                return self.backbone(batch.images).pooled, batch.labels, batch
        batch = batches["train"]
        return features.rotated[len(batch) :], batch.labels.repeat(3), batch

    def _second_head(self) -> nn.Linear:
        """Return the head of step B."""
        return self.semantic if self.auxiliary is None else self.auxiliary

    def _second_optimizer_config(self) -> OptimizerConfig:
        """Return step B's optimiser options: step A's, but for its weight decay if that is given."""
        decay = self.config.auxiliary_weight_decay
        return self.config.optimizer if decay is None else replace(self.config.optimizer, weight_decay=decay)


def recipe() -> ExperimentConfig:
    """Return OSSL as released, with a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=OSSL.Config()),))


def cifar10_released() -> ExperimentConfig:
    """Return the released CIFAR-10 recipe: DenseNet-40-12, 250 epochs, crops and flips, the last checkpoint.

    Differs: a tenth of the 50,000 training images validates, and mean and standard deviation are the training set's.
    """
    return ExperimentConfig(
        stages=(StageConfig(method=OSSL.Config(), epochs=250, batch_size=64),),
        backbone=BackboneConfig(name="densenet40_12"),
        data=DataConfig(scenario="cifar10", augment="crop_flip"),
    )
