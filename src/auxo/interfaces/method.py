"""What a method is: a way to train, its options, and the state that it is trained in."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from auxo.errors import ConfigError
from auxo.interfaces.backbone import AbstractBackbone
from auxo.interfaces.exhibits import Exhibit
from auxo.interfaces.networks import AbstractNetworks
from auxo.interfaces.pretext import PretextHead
from auxo.interfaces.reading import AbstractImageReader, Prepared, StageStart
from auxo.interfaces.view import StepPlan, View
from auxo.optimizers import OptimizerConfig
from auxo.options import Options
from auxo.random import Draws, named_generator
from auxo.runtime import Runtime
from auxo.tasks import AbstractTask, Measure
from auxo.types import Batch, Batches, Images, Metrics

_MOVED = "it was written for auxo 0.1: docs/moving.md says what has changed"


@dataclass
class TrainState:
    """Everything about a stage that a checkpoint holds, besides the method's weights.

    Random numbers and the order of the data are functions of ``seed`` and ``step`` alone, so nothing else is needed to
    continue a run to the bit.

    Args:
        optimizers: by name.
        schedulers: by the name of the optimiser they drive; stepped after every update by the trainer.
        seed: the seed of this stage.
        step: updates done so far in this stage.
        num_steps: updates of the whole stage.
        steps_per_epoch: updates of an epoch.
        kind: of the step that is taken, from the config's ``plan``.
        prepared: what the method's ``begin`` made, on the device.
        averaged: the average of the weights, by name; empty where there is none.
    """

    optimizers: dict[str, Optimizer]
    schedulers: dict[str, LRScheduler] = field(default_factory=dict)
    seed: int = 0
    step: int = 0
    num_steps: int = 1
    steps_per_epoch: int = 1
    kind: str = "step"
    prepared: Mapping[str, Tensor] = field(default_factory=dict)
    averaged: dict[str, Tensor] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """Part of the stage that is done, in [0, 1)."""
        return self.step / self.num_steps

    @property
    def epoch(self) -> int:
        """Number of the epoch that the step is part of, from 0."""
        return self.step // self.steps_per_epoch

    def draws(self, stream: str, batch: Batch) -> Draws:
        """Return this step's random numbers of the stream, shared out as the batch is."""
        return Draws(named_generator(self.seed, stream, self.step), first=batch.first, total=batch.joined_size)


class AbstractMethod(nn.Module, ABC):
    """A way to train. It owns its network, its optimisers' use and its prediction.

    A subclass is final: it is built by the class ``Config`` within it and registered by the name of its module.

    Args:
        config: options; the subclass says of which kind.
        networks: the shared backbone, the task and the seed; gives more networks to a method that asks.

    Attributes:
        head_names: the heads for the task in the order of :meth:`head_logits`, the one that predicts first; none where
            a method trains no such head, as one that prepares a backbone for later stages.
        config: options.
        task: what is to be predicted.
        backbone: the shared network.
    """

    head_names: tuple[str, ...] = ("semantic",)

    def __init__(self, config: "MethodConfig", networks: AbstractNetworks) -> None:
        super().__init__()
        self.config = config
        self.task = networks.task
        self.backbone = networks.backbone

    def __init_subclass__(cls) -> None:
        """Let the options within a method build it."""
        super().__init_subclass__()
        if "Config" in vars(cls):
            vars(cls)["Config"].method = cls

    @property
    def networks(self) -> list[AbstractBackbone]:
        """All networks in the method, the shared backbone among them."""
        return [module for module in self.modules() if isinstance(module, AbstractBackbone)]

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that ask for gradients: those of frozen networks and of averages do not."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @property
    def predicting_backbone(self) -> AbstractBackbone:
        """The network whose features the head that predicts reads; by default the shared one."""
        return self.backbone

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """Build the optimisers over the method's own parameters; called once, after the weights are on the device."""

    def begin(self, start: StageStart) -> Prepared:
        """Return what the stage needs to know of its images before its first step; by default nothing.

        Called in every process, once for a run, when weights of earlier stages have been taken over. What is returned
        is kept beside the checkpoints and read when the run goes on. What it costs counts as training. Weights are not
        to be changed here: set them at step 0, from ``state.prepared``.
        """
        del start
        return Prepared()

    @abstractmethod
    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Train on one set of batches.

        Args:
            state: optimisers, step, its kind and epoch; only the optimisers may be changed.
            batches: one normalised batch for each view in the config's ``plan`` of this step.
            runtime: gives ``autocast()`` and ``step(optimizer, loss)``.

        Returns:
            Detached scalars by name, the same names at every step of one kind. Names ending in ``_loss`` stop the run
            when they are not finite.
        """

    @abstractmethod
    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the outputs of every head in ``head_names``, by name and in that order.

        Their shape is ``(batch, task.num_outputs)``, with height and width after it where targets have places.
        """

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the pretexts that evaluation should measure, by name; none unless a method has them."""
        return {}

    def measures(self, images: AbstractImageReader) -> Mapping[str, Measure]:
        """Return measures of the method's own on a split, on which selection may rest; none by default.

        Asked in every process whenever the split is measured, also when the run is evaluated later: what they need has
        to be among the weights and buffers. Their names must be others than those of the task's measures.

        Args:
            images: of the split.
        """
        del images
        return {}

    def image_values(self, images: Images) -> Mapping[str, Tensor]:
        """Return numbers that ``auxo explain`` puts beside each image, of shape ``(batch,)``; by default none.

        Args:
            images: normalised.
        """
        del images
        return {}

    def exhibits(self, images: Mapping[str, AbstractImageReader]) -> Sequence[Exhibit]:
        """Return what there is to show at the end of a stage, in report and ``auxo explain``; by default nothing.

        Asked in every process, with the weights that the stage ends with.

        Args:
            images: by split, ``train`` and ``val``; never a set that judges.
        """
        del images
        return ()

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parameters that no gradient reaches, by name, each with the reason; none by default."""
        return {}

    def predict(self, images: Images) -> Tensor:
        """Return the outputs of the head that predicts, for normalised images; see :meth:`head_logits`.

        Raises:
            ConfigError: the method has no head that predicts.
        """
        if not self.head_names:
            fix = "train one on top in a later stage, such as linear_probe"
            raise ConfigError("a method with a head that predicts", type(self).__name__, fix)
        return self.head_logits(images)[self.head_names[0]]


