"""Joint data-task generation: auxiliary features and their targets are generated from pairs of items, and judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Beta
from torch.optim import Optimizer

from auxo.bilevel import Implicit, Neumann, differentiate_parameters
from auxo.bilevel.vectors import joint_norm
from auxo.errors import ConfigError, OptionError
from auxo.interfaces import (
    AbstractImageReader,
    AbstractMethod,
    AbstractNetworks,
    Exhibit,
    MethodConfig,
    PretextHead,
    StepPlan,
    TrainState,
    View,
)
from auxo.layers.batch_norm import keep_running_statistics
from auxo.layers.heads import PlaceHead
from auxo.layers.instance_terms import anchor_losses, discriminate_losses, measure_labels
from auxo.layers.joint_generator import Made
from auxo.optimizers import LOOKED_THROUGH, OptimizerConfig
from auxo.options import Range
from auxo.pretexts import (
    GeneratedTask,
    GivenInputs,
    GivenTasksConfig,
    Pairing,
    mean_over_places,
    place_head,
    show_generated,
)
from auxo.random import derive_seed, global_seed
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime, parameters_of
from auxo.types import Batch, Batches, Features, Images, Metrics

SOURCE = (
    "After Chen, Wang, Zhou, Qin, Guan, Zhu, Joint Data-Task Generation for Auxiliary Learning, NeurIPS 2023, of which "
    "only the abstract and a digest of its appendix could be read: a feature and a label generator, learned by the "
    "implicit gradient of the primary loss and the explicit one of an instance regularisation, in turn with the task "
    "model. Everything else is a reconstruction of ours: the equations of the generator, the pairs, the labels, the "
    "regularisation, the weights, which data judge, and that given tasks stay in the loss with weight 1. Interval, "
    "terms, clipping and optimiser of the generator are those of the first author's earlier code (ICML 2022, "
    "forchchch/JTDS; NeurIPS 2022, forchchch/MAOAL). The series is multiplied by its scale, running statistics do not "
    "move while the generator learns, and theta is a constant of the regularisation."
)

_Generator = Literal["learned", "frozen", "manifold_mixup"]


class _LowerInputs(NamedTuple):
    """What the losses of the task model are of.

    Args:
        batch: images and targets.
        given: what the given tasks ask about them.
        pairing: how they are paired; ``None`` where nothing is generated.
    """

    batch: Batch
    given: GivenInputs
    pairing: Pairing | None


class DTGAuxL(AbstractMethod):
    r"""A task model ``theta`` that also learns generated items, and a generator ``phi`` of features and targets.

    An item is made of the features ``z`` and targets of an image and of another one of the batch; see
    :class:`auxo.layers.joint_generator.JointGenerator`. With a head of its own for generated items,

    .. math:: \theta^*(\phi) = \arg\min_\theta L_{pri} + w_t \sum_t L_t + w L_{gen}(\tilde z, \tilde y), \qquad
       \min_\phi L_{pri}(\theta^*(\phi); D_{up}) + \lambda R(\phi),

    where ``L_t`` are given auxiliary tasks. The gradient in ``phi`` is that of the implicit function theorem with the
    first terms of a Neumann series. Lower steps leave ``phi`` and upper steps leave ``theta`` as they are. Only the
    primary head predicts.

    Args:
        config: options.
        networks: the shared backbone, the task, the columns that are learned and the seed of first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of joint data-task generation and of its controls."""

        refused_tuning = LOOKED_THROUGH

        generator_optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(
                lr=0.01, momentum=0.9, nesterov=False, weight_decay=5e-5, schedule="constant"
            )
        )
        """How the generator follows its gradients; as in the first author's earlier code."""
        given: GivenTasksConfig = field(default_factory=GivenTasksConfig)
        """Auxiliary tasks that are given, beside the generated one; none by default."""
        given_weight: Annotated[float, Range(above=0)] = 1.0
        """Weight of each given task's loss."""
        weight: Annotated[float, Range(low=0)] = 1.0
        """Weight of the generated task's loss; 0 generates nothing, and leaves the primary and the given tasks."""
        generator: _Generator = "learned"
        """Learned; left at its first weights (frozen); or mixing with one share for the batch (manifold_mixup)."""
        generate: Made = "both"
        """Generate features and labels; features alone, whose targets are mixed; or labels of the images' features."""
        sub_classes: tuple[Annotated[int, Range(low=1)], ...] = ()
        """Generate sub-classes of both images' classes instead of classes: one number for all, or one for each."""
        shared_head: bool = False
        """Learn generated items with the primary head itself, as mixup does, instead of a head of their own."""
        hidden: Annotated[int, Range(low=0)] = 0
        """Width of the generator's hidden layers; 0 is the number of features."""
        map_name: str = ""
        """Of a task with places: the map of the backbone that is read; by default its finest."""
        mixup_alpha: Annotated[float, Range(above=0)] = 2.0
        """Of manifold_mixup: both parameters of the beta distribution that the share is drawn from."""
        upper: Literal["train", "meta"] = "train"
        """Judge the generator by other training batches, or by the split meta."""
        upper_every: Annotated[int, Range(low=1)] = 20
        """Steps of the task model for each step of the generator."""
        products: Annotated[int, Range(low=0)] = 3
        """Products with the Hessian; the Neumann series has one term more, and 0 is one step unrolled."""
        scale: Annotated[float, Range(above=0)] | None = None
        """Scale of the series, below 2 / (largest curvature); by default the task model's learning rate."""
        clip: Annotated[float, Range(above=0)] = 10.0
        """Norm down to which the generator's gradient is scaled."""
        regularizer: Annotated[float, Range(low=0)] = 0.1
        """Weight lambda of the instance regularisation, which is the sum of the next three."""
        discriminate: Annotated[float, Range(low=0)] = 1.0
        """Weight of telling generated features' own image from the others of the batch (InfoNCE)."""
        label_information: Annotated[float, Range(low=0)] = 0.1
        """Weight of minus the mutual information of item and label, where targets are classes."""
        anchor: Annotated[float, Range(low=0)] = 0.0
        """Weight of staying within a distance of the image's own features."""
        anchor_range: tuple[Annotated[float, Range(low=0)], Annotated[float, Range(low=0)]] = (0.1, 1.0)
        """Of anchor: least and largest distance, relative to the length of the features."""

        def __post_init__(self) -> None:
            super().__post_init__()
            taken = {"primary", "generated", "upper"} & {*self.given.columns, *self.given.find_pretexts()}
            if taken:
                raise OptionError("given", "of tasks with other names than metrics have", min(taken), "rename it")
            if self.generator == "manifold_mixup" and (self.generate != "both" or self.sub_classes):
                got = f"generate {self.generate}" if self.generate != "both" else "sub-classes"
                raise ConfigError("features and targets mixed alike with manifold_mixup", got, "leave it out")
            if self.sub_classes and self.generate == "features":
                got = "sub-classes with generate features"
                raise ConfigError("sub-classes with labels that are generated", got, "generate both, or labels")
            if self.anchor_range[0] > self.anchor_range[1]:
                got = f"{self.anchor_range[0]:g} and {self.anchor_range[1]:g}"
                raise ConfigError("anchor-range with the least distance first", got, "exchange the two")

        @classmethod
        def tiny(cls) -> "DTGAuxL.Config":
            """Return options under which every other step is the generator's, and moves it."""
            fast = OptimizerConfig(lr=1.0, momentum=0.9, nesterov=False, schedule="constant")
            return cls(generator_optimizer=fast, hidden=16, upper_every=1, scale=0.1)

        @property
        def learned_columns(self) -> tuple[str, ...]:
            """The columns of the given tasks."""
            return self.given.columns

        @property
        def has_upper_level(self) -> bool:
            """Whether a generator is learned."""
            return self.weight > 0 and self.generator == "learned"

        def required_views(self) -> dict[str, View]:
            """Return the training images, and in an order of their own those that judge the generator."""
            judging = {"upper": View(self.upper, stream="upper")} if self.has_upper_level else {}
            return {"train": View(), **judging}

        def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
            """Return a step of the task model; after some of them one of the generator, on the last step's images."""
            del passes
            if not self.has_upper_level:
                return StepPlan({"train": step}, None, "lower")
            turn, place = divmod(step, self.upper_every + 1)
            number = turn * self.upper_every + min(place, self.upper_every - 1)
            if place < self.upper_every:
                return StepPlan({"train": number}, ("main",), "lower")
            return StepPlan({"train": number, "upper": turn}, ("generator",), "upper")

        def steps_per_epoch(self, passes: Mapping[str, int]) -> int:
            """Return the task model's steps in a pass over the training images, and the generator's among them."""
            return passes["train"] + (-(-passes["train"] // self.upper_every) if self.has_upper_level else 0)

        def schedule(self, name: str) -> OptimizerConfig:
            """Return the options of the level's optimiser."""
            return self.generator_optimizer if name == "generator" else self.optimizer

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.semantic: PlaceHead | nn.Linear
        if any(target.has_places for target in self.task.targets):
            head = place_head("semantic", networks, self.task.num_outputs, map_name=config.map_name)
            self.semantic, map_name = head, head.map_name
        else:
            self.semantic, map_name = networks.linear_head("semantic"), ""
        self.given = config.given.build(networks)
        self.generated: GeneratedTask | None = None
        if config.weight:
            self.generated = GeneratedTask(
                networks,
                map_name=map_name,
                made=config.generate,
                hidden=config.hidden,
                sub_classes=config.sub_classes,
                mixes=config.generator == "manifold_mixup",
                has_head=not config.shared_head,
            )
            if self.generated.generator is not None and config.generator == "frozen":
                self.generated.generator.requires_grad_(False)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser for the task model, and one for a generator that is learned."""
        if self.generated is None or self.generated.generator is None or not self.config.has_upper_level:
            return {"main": self.config.optimizer.build(self.trained_parameters())}
        phi = [*self.generated.generator.parameters()]
        own = {*phi}
        theta = self.config.optimizer.build(p for p in self.trained_parameters() if p not in own)
        return {"main": theta, "generator": self.config.generator_optimizer.build(phi)}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step of the level whose turn it is."""
        inputs = self._prepare_inputs(state, batches["train"], runtime)
        if state.kind == "upper":
            return self._teach_generator(state, inputs, batches["upper"], runtime)
        losses = self._lower_losses(inputs, runtime)
        runtime.step(state.optimizers["main"], self._add_losses(losses))
        return {name: loss.detach() for name, loss in losses.items()}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the outputs of the primary head, ``semantic``."""
        return {"semantic": self._answer_primary(self.backbone(images), images)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the heads of the given pretexts."""
        return self.given.pretext_heads(self.backbone)

    def frozen_parameters(self) -> dict[str, str]:
        """Return those of a generator that stays as it is."""
        if self.config.generator != "frozen":
            return {}
        names = (name for name, _ in self.named_parameters() if name.startswith("generated.generator."))
        return dict.fromkeys(names, "the generator stays at its first weights: a control")

    def _answer_primary(self, features: Features, images: Images) -> Tensor:
        """Return the primary head's outputs."""
        if isinstance(self.semantic, PlaceHead):
            outputs: Tensor = self.semantic(features.maps, (images.shape[-2], images.shape[-1]))
            return outputs
        return cast("Tensor", self.semantic(features.pooled))

    @property
    def _shared_head(self) -> nn.Module | None:
        """The primary head's layer, if it learns generated items, too."""
        if not self.config.shared_head:
            return None
        return self.semantic.layer if isinstance(self.semantic, PlaceHead) else self.semantic

    def _prepare_inputs(self, state: TrainState, batch: Batch, runtime: Runtime) -> _LowerInputs:
        """Draw what the losses of a batch depend on."""
        given, pairing = self.given.prepare(batch, state.draws), None
        if self.generated is not None:
            with global_seed(derive_seed(state.seed, "mixup", state.step)):
                share = Beta(*torch.tensor([self.config.mixup_alpha] * 2, dtype=torch.float64)).sample()
            pairing = self.generated.prepare(batch, draws=state.draws("pairs", batch), share=share, runtime=runtime)
        return _LowerInputs(batch, given, pairing)

    def _primary_loss(self, features: Features, batch: Batch, runtime: Runtime) -> Float[Tensor, ""]:
        """Return the mean loss of the task over the joined batch."""
        with runtime.autocast():
            outputs = self._answer_primary(features, batch.images)
        return batch.mean(mean_over_places(self.task.losses(outputs, batch.targets)))

    def _lower_losses(self, inputs: _LowerInputs, runtime: Runtime) -> dict[str, Float[Tensor, ""]]:
        """Return the means of the task model's losses by name, the primary one first, without their weights."""
        batch = inputs.batch
        with runtime.autocast():
            features = self.backbone(batch.images)
        losses = {"primary_loss": self._primary_loss(features, batch, runtime)}
        given = self.given(self.backbone, features, inputs.given, runtime=runtime)
        losses |= {
            f"{name}_loss": batch.mean(each) for name, each in zip(self.given.names, given.unbind(1), strict=True)
        }
        if self.generated is not None and inputs.pairing is not None:
            with runtime.autocast():
                losses["generated_loss"] = batch.mean(self.generated(features, inputs.pairing, self._shared_head))
        return losses

    def _add_losses(self, losses: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Return the task model's loss."""
        weights = {"primary_loss": 1.0, "generated_loss": self.config.weight}
        total, *others = (weights.get(name, self.config.given_weight) * loss for name, loss in losses.items())
        return sum(others, start=total)

    def _teach_generator(self, state: TrainState, inputs: _LowerInputs, upper: Batch, runtime: Runtime) -> Metrics:
        """Follow the primary loss through the task model, and the regularisation directly."""
        config, phi = self.config, parameters_of(state.optimizers["generator"])
        exact = replace(runtime, autocast_dtype=None)  # second derivatives are taken in full precision
        result = differentiate_parameters(
            self,
            phi,
            inner_loss=lambda: self._add_losses(self._lower_losses(inputs, exact)),
            outer_loss=lambda: self._primary_loss(self.backbone(upper.images), upper, exact),
            solver=self._make_solver(state),
            mean=None if runtime.num_processes == 1 else runtime.mean_of,
            seed=state.step,
        )
        term, told = self._regularize_items(inputs, exact)
        slopes: Sequence[Tensor] = [torch.zeros_like(each) for each in phi]
        if term.requires_grad:  # else labels of quantities alone are generated, of which no term is
            slopes = torch.autograd.grad(config.regularizer * term, phi, allow_unused=True, materialize_grads=True)
        explicit = [slope for slope in runtime.mean(slopes) if slope is not None]
        implicit = [*result.grads.values()]
        gradients = [a + b for a, b in zip(implicit, explicit, strict=True)]
        runtime.apply(state.optimizers["generator"], gradients, max_norm=config.clip)
        return {
            "upper_loss": result.outer_loss,
            "regularizer": term.detach(),
            "implicit_gradient": joint_norm(implicit),
            "regularizer_gradient": joint_norm(explicit),
            **told,
        }

    def _make_solver(self, state: TrainState) -> Implicit:
        """Return the truncated series; where curvature is negative, it is what so many gradient steps would make."""
        scale = self.config.scale or float(state.optimizers["main"].param_groups[0]["lr"])
        terms = self.config.products + 1
        return Implicit(linear=Neumann(terms=terms, scale=scale, measure_residual=False, may_grow=True))

    def _regularize_items(self, inputs: _LowerInputs, runtime: Runtime) -> tuple[Float[Tensor, ""], Metrics]:
        """Return the instance regularisation, attached to the generator alone, and what would show a collapse."""
        config, batch = self.config, inputs.batch
        if self.generated is None or inputs.pairing is None:
            raise ValueError("nothing is generated")
        # Without a graph: what ties items to images must not move the features that they are made of.
        with torch.no_grad(), keep_running_statistics(self.backbone):
            features = self.backbone(batch.images)
        pair = self.generated.pair(features, inputs.pairing)
        made, own = self.generated.generate(pair, inputs.pairing), pair.own.features
        found = discriminate_losses(made.features, own, gather=inputs.pairing.gather, first=batch.first)
        low, high = config.anchor_range
        kept = anchor_losses(made.features, own, low=low, high=high)
        term = batch.mean(config.discriminate * found + config.anchor * kept)
        information = measure_labels(made, self.generated.blocks, join=runtime.differentiable_sum).information
        term = term - config.label_information * information
        return term, self.generated.describe(pair, made, inputs.pairing, runtime)

    def exhibits(self, images: Mapping[str, AbstractImageReader]) -> Sequence[Exhibit]:
        """Return what generated items of training images are like."""
        if self.generated is None or any(target.has_places for target in self.task.targets):
            return ()
        return show_generated(self.generated, self.backbone, images["train"])


def recipe() -> ExperimentConfig:
    """Return joint data-task generation with LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=DTGAuxL.Config(optimizer=OptimizerConfig(lr=0.05))),))
