"""An auxiliary task that is invented: a head for sub-classes, and the network that labels for it and learns to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.bilevel import BilevelProblem, FunctionalModule, HypergradResult, Implicit, Neumann, hypergradient
from auxo.bilevel.module import CalledModule
from auxo.bilevel.problem import Params
from auxo.bilevel.vectors import joint_norm
from auxo.errors import ConfigError
from auxo.interfaces import AbstractImageReader, AbstractNetworks, Exhibit, View
from auxo.layers.sub_classes import SubClasses, center_by_class, mean_label_entropy_loss
from auxo.losses import focal_terms
from auxo.optimizers import OptimizerConfig
from auxo.options import Options, Range
from auxo.pretexts.labelling.exhibits import exhibit_labels
from auxo.pretexts.labelling.network import LabellingNetwork, measure_labels
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import Batch, Losses, Metrics

_LABELS = "labels"
_RELEASED = OptimizerConfig(lr=1e-3, nesterov=False, weight_decay=5e-3, schedule="constant")


@dataclass(frozen=True, kw_only=True)
class InventedTaskConfig(Options):
    """An auxiliary task whose labels a network learns to give; the defaults are those of AuxiLearn's released code."""

    sub_classes: tuple[Annotated[int, Range(low=1)], ...] = ()
    """Sub-classes of every class: one number for all, or one for each; none, the default, invents no task."""
    weight: Annotated[float, Range(low=0)] = 0.25
    """Weight of the task's loss among the auxiliary ones, in front of the gate."""
    gamma: Annotated[float, Range(low=0)] = 2.0
    """Exponent of the task's focal loss; 0 is cross-entropy."""
    every: Annotated[int, Range(low=1)] = 30
    """Steps of the network for each one of the labelling network."""
    split: Literal["train", "meta"] = "train"
    """Where the images come from that judge labels: training images in an order of their own, or held-out ones."""
    optimizer: OptimizerConfig = field(default_factory=lambda: _RELEASED)
    """How the labelling network follows its gradients; on small networks adamw at 0.01 learns more."""
    terms: Annotated[int, Range(low=0)] = 3
    """Products with the Hessian; the series has one term more, and with none is a single step of training."""
    scale: Annotated[float, Range(above=0)] | None = None
    """Alpha of the series; by default the network's learning rate, so that its terms are steps; released: 1e-3."""
    released_factor: bool = False
    """Leave out the leading alpha of the series, as released: gradients are 1/alpha times as large."""
    clip: Annotated[float, Range(above=0)] = 50.0
    """Norm that the labelling network's gradient is scaled down to."""
    entropy_weight: Annotated[float, Range(low=0)] = 0.0
    """Weight of the negative entropy of the mean label, as in MAXL; the release has none."""
    entropy: Literal["batch", "class"] = "batch"
    """Take the mean label over the batch, or over each class of it."""
    image_rewards: bool = False
    """Teach only what differs between the images of a class: from each label's gradient its mean over the class in the
    batch is taken away, and the labelling network's features are normalised over the batch; ours."""
    hidden: Annotated[int, Range(low=0)] = 512
    """Width of the hidden layer of the labelling network's head; 0 for a linear one."""
    mode: Literal["train", "eval"] = "train"
    """Mode in which the labelling network labels for the network: released, its batch norm sees the batch."""
    leak: Annotated[float, Range(low=0, high=1)] = 0.0
    """What of a sub-class outside an image's class enters the softmax; released: 1e-8."""

    @property
    def is_on(self) -> bool:
        """Whether a task is invented."""
        return bool(self.sub_classes)

    @property
    def views(self) -> dict[str, View]:
        """The view of the images that judge the labels, ``outer``."""
        return {"outer": View(self.split, stream="upper level")} if self.is_on else {}

    def find_turn(self, step: int, *, length: int) -> int | None:
        """Return the number of the labelling network's step that follows a step of the network; ``None`` if none does.

        There are as many in every epoch, so that learning rates move with epochs; at least one.

        Args:
            step: of the network, from 0.
            length: steps of an epoch.

        Example:
            >>> config = InventedTaskConfig(sub_classes=(2,), every=3)
            >>> [config.find_turn(step, length=7) for step in range(14)]
            [None, None, None, 0, None, None, 1, None, None, None, 2, None, None, 3]
        """
        count = max(1, round(length / self.every))
        epoch, place = divmod(step, length)
        before, after = (count * number // length for number in (place, place + 1))
        return epoch * count + before if self.is_on and before < after else None


class InventedTask(nn.Module):
    r"""A head for sub-classes on the network's features, and a second network that gives their labels.

    With the labels ``q`` of the second network, the primary loss ``L_p`` and what the network minimises, ``L``,

    .. math:: \frac{dL_p}{dq} = -\Big(\frac{\partial^2 L}{\partial\theta\,\partial q}\Big)^\top z, \qquad
       z = \alpha \sum_{j=0}^{K} (I - \alpha \nabla^2_\theta L)^j \nabla_\theta L_p ,

    where ``theta`` are all weights that the network learns by ``L``; those that the primary loss does not reach have a
    gradient of zero in ``L_p``. It goes through the second network by one backward pass from ``q``.

    Args:
        config: options, with sub-classes.
        networks: gives the shared backbone's width, and makes the second network. First weights come from the streams
            ``init/auxiliary``, ``init/generator`` and ``init/generator_head``.

    Raises:
        ConfigError: the task is none of classes.
    """

    def __init__(self, config: InventedTaskConfig, networks: AbstractNetworks) -> None:
        super().__init__()
        self.config = config
        self.class_names = Classification.require(networks.task).class_names
        self.sub_classes = SubClasses(config.sub_classes, num_classes=len(self.class_names))
        self.head = networks.linear_head("auxiliary", self.sub_classes.total)
        self.generator = LabellingNetwork(
            networks, self.sub_classes, hidden=config.hidden, leak=config.leak, normalises=config.image_rewards
        )

    def label(self, batch: Batch, *, runtime: Runtime) -> Float[Tensor, "batch total"]:
        """Return the labels of a batch without a graph."""
        with runtime.autocast():
            labels: Tensor = self.generator.label(batch.images, batch.labels, mode=self.config.mode)
        return labels

    def losses(
        self, features: Float[Tensor, "batch dim"], labels: Float[Tensor, "batch total"], *, runtime: Runtime
    ) -> Losses:
        """Return the focal loss of every image, at the task's weight."""
        with runtime.autocast():
            outputs = self.head(features)
        terms = focal_terms(outputs, gamma=self.config.gamma)
        return self.config.weight * (labels * terms).sum(1)

    def exhibits(self, reader: AbstractImageReader) -> tuple[Exhibit, ...]:
        """Return what the labels of a reader's images say, and images of each sub-class."""
        return exhibit_labels(
            reader,
            lambda batch: self.generator(batch.images, batch.labels),
            sub_classes=self.sub_classes,
            class_names=self.class_names,
        )

    def teach(
        self,
        optimizer: Optimizer,
        batch: Batch,
        lower: Mapping[str, nn.Module],
        *,
        inner_loss: Callable[[Tensor], Tensor],
        outer_loss: Callable[[], Tensor],
        rate: float,
        seed: int,
        runtime: Runtime,
    ) -> Metrics:
        """Move the second network along the implicit gradient of the primary loss.

        Args:
            optimizer: of the second network.
            batch: of the images that the inner loss is of.
            lower: all that learns by the inner loss, by name; it stays as it is.
            inner_loss: what the network minimises, as a function of the labels of ``batch``; made with
                :meth:`Batch.mean`, twice differentiable, without autocast.
            outer_loss: the primary loss on other images, likewise.
            rate: scale of the series where the options give none.
            seed: of layers that draw random numbers.
            runtime: autocast for the labels, and the other processes.

        Returns:
            ``outer_loss``; the norm ``generator_gradient`` before it is scaled down; ``label_entropy``,
            ``label_information`` and ``labels_used``.
        """
        config, parameters = self.config, [*self.generator.parameters()]
        with runtime.autocast():
            labels = self.generator(batch.images, batch.labels)
        scale = config.scale or rate
        result = self._differentiate_labels(
            labels.detach(), lower, inner_loss, outer_loss, scale, seed=seed, runtime=runtime
        )
        slopes = result.grads[_LABELS] / (scale if config.released_factor else 1.0)
        num_classes = len(self.class_names)
        if config.image_rewards:
            slopes = center_by_class(slopes, batch.labels, num_classes=num_classes, join=runtime.sum)
        told = measure_labels(labels, batch.labels, num_classes=num_classes, join=runtime.sum)
        entropy_loss = mean_label_entropy_loss(
            labels, batch.labels, num_classes=num_classes, over=config.entropy, join=runtime.differentiable_sum
        )
        loss = (labels * slopes).sum() + config.entropy_weight * entropy_loss
        gradients = [each for each in runtime.mean(torch.autograd.grad(loss, parameters)) if each is not None]
        runtime.apply(optimizer, gradients, max_norm=config.clip)
        return {"outer_loss": result.outer_loss, "generator_gradient": joint_norm(gradients), **told}

    def _differentiate_labels(
        self,
        labels: Float[Tensor, "batch total"],
        lower: Mapping[str, nn.Module],
        inner_loss: Callable[[Tensor], Tensor],
        outer_loss: Callable[[], Tensor],
        scale: float,
        *,
        seed: int,
        runtime: Runtime,
    ) -> HypergradResult:
        """Return the derivative of the outer loss in the labels."""
        net = FunctionalModule(CalledModule(nn.ModuleDict(lower)), seed=seed)

        def inner(params: Params, hyper: Params, buffers: Params, data: None) -> tuple[Tensor, Params]:
            del data  # the losses have their images
            return net(params, buffers, lambda: inner_loss(hyper[_LABELS]))

        def outer(params: Params, hyper: Params, buffers: Params, data: None) -> tuple[Tensor, Params]:
            del hyper, data
            return net(params, buffers, outer_loss)

        # A few terms stand for as many steps: the Hessian of a network that is not trained to its end is indefinite.
        linear = Neumann(terms=self.config.terms + 1, scale=scale, may_grow=True, measure_residual=False)
        return hypergradient(
            BilevelProblem(inner_loss=inner, outer_loss=outer, local=frozenset({_LABELS})),
            net.params,
            {_LABELS: labels},
            inner=[None],
            outer=None,
            solver=Implicit(linear=linear),
            buffers=net.buffers,
            mean=None if runtime.num_processes == 1 else runtime.mean_of,
        )


def require_sub_classes(config: InventedTaskConfig) -> None:
    """Refuse options of an invented task where none is asked for.

    Raises:
        ConfigError: some differ from their defaults.
    """
    if not config.is_on and config != InventedTaskConfig():
        fix = "pass --method.invented.sub-classes 5, or leave the others out"
        raise ConfigError("options of an invented task with invented.sub-classes", "none", fix)
