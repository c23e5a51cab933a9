"""AuxiLearn: auxiliary tasks, given or invented, whose weights and labels are learned for the primary task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.errors import ConfigError, OptionError
from auxo.gates import AbstractGate, ConflictMonitor, GateConfig, GateStep, TaskLosses, build_gate_step
from auxo.gates.hypergradient import HypergradientGate
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
from auxo.losses import focal_losses
from auxo.optimizers import LOOKED_THROUGH, OptimizerConfig
from auxo.options import Range
from auxo.pretexts import GivenTasksConfig, mean_over_places, place_head
from auxo.pretexts.labelling import InventedTask, InventedTaskConfig, require_sub_classes
from auxo.runtime import Runtime
from auxo.tasks import AbstractTask, Classification
from auxo.types import Batch, Batches, Features, Images, Losses, Metrics

SOURCE = (
    "Navon, Achituve, Maron, Chechik, Fetaya, Auxiliary Learning by Implicit Differentiation, ICLR 2021 (arXiv "
    "2007.02693). Of the paper only the authors' project page and poster were read: formulas and values are those of "
    "the released code (github.com/AvivNavon/AuxiLearn). Differs: the series has its leading factor (released_factor); "
    "heads that the primary loss does not reach have a gradient of zero in it, where the release fails; labels are a "
    "softmax within the class and sum to 1, where the release subtracts the largest logit of all classes, adds 1e-7 "
    "and leaks 1e-8 (leak); gate and labelling network have gradients and optimisers of their own, at the other's "
    "fixed values, where the release has one of each; upper steps are equally many in every epoch, leave running "
    "statistics alone, and are judged by a training batch of their own (split), where the release holds a few images "
    "out; nothing is selected on a test set. Ours: pretexts as auxiliary tasks, the entropy weight of MAXL, and the "
    "record of cosines."
)

_Covers: TypeAlias = Literal["auxiliary", "all"]
_PRIMARY, _INVENTED, _GATED = "primary", "invented", "gated"


class _Answers(NamedTuple):
    """The losses of every image of a batch, and what they follow from.

    Args:
        features: of the images, which gates may read.
        primary: of the primary task.
        auxiliary: of the auxiliary tasks, in the order of their names.
    """

    features: Float[Tensor, "batch dim"]
    primary: Float[Tensor, "batch ..."]
    auxiliary: Float[Tensor, "batch tasks *places"]

    @property
    def primary_means(self) -> Losses:
        """The primary loss of every image."""
        return mean_over_places(self.primary)

    @property
    def means(self) -> Float[Tensor, "batch tasks"]:
        """The auxiliary losses of every image."""
        return self.auxiliary.flatten(2).mean(2) if self.auxiliary.dim() > 2 else self.auxiliary


class AuxiLearn(AbstractMethod):
    r"""A primary head, and one for each auxiliary task, on one backbone; a gate makes one loss of the auxiliary ones.

    With the primary loss ``L_p``, the losses ``l`` of the auxiliary tasks and a gate ``h``, one step is taken on

    .. math:: L = L_p + \lambda\, h(l; \phi) .

    Args:
        config: options.
        networks: the shared backbone, the task, the columns that are learned and the seed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of AuxiLearn and of its baselines."""

        given: GivenTasksConfig = field(default_factory=GivenTasksConfig)
        """Auxiliary tasks that the data have, and pretexts."""
        invented: InventedTaskConfig = field(default_factory=InventedTaskConfig)
        """An auxiliary task whose labels a second network learns to give; none by default."""
        gate: GateConfig = field(default_factory=HypergradientGate.Config)
        """How the auxiliary losses are combined."""
        covers: _Covers = "auxiliary"
        """What the gate combines: the auxiliary losses, or also the primary one, against the others at their weight."""
        weight: Annotated[float, Range(low=0)] = field(default=1.0, metadata={"search": "log:0.1,10"})
        """Weight of the auxiliary losses beside the primary one; 0 trains without them, the first baseline."""
        sum_tasks: bool = True
        """Weights of a sum over the tasks, as in the paper: M times those of a mean for M tasks."""
        gamma: Annotated[float, Range(low=0)] = 0.0
        """Exponent of a focal loss for the primary task, of classes only; 0 is the task's own loss."""
        monitor_every: Annotated[int, Range(low=0)] = 50
        """Steps from one look at the auxiliary gradients' cosines with the primary one to the next; 0 never looks."""

        def __post_init__(self) -> None:
            super().__post_init__()
            require_sub_classes(self.invented)
            taken = {_PRIMARY, _INVENTED, _GATED} & {*self.given.columns, *self.given.find_pretexts()}
            if taken:
                raise OptionError("given", "of tasks with other names than metrics have", min(taken), "rename it")
            if self.weight and not (len(self.given) or self.invented.is_on):
                fix = "pass --method.given.pretexts rotation, --method.given.columns NAME, or --method.weight 0"
                raise ConfigError("an auxiliary task for AuxiLearn", "none", fix)
            if self.gate.needs_shared_features and self.given.pretexts:
                expected, fix = "tasks that share their features for this gate", "pass --method.gate.gradients weights"
                raise ConfigError(expected, "pretexts, which make inputs of their own", fix)
            if self.covers == "all" and not self.weight:
                raise ConfigError("auxiliary losses for a gate that covers all", "weight 0", "cover auxiliary")

        @classmethod
        def tiny(cls) -> "AuxiLearn.Config":
            """Return options with a pretext and an invented task that is taught often."""
            return cls(
                given=GivenTasksConfig(pretexts=("rotation",)),
                invented=InventedTaskConfig(sub_classes=(2,), every=2, hidden=16),
                monitor_every=2,
            )

        @property
        def learned_columns(self) -> tuple[str, ...]:
            """The columns that are given, also where they have no weight, so that baselines see the same images."""
            return self.given.columns

        def check_task(self, kind: type[AbstractTask]) -> None:
            """Refuse an invented task, or a focal loss, where the task is none of classes."""
            super().check_task(kind)
            asked = "invented.sub-classes" if self.invented.is_on else "gamma above 0" if self.gamma else ""
            if asked and not issubclass(kind, Classification):
                raise ConfigError(f"a task of classes with {asked}", kind.__name__, "leave the option out")

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse what a second level looks through, and smoothing of labels in the focal loss."""
            return {**LOOKED_THROUGH, **({"label_smoothing": "its class loss is focal"} if self.gamma else {})}

        def required_views(self) -> dict[str, View]:
            """Return the training images as ``train``; the gate's own, ``gate``; and what judges labels, ``outer``."""
            gate = {} if self.gate.view is None else {"gate": self.gate.view}
            return {"train": View(), **({**gate, **self.invented.views} if self.weight else {})}

        def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
            """Return a step of the network, every so often with one of the labelling network on the same images."""
            looks = bool(self.weight and self.monitor_every) and step % self.monitor_every == 0
            kind = "monitored" if looks else "step"
            batches = dict.fromkeys((name for name in self.required_views() if name != "outer"), step)
            turn = self.invented.find_turn(step, length=passes.get("train", self.invented.every))
            plan = self.gate.plan_view(StepPlan(batches, ("main",), kind), step)
            if not self.weight or turn is None:
                return plan
            return StepPlan({**plan.batches, "outer": turn}, None, f"{plan.kind}, taught")

        def schedule(self, name: str) -> OptimizerConfig:
            """Return the options of the optimiser."""
            return self.invented.optimizer if name == "generator" else self.optimizer

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.has_places, count = bool(self.task.places), self.task.num_outputs
        build_places = partial(place_head, networks=networks, map_name=config.given.map_name)
        build_head = build_places if self.has_places else networks.linear_head
        self.semantic: nn.Module = build_head("semantic", num_outputs=count)
        self.gate: AbstractGate | None = None
        self.invented: InventedTask | None = None
        if not config.weight:
            return
        self.given = config.given.build(networks)
        self.names, counts = self.given.names, self.given.num_outputs
        if config.invented.is_on:
            self.invented = InventedTask(config.invented, networks)
            self.names, counts = (*self.names, _INVENTED), (*counts, self.invented.sub_classes.total)
        if config.covers == "all":
            counts = (self.task.num_outputs, *counts)
        width = self.backbone.num_features
        self.gate = config.gate.build(num_features=width, num_outputs=counts, seed=networks.seed)
        self.monitor = ConflictMonitor(self.names)

    @property
    def _lower_parts(self) -> dict[str, nn.Module]:
        """All that learns by the combined loss, by name, but for the gate."""
        parts = {"backbone": self.backbone, "semantic": self.semantic}
        if self.config.weight:
            parts["given"] = self.given
        return parts if self.invented is None else {**parts, "invented": self.invented.head}

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser for network and gate, and one for the labelling network."""
        second = set() if self.invented is None else {*self.invented.generator.parameters()}
        built = {"main": self.config.optimizer.build(p for p in self.trained_parameters() if p not in second)}
        if self.invented is not None:
            built["generator"] = self.config.invented.optimizer.build(self.invented.generator.parameters())
        return built

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take a step of the network on all losses; where it is time to, one of the labelling network after it."""
        batch = batches["train"]
        if self.gate is None:
            with runtime.autocast():
                features = self.backbone(batch.images)
            loss = batch.mean(mean_over_places(self._primary_losses(features, batch, runtime)))
            runtime.step(state.optimizers["main"], loss)
            return {"primary_loss": loss.detach()}
        answers = self._answer_tasks(state, batch, runtime)
        step = self._gate_step(state, batches, answers, runtime)
        result = self.gate(self._stack_weighed(answers), answers.features, step)
        losses = {name: batch.mean(each) for name, each in zip(self.names, answers.means.unbind(1), strict=True)}
        metrics = {"primary_loss": batch.mean(answers.primary_means), "gated_loss": step.scale * result.loss}
        metrics |= {f"{name}_loss": loss for name, loss in losses.items()}
        if state.kind.startswith("monitored"):
            if state.step == 0:  # weights, and with them the totals, may come from an earlier stage
                self.monitor.restart()
            metrics.update(self.monitor.look(step, losses))
        loss = metrics["gated_loss"] + (0.0 if self.config.covers == "all" else metrics["primary_loss"])
        runtime.step(state.optimizers["main"], loss)
        weights = step.scale * result.weights
        told = {f"gate_{name}": weight for name, weight in zip(self._weighed_names, weights.unbind(), strict=True)}
        taught = self._teach_labels(state, batches, weights, runtime) if "outer" in batches else {}
        return {name: value.detach() for name, value in {**metrics, **told, **taught}.items()}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the outputs of the primary head, ``semantic``."""
        return {"semantic": self._answer_primary(self.backbone(images), images)}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the heads of the pretexts whose answers are classes."""
        return self.given.pretext_heads(self.backbone) if self.config.weight else {}

    def frozen_parameters(self) -> dict[str, str]:
        """Return what of the gate no gradient reaches."""
        frozen = {} if self.gate is None else self.gate.frozen_parameters()
        return {f"gate.{name}": reason for name, reason in frozen.items()}

    def exhibits(self, images: Mapping[str, AbstractImageReader]) -> Sequence[Exhibit]:
        """Return how far the tasks agreed with the primary one, and what the invented labels are."""
        if self.gate is None:
            return ()
        labels = () if self.invented is None else self.invented.exhibits(images["train"])
        return (*self.monitor.exhibits(), *labels)

    @property
    def _weighed_names(self) -> tuple[str, ...]:
        """What the gate weighs, in order."""
        return (_PRIMARY, *self.names) if self.config.covers == "all" else self.names

    def _answer_primary(self, features: Features, images: Images) -> Tensor:
        """Return the outputs of the primary head."""
        read = (features.maps, (images.shape[-2], images.shape[-1])) if self.has_places else (features.pooled,)
        outputs: Tensor = self.semantic(*read)
        return outputs

    def _primary_losses(self, features: Features, batch: Batch, runtime: Runtime) -> Float[Tensor, "batch ..."]:
        """Return the primary task's losses of every image, or every place."""
        with runtime.autocast():
            outputs = self._answer_primary(features, batch.images)
        if self.config.gamma:
            return focal_losses(outputs, batch.labels, gamma=self.config.gamma)
        return self.task.losses(outputs, batch.targets)

    def _answer_tasks(
        self, state: TrainState, batch: Batch, runtime: Runtime, *, labels: Tensor | None = None
    ) -> _Answers:
        """Return the losses of every image; with labels of the invented task, or with those that its network gives."""
        with runtime.autocast():
            features = self.backbone(batch.images)
        primary = self._primary_losses(features, batch, runtime)
        inputs = self.given.prepare(batch, state.draws)
        losses = self.given.loss_list(self.backbone, features, inputs, runtime=runtime)
        if self.invented is not None:
            known = self.invented.label(batch, runtime=runtime) if labels is None else labels
            losses.append(self.invented.losses(features.pooled, known, runtime=runtime))
        reads_places = self.gate is not None and self.gate.reads_places
        if not (reads_places and all(each.dim() > 1 for each in losses)):
            losses = [mean_over_places(each) for each in losses]
        return _Answers(features.pooled, primary, torch.stack(losses, 1))

    def _stack_weighed(self, answers: _Answers) -> Float[Tensor, "batch tasks *places"]:
        """Return what the gate weighs: the auxiliary losses, or the primary ones and those at their weight."""
        if self.config.covers == "auxiliary":
            return answers.auxiliary
        primary = answers.primary if answers.auxiliary.dim() > 2 else answers.primary_means
        return torch.cat([primary.unsqueeze(1), self.config.weight * answers.auxiliary], 1)

    def _gate_step(self, state: TrainState, batches: Batches, answers: _Answers, runtime: Runtime) -> GateStep:
        """Return what the gate may know of a step."""
        plain, covers_all = replace(runtime, autocast_dtype=None), self.config.covers == "all"

        def answer(batch: Batch) -> TaskLosses:
            with keep_running_statistics(self):  # those of the labelling network, too
                found = self._answer_tasks(state, batch, plain)
            return TaskLosses(self._stack_weighed(found), found.primary_means)

        scale = float(len(self._weighed_names)) if self.config.sum_tasks else 1.0
        return build_gate_step(
            state,
            batches,
            runtime,
            parts=self._lower_parts,
            answer=answer,
            primary=0 if covers_all else None,
            primary_loss=batches["train"].mean(answers.primary_means),
            scale=scale if covers_all else scale * self.config.weight,
        )

    def _teach_labels(self, state: TrainState, batches: Batches, weights: Tensor, runtime: Runtime) -> Metrics:
        """Let the labelling network follow the primary loss on other images, the gate's weights held fixed."""
        assert self.invented is not None  # the plan asks for an upper step
        batch, outer, plain = batches["train"], batches["outer"], replace(runtime, autocast_dtype=None)

        def inner_loss(labels: Tensor) -> Tensor:
            answers = self._answer_tasks(state, batch, plain, labels=labels)
            weighed = self._stack_weighed(answers)
            means = torch.stack([batch.mean(mean_over_places(each)) for each in weighed.unbind(1)])
            loss = (weights * means).sum()
            return loss if self.config.covers == "all" else loss + batch.mean(answers.primary_means)

        def outer_loss() -> Tensor:
            features = self.backbone(outer.images)
            return outer.mean(mean_over_places(self._primary_losses(features, outer, plain)))

        optimizers = state.optimizers
        return self.invented.teach(
            optimizers["generator"],
            batch,
            self._lower_parts,
            inner_loss=inner_loss,
            outer_loss=outer_loss,
            rate=float(optimizers["main"].param_groups[0]["lr"]),
            seed=state.step,
            runtime=runtime,
        )
