"""BiSSL: a stage between pretraining and fine-tuning that lets the downstream loss say where pretraining goes on."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.bilevel import HessianOperator
from auxo.bilevel.second_order import FastSecondDerivatives
from auxo.bilevel.vectors import Layout
from auxo.errors import ConfigError
from auxo.interfaces import (
    AbstractBackbone,
    AbstractNetworks,
    AbstractPretextMethod,
    PretextMethodConfig,
    StepPlan,
    TrainState,
    View,
)
from auxo.layers.batch_norm import RunningStatisticsMove, keep_running_statistics, record_running_statistics
from auxo.optimizers import OptimizerConfig
from auxo.options import Range
from auxo.pretexts import collapse_metrics, loss_in_backbone
from auxo.pretexts.simclr import SimCLR
from auxo.random import Draws
from auxo.runtime import Runtime, parameters_of
from auxo.solvers import LowerLevel, Response, SolverConfig
from auxo.solvers.conjugate_gradient import ConjugateGradientSolver
from auxo.tasks import Classification
from auxo.types import Batch, Batches, Images, Metrics

SOURCE = (
    "After Zakarias, Hansen, Tan, BiSSL (TMLR, arXiv 2410.02387), of which the abstracts and the pipeline figures were "
    "read, and the released code of its versions; the text could not be read, so no number here is a reproduction. "
    "lambda 0.001, damping 10, 5 products, 20 lower and 8 upper steps, clipping at 10 are the released ones. Released, "
    "and an option here: conjugate gradients by layer (layerwise), running statistics that move with every product, "
    "which is applied in closed form instead of by its forward pass. "
    "mfac is the authors' later choice after the code of BiSSLight (arXiv 2609.33424). Ours: products from one graph "
    "per alternation, their batch drawn anew for each, a stop at negative curvature, gradients averaged over processes "
    "in every place."
)

_CURVATURE = "curvature"  # stream and beginning of the names of the views that the Hessian is of


class _Downstream(nn.Module):
    """The upper level's network."""

    def __init__(self, backbone: AbstractBackbone, semantic: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.semantic = semantic

    def forward(self, images: Images) -> Tensor:
        """Return class logits."""
        return cast("Tensor", self.semantic(self.backbone(images).pooled))


class BiSSL(AbstractPretextMethod):
    r"""Two levels that share nothing but a distance.

    The lower level goes on with the pretext from backbone ``theta_P`` and heads ``phi_P``, drawn towards the upper
    backbone; the upper one moves ``theta_D`` and a class head ``phi_D`` by the downstream loss at both backbones:

    .. math:: \min_{\theta_D, \phi_D} L^D(\theta_P^*(\theta_D), \phi_D) + \gamma L^D(\theta_D, \phi_D), \qquad
              \theta_P^*(\theta_D) = \arg\min_{\theta_P} L^P(\theta_P, \phi_P) + \tfrac{\lambda}{2}
              \|\theta_P - \theta_D\|^2 .

    With ``v`` the gradient of the first term in the backbone and ``H`` the Hessian of ``L^P`` in ``theta_P``, the
    gradient in ``theta_D`` is ``J v + gamma grad L^D(theta_D, phi_D)`` with ``J = lambda (H + lambda I)^-1``. Solved is
    ``(I + H / (lambda + d)) z = v`` with damping ``d``, which is the exact ``J`` of the coupling ``lambda + d``. An
    alternation is ``lower_steps`` steps below and ``upper_steps`` above, and counts as an epoch. Later stages start
    from ``backbone``, the lower one.

    Batch norm normalises by the batch in all of them. Its running statistics in ``theta_P`` belong to the pretext's
    steps, unless ``batch_norm`` is "move": then downstream images move them, too, and the batch of the Hessian as often
    as in the release, which makes the forward pass anew for every product.

    Args:
        config: options.
        networks: give the lower network; a copy of it is the upper one until a stage's transfers say otherwise.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PretextMethodConfig):
        """Options of BiSSL's bilevel stage."""

        serves = (Classification,)
        optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(
                lr=0.03, nesterov=False, weight_decay=1e-3, schedule="cosine", moves="step", minimum_lr=3e-5
            )
        )
        """How the upper level follows its gradients."""
        lower_optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(
                name="lars", lr=1.0, weight_decay=1e-6, schedule="cosine", moves="step", minimum_lr=1e-3
            )
        )
        """How the lower level follows its gradients; SGD suits small networks."""
        lower_steps: Annotated[int, Range(low=1)] = 20
        """Steps below in an alternation."""
        upper_steps: Annotated[int, Range(low=1)] = 8
        """Steps above in an alternation."""
        pretext_ratio: Annotated[int, Range(low=1)] = 4
        """Images of a lower step for each image of an upper one; the stage's batch size is the upper one's."""
        curvature_ratio: Annotated[int, Range(low=1)] = 4
        """The same for the one batch of an alternation that the Hessian is of; a smaller one saves time and memory."""
        coupling: Annotated[float, Range(low=0)] = 0.001
        """Weight lambda of half the squared distance of the backbones in the lower loss. It does not carry over
        to other networks: see that the recorded distance stays at a few percent."""
        direct_weight: Annotated[float, Range(low=0)] = 1.0
        """Weight gamma of the downstream loss at the upper backbone itself; 0.01 in the first version."""
        indirect_weight: Annotated[float, Range(low=0)] = 1.0
        """Weight of the downstream loss at the lower solution in the backbone's gradient; 0 is a control."""
        solver: SolverConfig = field(default_factory=ConjugateGradientSolver)
        """How J v is had."""
        batch_norm: Literal["keep", "move"] = "keep"
        """Leave the lower level's running statistics alone in upper steps, or let downstream images and every product
        move them (released); they come out as if each product were a forward pass of its own."""
        clip_norm: Annotated[float, Range(above=0, high=math.inf)] = 10.0
        """Norm that all gradients of a level are scaled down to."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self.solver.check_coupling(self.coupling)

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse what would change the steps of two levels; the norm is clipped by an option of its own."""
            two = dict.fromkeys(
                ("accumulate", "freeze_epochs"), "the upper level answers to the lower one's whole step"
            )
            return {**two, "clip_norm": "method.clip-norm clips both levels"}

        @classmethod
        def tiny(cls) -> "BiSSL.Config":
            """Return options with narrow heads and an alternation of two and two steps."""
            return cls(
                pretext=SimCLR.Config(hidden=16, outputs=8),
                lower_optimizer=OptimizerConfig(lr=0.03),
                lower_steps=2,
                upper_steps=2,
                pretext_ratio=1,
                curvature_ratio=1,
                solver=ConjugateGradientSolver(iterations=2),
            )

        @property
        def has_hessian(self) -> bool:
            """Whether the solver takes products with the Hessian."""
            return self.solver.has_products and self.indirect_weight > 0

        def required_views(self) -> dict[str, View]:
            """Return the lower level's views of images, the labelled images, and those of the Hessian's batch."""
            views = {**self.chosen_pretext.views(ratio=self.pretext_ratio), "train": View()}
            if self.has_hessian:
                own = self.chosen_pretext.views(ratio=self.curvature_ratio, stream=_CURVATURE)
                views |= {f"{_CURVATURE}_{name}": view for name, view in own.items()}
            return views

        def plan(self, step: int, passes: object) -> StepPlan:
            """Return a lower step with the next images, or an upper one with the batch of the Hessian."""
            del passes
            alternation, place = divmod(step, self.lower_steps + self.upper_steps)
            if place < self.lower_steps:
                number = alternation * self.lower_steps + place
                return StepPlan(dict.fromkeys(self.chosen_pretext.augmentations, number), ("lower",), "lower")
            upper = place - self.lower_steps
            batches = {"train": alternation * self.upper_steps + upper}
            if not self.has_hessian:
                return StepPlan(batches, ("upper",), "upper")
            batches |= {f"{_CURVATURE}_{name}": alternation for name in self.chosen_pretext.augmentations}
            return StepPlan(batches, ("upper",), "upper" if upper else "first_upper")

        def steps_per_epoch(self, passes: object) -> int:
            """Return the steps of an alternation."""
            del passes
            return self.lower_steps + self.upper_steps

        def schedule(self, name: str) -> OptimizerConfig:
            """Return the options of the level's optimiser."""
            return self.lower_optimizer if name == "lower" else self.optimizer

    config: Config
    head_names = ("semantic", "lower")

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.pretext = config.chosen_pretext.build(self.backbone, seed=networks.seed)
        head = networks.linear_head("semantic")
        self.upper = _Downstream(deepcopy(self.backbone), head)
        self._hessian: HessianOperator | None = None
        self._statistics = RunningStatisticsMove()
        if config.solver.has_gradients:
            size = sum(parameter.numel() for parameter in self.backbone.parameters())
            self.register_buffer("lower_gradients", torch.zeros(config.lower_steps, size))

    @property
    def predicting_backbone(self) -> AbstractBackbone:
        """The upper backbone."""
        return self.upper.backbone

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser for each level."""
        pretext = [parameter for parameter in self.pretext.parameters() if parameter.requires_grad]
        return {
            "lower": self.config.lower_optimizer.build([*self.backbone.parameters(), *pretext]),
            "upper": self.config.optimizer.build(self.upper.parameters()),
        }

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step of the level whose turn it is."""
        if state.step == 0:
            self.pretext.restart(self.backbone)
        distance = self._measure_distance()
        level = self._lower_step if state.kind == "lower" else self._upper_step
        # The fast derivatives are the exact ones too: torch's own batch norm loses digits in channels_last on the CPU.
        with FastSecondDerivatives() if self.config.has_hessian else nullcontext():
            metrics = level(state, batches, runtime)
        return {**metrics, "distance": distance}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the class head on the upper backbone, ``semantic``, and on the lower one, ``lower``."""
        return {"semantic": self.upper(images), "lower": self.upper.semantic(self.backbone(images).pooled)}

    @torch.no_grad()
    def _measure_distance(self) -> Float[Tensor, ""]:
        """Return the distance of the backbones relative to the norm of the lower one."""
        lower = [parameter.detach() for parameter in self.backbone.parameters()]
        apart = [low - up for low, up in zip(lower, self.upper.backbone.parameters(), strict=True)]
        ratio: Tensor = nn.utils.get_total_norm(apart) / nn.utils.get_total_norm(lower)
        return ratio

    def _lower_step(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Follow the pretext and the pull towards the upper backbone."""
        self._hessian = None
        optimizer = state.optimizers["lower"]
        answer = self.pretext_loss(state, batches, runtime)
        parameters = parameters_of(optimizer)
        gradients = runtime.mean(torch.autograd.grad(answer.loss, parameters, allow_unused=True))
        of = dict(zip(parameters, gradients, strict=True))
        if self.config.solver.has_gradients:
            own = {name: of[parameter] for name, parameter in self.backbone.named_parameters()}
            self.get_buffer("lower_gradients")[state.step % self.config.steps_per_epoch({})] = self._flatten_gradients(
                own
            )
        for low, up in zip(self.backbone.parameters(), self.upper.backbone.parameters(), strict=True):
            pull, gradient = low.detach() - up.detach(), of[low]
            of[low] = self.config.coupling * pull if gradient is None else gradient + self.config.coupling * pull
        runtime.apply(optimizer, [*of.values()], max_norm=self.config.clip_norm)
        return {"pretext_loss": answer.loss.detach(), **collapse_metrics(answer.embeddings)}

    def _upper_step(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Follow the downstream loss through the lower solution, and directly."""
        config, batch, optimizer = self.config, batches["train"], state.optimizers["upper"]
        for each in state.optimizers.values():
            each.zero_grad()  # or the last gradients would take memory beside the products
        head = [*self.upper.semantic.parameters()]
        guard = nullcontext() if config.batch_norm == "move" else keep_running_statistics(self)
        with guard, runtime.autocast():
            logits = self.upper.semantic(self.backbone(batch.images).pooled)
        indirect_loss = batch.mean(self.task.losses(logits, batch.targets))
        reached = [*self.backbone.parameters(), *head]
        steep = runtime.mean(torch.autograd.grad(indirect_loss, reached, materialize_grads=True))
        vector, steep = (
            self._flatten_gradients(dict(zip(self._parameter_names, steep, strict=False))),
            steep[len(self._parameter_names) :],
        )
        response = self._solve_response(vector, state, batches, runtime)
        if config.batch_norm == "move":
            self._statistics.apply(response.products)
        with runtime.autocast():
            logits = self.upper(batch.images)
        direct_loss = batch.mean(self.task.losses(logits, batch.targets))
        moved = [*self.upper.backbone.parameters(), *head]
        direct = runtime.mean(torch.autograd.grad(direct_loss, moved, materialize_grads=True))
        indirect = [*self._vector_layout.split(config.indirect_weight * response.vector).values(), *steep]
        of = {
            parameter: torch.add(first, second, alpha=config.direct_weight)
            for parameter, first, second in zip(moved, indirect, direct, strict=True)
            if first is not None and second is not None
        }
        runtime.apply(optimizer, [of[p] for p in parameters_of(optimizer)], max_norm=config.clip_norm)
        return {
            "indirect_loss": indirect_loss.detach(),
            "direct_loss": direct_loss.detach(),
            "response_residual": response.residual,
            "negative_curvature": response.negative_curvature,
            "response_cosine": torch.cosine_similarity(response.vector, vector, dim=0),
            "response_length": response.vector.norm() / vector.norm(),
            "coupling": vector.new_tensor(config.coupling),
            "damping": vector.new_tensor(config.solver.added),
        }

    def _solve_response(
        self, vector: Float[Tensor, " size"], state: TrainState, batches: Batches, runtime: Runtime
    ) -> Response:
        """Return ``J v``."""
        config = self.config
        if not config.indirect_weight:
            return Response(vector, vector.new_zeros(()), vector.new_zeros(()))

        def hessian() -> HessianOperator:
            if self._hessian is None:
                self._hessian = self._build_hessian(state, batches, runtime)
            return self._hessian

        gradients = self.get_buffer("lower_gradients") if config.solver.has_gradients else None
        return config.solver.respond(vector, LowerLevel(config.coupling, gradients, hessian))

    def _build_hessian(self, state: TrainState, batches: Batches, runtime: Runtime) -> HessianOperator:
        """Return the Hessian of the alternation's batch in the lower backbone, its graph built once."""
        if runtime.config.compile:
            fix = "pass --runtime.no-compile, or the solver identity or mfac"
            raise ConfigError("a network that can be differentiated twice", "a compiled one", fix)
        own = {name: batches[f"{_CURVATURE}_{name}"] for name in self.config.chosen_pretext.augmentations}
        # By the alternation, not the step: a run that is resumed within an alternation builds it again.
        alternation = replace(state, step=state.step // (self.config.lower_steps + self.config.upper_steps))

        def draws(stream: str, batch: Batch) -> Draws:
            return alternation.draws(f"{_CURVATURE}/{stream}", batch)

        inputs = self.pretext.prepare(own, draws=draws, runtime=runtime)
        loss = loss_in_backbone(self.backbone, self.pretext, inputs)
        params = {name: parameter.detach() for name, parameter in self.backbone.named_parameters()}
        mean = None if runtime.num_processes == 1 else runtime.mean_of
        with record_running_statistics(self) as self._statistics:
            return HessianOperator(loss, params, mean=mean)

    @property
    def _parameter_names(self) -> list[str]:
        """Names of the backbone's parameters."""
        return [name for name, _ in self.backbone.named_parameters()]

    @property
    def _vector_layout(self) -> Layout:
        """Where the backbone's parameters lie in a vector."""
        return Layout(dict(self.backbone.named_parameters()))

    def _flatten_gradients(self, gradients: dict[str, Tensor | None]) -> Float[Tensor, " size"]:
        """Return the backbone's gradients as one vector, zeros where there are none."""
        own = dict(self.backbone.named_parameters())
        filled = {name: torch.zeros_like(own[name]) if g is None else g for name, g in gradients.items()}
        return self._vector_layout.flatten(filled).detach()