@dataclass(frozen=True, kw_only=True)
class MethodConfig(Options):
    """Options of a method. Subclasses are frozen dataclasses nested in their method as ``Config``."""

    def __init_subclass__(cls) -> None:
        """Refuse a class that was written for the interface of auxo 0.1."""
        super().__init_subclass__()
        for name, number, expected in (
            ("plan", 3, "plan(self, step, passes)"),
            ("build", 2, "no build of its own and a method's __init__(self, config, networks)"),
        ):
            own = vars(cls).get(name)
            names = [] if own is None else list(signature(own).parameters)
            if names and len(names) != number:
                raise ConfigError(expected, f"{name}({', '.join(names)}) in {cls.__qualname__}", _MOVED)

    method: ClassVar[type[AbstractMethod]]
    """The method that these are the options of; set by it."""

    serves: ClassVar[tuple[type[AbstractTask], ...]] = (AbstractTask,)
    """Kinds of tasks that the method can learn; by default any."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig, metadata={"search": {"lr": "around:10"}})
    """How the weights follow their gradients."""

    @property
    def learned_columns(self) -> tuple[str, ...]:
        """Further columns of the data that the method learns, beside the task's targets; by default none."""
        return ()

    @property
    def inherited_parts(self) -> tuple[str, ...]:
        """Modules of the method that must start from an earlier stage's weights; by default none."""
        return ()

    @property
    def shared_parts(self) -> Mapping[str, object]:
        """What parts are made from that a later stage starts from, by module, the backbone aside; by default none.

        Stages that hand such a part on must make it from the same options: weights of another would be left out.
        """
        return {}

    @property
    def takes_mixed_labels(self) -> bool:
        """Whether ``update`` learns from the targets ``mixed_label`` and ``mixed_part`` of mixed images.

        These are the options ``mixup`` and ``cutmix`` of :class:`auxo.optimizers.TuningConfig`; by default it does not.
        """
        return False

    @property
    def refused_tuning(self) -> Mapping[str, str]:
        """Options of :class:`auxo.optimizers.TuningConfig` that the method cannot take, each with the reason.

        A method whose loss is a mean over the images of a batch, and that takes one step on it, has none to refuse; by
        default nothing is known of it. Reasons follow the option and "because".
        """
        unknown = "the method does not say that it can (MethodConfig.refused_tuning)"
        return dict.fromkeys(("accumulate", "clip_norm", "label_smoothing"), unknown)

    @classmethod
    def tiny(cls) -> "MethodConfig":
        """Return options under which one update takes milliseconds, for tests."""
        return cls()

    def required_views(self) -> dict[str, View]:
        """Return the views that ``update`` reads, by name; by default one of the training images, ``train``."""
        return {"train": View()}

    def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
        """Return what a step reads and moves; by default every view, and all optimisers.

        Args:
            step: its number in the stage, from 0.
            passes: by view, the batches of one pass over its images, so that a plan can go by whole passes.
        """
        del passes
        return StepPlan(dict.fromkeys(self.required_views(), step))

    def steps_per_epoch(self, passes: Mapping[str, int]) -> int:
        """Return the steps of an epoch: by default of a pass over the view ``train``, or over the first without one.

        Args:
            passes: by view, the batches of one pass over its images.
        """
        return passes.get("train", next(iter(passes.values())))

    def schedule(self, name: str) -> OptimizerConfig:
        """Return the options by which the learning rate of an optimiser moves; by default ``optimizer``'s for all."""
        del name
        return self.optimizer

    def check_task(self, kind: type[AbstractTask]) -> None:
        """Refuse a task that the method cannot learn.

        Raises:
            ConfigError: it is none that the method serves.
        """
        if not issubclass(kind, self.serves):
            served = " or ".join(each.__name__ for each in self.serves)
            method = type(self).__qualname__.partition(".")[0]
            fix = "choose another method, or another task with --task.name"
            raise ConfigError(f"a task that {method} serves, {served}", kind.__name__, fix)

    def build(self, networks: AbstractNetworks) -> AbstractMethod:
        """Return the method; heads are initialised from streams named after them."""
        return self.method(self, networks)
