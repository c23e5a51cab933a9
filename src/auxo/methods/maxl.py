"""MAXL: a second network divides every class, and learns to do it so that the first one's step helps most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from auxo.bilevel import (
    SGD,
    AbstractSolver,
    ClassBatch,
    FiniteDifference,
    ForwardMode,
    Unrolled,
    differentiate_labels,
)
from auxo.bilevel.vectors import joint_norm
from auxo.errors import ConfigError
from auxo.gates import ConflictMonitor, GateStep
from auxo.interfaces import (
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
from auxo.layers.batch_norm import keep_running_statistics
from auxo.layers.heads import SideBySide, hidden_head
from auxo.layers.sub_classes import SubClasses, center_by_class, mean_label_entropy_loss
from auxo.losses import focal_terms
from auxo.optimizers import LOOKED_THROUGH, LearningRate, OptimizerConfig
from auxo.options import Range
from auxo.pretexts.labelling import LabellingNetwork, encode_images, exhibit_labels, measure_labels
from auxo.random import derive_seed, global_seed
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import LABEL, Batch, Batches, Images, Metrics

SOURCE = (
    "Liu, Davison, Johns, Self-Supervised Generalisation with Meta Auxiliary Learning, NeurIPS 2019 (arXiv "
    "1901.08933). Of the printed text only the abstract could be read: formulas and values are those of the released "
    "code (github.com/lorenmt/maxl) and of the authors' ICLR 2019 submission. Its first-order file moves theta by "
    "0.01 / |v|, which is far too long with ReLU and batch norm, and drops the gradient of the entropy: "
    "hypergradient=first_order_released. Its mask leaks 1e-8 (leak), and its alpha is halved an epoch early "
    "(early_alpha). Differs: the mask is a true zero; losses are computed from logits; running statistics do not move "
    "in the second pass; the second network starts as the first does; nothing is selected on a test set."
)

_SUB_CLASS = "sub_class"
_Labels: TypeAlias = Literal[
    "generated", "frozen", "uniform", "random", "k_means", "column", "earlier", "shuffled", "none"
]
_Hypergradient: TypeAlias = Literal["forward", "second_order", "finite_difference", "first_order_released"]
_INHERITED = ("earlier", "shuffled")
_GIVEN = ("random", "k_means", "column", *_INHERITED)
_HAS_NETWORK = ("generated", "frozen", *_INHERITED)
_PLAIN = OptimizerConfig(momentum=0.0, nesterov=False, weight_decay=0.0, milestones=(0.25, 0.5, 0.75), decay=0.5)
_PLAIN_GENERATOR = replace(_PLAIN, lr=1e-3, weight_decay=5e-4)


class MAXL(AbstractMethod):
    r"""A network ``f`` with a head for the classes and one for sub-classes, and a network ``g`` that labels for it.

    The labels ``q`` of ``g`` are a softmax over the sub-classes of an image's class. On the first level ``f`` learns
    both, with ``q`` fixed; on the second, ``g`` learns what makes one step of ``f`` help the classes most:

    .. math:: \theta_f \leftarrow \theta_f - \eta \nabla (L_{pri} + w L_{aux}(q)), \qquad
       \min_{\theta_g} L_{pri}(\theta_f - \alpha \nabla_{\theta_f} (L_{pri} + w L_{aux}(q(\theta_g)))) + \lambda H(q),

    with the negative entropy ``H`` of the mean label. Both losses are focal, with soft targets:
    ``-sum_k t_k (1 - p_k)^gamma log p_k``. Neither level moves the other's weights. The sub-classes are not
    masked for ``f``. Only the head for the classes predicts, and ``g`` is not needed for it.

    The derivative of the second level in ``q`` is had once, and goes through ``g`` by one backward pass.

    Args:
        config: options.
        networks: the first level's backbone, and the second's.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of MAXL and of its baselines."""

        serves = (Classification,)
        refused_tuning: ClassVar[Mapping[str, str]] = {**LOOKED_THROUGH, "label_smoothing": "its class loss is focal"}
        optimizer: OptimizerConfig = field(default_factory=lambda: _PLAIN, metadata={"search": {"lr": "around:10"}})
        """How the first level follows its gradients; released: 0.01, halved every 50 of 200 epochs, nothing else."""
        generator_optimizer: OptimizerConfig = field(default_factory=lambda: _PLAIN_GENERATOR)
        """How the labelling network follows its gradients; released. On small networks adamw at 0.01 learns more."""
        labels: _Labels = "generated"
        """Where sub-classes come from: learned (generated); a network that stays as it is (frozen); equal for all of a
        class (uniform: label smoothing); drawn once for every image (random); clusters (k_means); a column of the data
        (column); the most likely ones of an earlier stage's labelling network (earlier), or those exchanged at random
        within each class (shuffled); or none, which leaves plain training."""
        column: str = ""
        """Of labels column: the column, each value of which must lie within one class."""
        clusters_of: Literal["autoencoder", "backbone"] = "autoencoder"
        """Of labels k_means: cluster latents of an autoencoder of the training images, or the backbone's first
        features."""
        sub_classes: tuple[Annotated[int, Range(low=1)], ...] = (5,)
        """Sub-classes of every class: one number for all, or one for each."""
        passes: Literal["two", "interleaved"] = "two"
        """Train both levels in turn for a whole pass over the images each (released), or step by step."""
        generator_every: Annotated[int, Range(low=1)] = 1
        """Of interleaved passes: steps of the first level for each one of the second."""
        outer: Literal["train", "meta"] = "train"
        """Judge the second level's step on the batch that it was made with (released), or on the split meta."""
        hypergradient: _Hypergradient = "forward"
        """How the second level is differentiated: exactly, by a forward pass of tangents (forward) or through the
        gradient's own graph (second_order); by a difference; or as the released first-order file does."""
        alpha: Annotated[float, Range(above=0)] | None = None
        """Length of the second level's trial step; by default the first level's learning rate."""
        early_alpha: bool = False
        """Take the learning rate of the next epoch for the trial step, as released."""
        auxiliary_weight: Annotated[float, Range(low=0)] = 1.0
        """Weight of the sub-classes' loss on the first level."""
        entropy_weight: Annotated[float, Range(low=0)] = 0.2
        """Weight of the negative entropy of the mean label; without it few sub-classes are used."""
        entropy: Literal["batch", "class"] = "batch"
        """Take the mean label over the batch (released), or over each class of it."""
        image_rewards: bool = False
        """Teach only what differs between the images of a class: from each label's gradient its mean over the class in
        the batch is taken away, and features of the labelling network are normalised over the batch; ours."""
        gamma: Annotated[float, Range(low=0)] = 2.0
        """Exponent of both focal losses; 0 is cross-entropy."""
        hidden: Annotated[int, Range(low=0)] = 512
        """Width of the hidden layer of every head; 0 for heads that are linear."""
        generator_mode: Literal["train", "eval"] = "train"
        """Mode in which the labelling network labels for the first level: released, its batch norm sees the batch."""
        monitor_every: Annotated[int, Range(low=0)] = 50
        """Steps of a level from one look at its gradients, a cosine or norms, to the next; 0 never looks."""
        leak: Annotated[float, Range(low=0, high=1)] = 0.0
        """What of a sub-class outside an image's class enters the softmax; released: 1e-8."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if bool(self.column) != (self.labels == "column"):
                got = f"labels {self.labels} and column {self.column or 'none'}"
                raise ConfigError("column with labels column, and with no others", got, "give both, or neither")
            if self.clusters_of == "backbone" and self.labels != "k_means":
                got = f"clusters-of backbone with labels {self.labels}"
                raise ConfigError("clusters-of with labels k_means", got, "choose k_means, or leave it out")
            if self.generator_every > 1 and self.passes == "two":
                got = f"generator-every {self.generator_every} with passes two"
                raise ConfigError("generator-every with passes interleaved", got, "choose interleaved, or leave it out")

        @classmethod
        def tiny(cls) -> "MAXL.Config":
            """Return options with narrow heads."""
            return cls(hidden=16, sub_classes=(2,))

        @property
        def learned_columns(self) -> tuple[str, ...]:
            """The column of sub-classes, if there is one."""
            return (self.column,) if self.column else ()

        @property
        def inherited_parts(self) -> tuple[str, ...]:
            """The labelling network, where it was trained before."""
            return ("generator",) if self.labels in _INHERITED else ()

        def required_views(self) -> dict[str, View]:
            """Return the first level's images; the second's, in an order of their own; and what judges its steps."""
            views = {"train": View()}
            if self.labels == "generated":
                views["second"] = View(stream="second level")
                if self.outer == "meta":
                    views["outer"] = View("meta", stream="second level")
            return views

        def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
            """Return a step of one level."""
            if self.labels != "generated":
                return StepPlan({"train": step}, None, self._name_step("first", step))
            first, second = self._count_steps(passes)
            epoch, place = divmod(step, first + second)
            run = first if self.passes == "two" else min(self.generator_every, first)  # of one level without the other
            # What is left of the pass after the last whole turn ends the epoch: every image is shown in each of them.
            turn, within = divmod(place, run + 1) if self.passes == "interleaved" else (0, place)
            if within >= run and turn < second:
                number = epoch * second + turn + within - run
                return StepPlan(
                    dict.fromkeys([*self.required_views()][1:], number),
                    ("generator",),
                    self._name_step("second", number),
                )
            number = epoch * first + place - min(turn, second)
            return StepPlan({"train": number}, ("main",), self._name_step("first", number))

        def _count_steps(self, passes: Mapping[str, int]) -> tuple[int, int]:
            """Return the steps of each level in an epoch; of the first always a whole pass."""
            first = passes["train"]
            return first, passes["second"] if self.passes == "two" else max(1, first // self.generator_every)

        def _name_step(self, level: str, number: int) -> str:
            """Return the kind of a level's step of that number."""
            looks = self.labels != "none" and self.monitor_every > 0 and number % self.monitor_every == 0
            return f"{level}, monitored" if looks else level

        def steps_per_epoch(self, passes: Mapping[str, int]) -> int:
            """Return the steps of both levels in a pass over the first level's images."""
            if self.labels != "generated":
                return passes["train"]
            return sum(self._count_steps(passes))

        def schedule(self, name: str) -> OptimizerConfig:
            """Return the options of the level's optimiser."""
            return self.generator_optimizer if name == "generator" else self.optimizer

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        num_features, hidden, seed = self.backbone.num_features, config.hidden, networks.seed
        self.sub_classes = SubClasses(config.sub_classes, num_classes=self.task.num_outputs)
        self.semantic = hidden_head("semantic", num_features, hidden, self.task.num_outputs, seed=seed)
        if config.labels != "none":
            self.monitor = ConflictMonitor(("auxiliary",))
            self.auxiliary = hidden_head("auxiliary", num_features, hidden, self.sub_classes.total, seed=seed)
        if config.labels in _HAS_NETWORK:
            self.generator = LabellingNetwork(
                networks, self.sub_classes, hidden=hidden, leak=config.leak, normalises=config.image_rewards
            )
            self.generator.requires_grad_(config.labels == "generated")

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser for each level."""
        second = {*self.generator.parameters()} if self.config.labels in _HAS_NETWORK else set()
        built = {"main": self.config.optimizer.build(p for p in self.parameters() if p not in second)}
        if self.config.labels == "generated":
            built["generator"] = self.config.generator_optimizer.build(self.generator.parameters())
        return built

    def begin(self, start: StageStart) -> Prepared:
        """Return a sub-class for every training image, where they do not come from a network."""
        if self.config.labels not in _GIVEN:
            return Prepared()
        return Prepared(targets={"train": {_SUB_CLASS: self._give_sub_classes(start)}})

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step of the level whose turn it is."""
        if state.kind.startswith("second"):
            return self._teach_generator(state, batches, runtime)
        return self._train_network(state, batches["train"], runtime)

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the classes, ``semantic``."""
        return {"semantic": self.semantic(self.backbone(images).pooled)}

    def frozen_parameters(self) -> dict[str, str]:
        """Return those of a labelling network that stays as it is."""
        if self.config.labels not in ("frozen", *_INHERITED):
            return {}
        names = (f"generator.{name}" for name, _ in self.generator.named_parameters())
        return dict.fromkeys(names, "the labelling network stays as it was made or trained before")

    def _give_sub_classes(self, start: StageStart) -> Int[Tensor, " n"]:
        """Return the number of a sub-class for every training image."""
        source, divided, images = self.config.labels, self.sub_classes, start.images["train"]
        classes, draws = images.targets[LABEL], start.generator("sub-classes")
        if source in _INHERITED:
            found = images.read(self._generate_labels).argmax(dim=1)
            return found if source == "earlier" else divided.shuffle(found, classes, generator=draws)
        if source == "random":
            within = divided.draw(classes, generator=draws)
        elif source == "column":
            within = divided.rank(images.targets[self.config.column], classes, column=self.config.column)
        else:
            divided.require_members(classes)  # before an autoencoder is trained for nothing
            of_backbone = self.config.clusters_of == "backbone"
            features = images.features(self.backbone) if of_backbone else encode_images(images, start)
            within = divided.cluster(features, classes, seed=start.seed)
        return divided.place(classes, within)

    def _train_network(self, state: TrainState, batch: Batch, runtime: Runtime) -> Metrics:
        """Follow both losses with the labels fixed."""
        with runtime.autocast():
            pooled = self.backbone(batch.images).pooled
            terms = focal_terms(self.semantic(pooled), gamma=self.config.gamma)
        classification_loss = batch.mean(terms.gather(1, batch.labels.unsqueeze(1)).squeeze(1))
        if self.config.labels == "none":
            runtime.step(state.optimizers["main"], classification_loss)
            return {"classification_loss": classification_loss.detach()}
        with torch.no_grad(), runtime.autocast():
            targets = self._label_images(batch)
        with runtime.autocast():
            auxiliary_terms = focal_terms(self.auxiliary(pooled), gamma=self.config.gamma)
        auxiliary_loss = batch.mean((targets * auxiliary_terms).sum(dim=1))
        metrics = {"classification_loss": classification_loss.detach(), "auxiliary_loss": auxiliary_loss.detach()}
        if state.kind == "first, monitored":
            if state.step == 0:
                self.monitor.restart()
            shared = dict(self.backbone.named_parameters())
            step = GateStep(batch, runtime, primary_loss=classification_loss, shared=shared)
            metrics.update(self.monitor.look(step, {"auxiliary": auxiliary_loss}))
        runtime.step(state.optimizers["main"], classification_loss + self.config.auxiliary_weight * auxiliary_loss)
        return metrics

    def _label_images(self, batch: Batch) -> Float[Tensor, "n total"]:
        """Return the auxiliary targets of the first level."""
        if self.config.labels == "uniform":
            return self.sub_classes.uniform(batch.labels)
        if self.config.labels in _GIVEN:
            return functional.one_hot(batch.targets[_SUB_CLASS], self.sub_classes.total).float()
        return self.generator.label(batch.images, batch.labels, mode=self.config.generator_mode)

    def _generate_labels(self, batch: Batch) -> Float[Tensor, "n total"]:
        labels: Tensor = self.generator(batch.images, batch.labels)
        return labels

    def _teach_generator(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Follow the class loss after a trial step, and the entropy, through the labels."""
        config, batch = self.config, batches["second"]
        seed = derive_seed(state.seed, "labels", state.step)
        with torch.no_grad(), keep_running_statistics(self.generator), global_seed(seed), runtime.autocast():
            labels = self._generate_labels(batch)
        rewards, outer_loss = self._differentiate_labels(labels, state, batches, runtime)
        # The same pass again, with a graph: that of the first would wait in memory while the trial step is judged.
        with global_seed(seed), runtime.autocast():
            labels = self._generate_labels(batch)
        num_classes = self.task.num_outputs
        if config.image_rewards:
            # What all images of a class have in common would move their labels together, to one sub-class or to none.
            rewards = center_by_class(rewards, batch.labels, num_classes=num_classes, join=runtime.sum)
        entropy_loss = mean_label_entropy_loss(
            labels, batch.labels, num_classes=num_classes, over=config.entropy, join=runtime.differentiable_sum
        )
        parameters = [*self.generator.parameters()]
        weight = 0.0 if config.hypergradient == "first_order_released" else config.entropy_weight
        terms = {"taught_gradient": (labels * rewards).sum(), "entropy_gradient": weight * entropy_loss}
        norms = {}
        for name, term in terms.items() if state.kind == "second, monitored" else ():
            parts = runtime.mean(torch.autograd.grad(term, parameters, retain_graph=True))
            norms[name] = joint_norm(part for part in parts if part is not None)
        gradients = torch.autograd.grad(torch.stack([*terms.values()]).sum(), parameters)
        runtime.apply(state.optimizers["generator"], runtime.mean(gradients))
        return {
            "outer_loss": outer_loss,
            "entropy_term": entropy_loss.detach(),
            **norms,
            **measure_labels(labels, batch.labels, num_classes=num_classes, join=runtime.sum),
        }

    def _differentiate_labels(
        self, labels: Float[Tensor, "n total"], state: TrainState, batches: Batches, runtime: Runtime
    ) -> tuple[Float[Tensor, "n total"], Float[Tensor, ""]]:
        """Return the derivative, in the labels, of the class loss after a trial step, and that loss."""
        network = SideBySide(self.backbone, self.semantic, self.auxiliary)
        inner, outer = (batches[name] for name in ("second", "outer" if "outer" in batches else "second"))
        result = differentiate_labels(
            network,
            labels,
            num_classes=self.task.num_outputs,
            inner=ClassBatch(inner.images, inner.labels, inner.share),
            outer=ClassBatch(outer.images, outer.labels, outer.share),
            terms=partial(focal_terms, gamma=self.config.gamma),
            weight=self.config.auxiliary_weight,
            solver=self._make_solver(state, network),
            mean=None if runtime.num_processes == 1 else runtime.mean_of,
            seed=state.step,
        )
        return result.grads["labels"], result.outer_loss

    def exhibits(self, images: Mapping[str, AbstractImageReader]) -> Sequence[Exhibit]:
        """Return how far both losses agreed, images of each sub-class for a few classes, and how many each has."""
        config = self.config
        shown = () if config.labels == "none" else self.monitor.exhibits()
        if config.labels not in ("generated", "frozen", "earlier"):
            return shown
        names = self.task.targets[0].names
        labels = exhibit_labels(images["train"], self._generate_labels, sub_classes=self.sub_classes, class_names=names)
        return (*shown, *labels)

    def _make_solver(self, state: TrainState, network: nn.Module) -> AbstractSolver:
        """Return how the trial step is differentiated, and how long it is."""
        rate, schedule = self.config.alpha, state.schedulers.get("main")
        if rate is None and isinstance(schedule, LearningRate):  # which has moved on to the next step, or epoch
            rate = schedule.rate_before(0 if self.config.early_alpha else 1)
        elif rate is None:
            rate = float(state.optimizers["main"].param_groups[0]["lr"])
        if self.config.hypergradient == "forward":
            return ForwardMode(rate=rate)
        if self.config.hypergradient == "second_order":
            return Unrolled(optimizer=SGD(rate=rate))
        if self.config.hypergradient == "finite_difference":
            return FiniteDifference(rate=rate)
        length = joint_norm(p.detach() for p in network.parameters()).clamp_min(1.0)
        return FiniteDifference(rate=rate, epsilon=0.01 / float(length))  # an absolute length of 0.01
