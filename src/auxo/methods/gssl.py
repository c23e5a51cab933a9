"""G-SSL: classification and several tasks on one quadrant of the image, their losses weighted by a gate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.errors import ConfigError
from auxo.gates import GateStep
from auxo.gates.learned import LearnedGate
from auxo.gates.uniform import UniformGate
from auxo.interfaces import (
    AbstractMethod,
    AbstractNetworks,
    MethodConfig,
    PretextBatch,
    PretextHead,
    StepPlan,
    TrainState,
    View,
)
from auxo.layers.heads import HeadKind, class_head
from auxo.losses import LDAM, ClassLossConfig, CrossEntropy
from auxo.losses.attacks import PGDConfig, attack_mode, projected_gradient_descent
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GatedPretextsConfig
from auxo.runs.controls import control_of
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import Batch, Batches, Images, Metrics

SOURCE = (
    "After Ruslim, Yudistira, Setiawan, Mixture of Self-Supervised Learning (arXiv 2307.14897), of which only the "
    "abstract and a figure could be read, and the authors' released code (github.com/aristorenaldo/G-SSL). The "
    "pretexts, heads, weight 0.1 and schedules are the code's. In the code no gradient reaches the gate, which stays "
    "at its random first weights (gate.name=frozen); the abstract has the model learn the weights, so that is our "
    "default (learned), guarded against collapse in a way of ours. Ours, too: nothing is selected on a test set; the "
    "attack stays within epsilon of the clean image; flips are horizontal everywhere; a gate that covers the class "
    "loss is a reading of a variant that does not run as released."
)

_Covers: TypeAlias = Literal["pretexts", "all"]


class GSSL(AbstractMethod):
    r"""A class head, a head for each pretext, and a gate on one backbone and one input.

    Every training image has one quadrant flipped, turned and its channels shuffled. With ``x'`` that image, ``f`` the
    backbone, ``c`` and ``p_t`` the heads, ``y_t`` the answers and ``w`` the gate's weights, one step is taken on

    .. math:: CE(c(f(x')), y) + \lambda \sum_t w_t CE(p_t(f(x')), y_t) .

    Some gates change what they weigh: the default divides every pretext's loss by that of guessing and adds a bonus for
    entropy. With an attack the step is taken on images that were changed to raise the loss above at the gate's weights,
    without either, and with cross-entropy for the class, whatever loss its head learns by.

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of G-SSL and of its controls."""

        serves = (Classification,)

        pretexts: GatedPretextsConfig = field(
            default_factory=GatedPretextsConfig, metadata={"search": {"weight": "log:0.01,1"}}
        )
        """Which tasks, their gate and their weight."""
        covers: _Covers = "pretexts"
        """What the gate weighs: the pretexts, or also the class loss, against the pretexts at their weight."""
        class_loss: ClassLossConfig = field(default_factory=CrossEntropy)
        """What the class head learns by."""
        head: HeadKind = "linear"
        """Kind of the class head and of the pretexts' heads; the latter have no scale when they are cosines."""
        attack: PGDConfig = field(default_factory=PGDConfig)
        """Train on attacked images; off unless it has steps."""
        attack_pretexts: bool = True
        """Let the attack raise the pretexts' losses, too, at their weights; without, the class loss alone."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self.class_loss.check_head(self.head)
            if self.attack.is_on and self.pretexts.shuffles_normalised:
                # Exchanged after normalisation, channels would leave [0, 1], into which an attack clips.
                fix = "pass --method.pretexts.shuffle-space pixels"
                raise ConfigError("channels shuffled among pixels under an attack", "after normalisation", fix)

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch, which the gate weighs as a whole, and what a gate looks into."""
            whole = {"accumulate": "its gate weighs the losses of a whole batch"}
            return {**self.class_loss.refused_tuning, **whole, **self.pretexts.gate.refused_tuning}

        def required_views(self) -> dict[str, View]:
            """Return the training images as ``train``, and a view of the gate's own if it asks for one."""
            return {"train": View(), **self.pretexts.views}

        def plan(self, step: int, passes: Mapping[str, int]) -> StepPlan:
            """Return a step on every view, the gate's own where it reads it."""
            return self.pretexts.gate.plan_view(super().plan(step, passes), step)

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        task = Classification.require(self.task)
        self.class_loss = config.class_loss.build(task.class_counts, head=config.head, smoothing=task.label_smoothing)
        self.semantic = class_head(
            config.head, "semantic", self.backbone.num_features, self.task.num_outputs, seed=networks.seed
        )
        self.pretexts = config.pretexts.build(
            self.backbone.num_features,
            seed=networks.seed,
            head=config.head,
            class_outputs=self.task.num_outputs if config.covers == "all" else None,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over everything, the gate included."""
        return {"main": self.config.optimizer.build(self.parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the class loss plus the gated losses of the pretexts."""
        batch = batches["train"]
        draws = state.draws("pretexts", batch)
        made = self.pretexts.make(batch.images, draws=draws, normalisation=batch.normalisation)
        inputs = self._attack_inputs(made, state, batches, runtime) if self.config.attack.is_on else made.inputs
        with runtime.autocast():
            features = self.backbone(inputs).pooled
            outputs = self.semantic(features)
        class_losses = self.class_loss.joined(outputs, batch, progress=state.progress, runtime=runtime)
        classification_loss = batch.mean(class_losses)
        step = self._gate_step(state, batches, runtime)
        gated = self.pretexts(features, made.targets, step, class_losses=class_losses)
        loss = gated.loss if self.pretexts.covers_class else classification_loss + gated.loss
        runtime.step(state.optimizers["main"], loss)
        return {"classification_loss": classification_loss.detach(), **gated.metrics}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the class head, ``semantic``, for images as they are: no quadrant is changed."""
        return {"semantic": self.class_loss.logits(self.semantic(self.backbone(images).pooled))}

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the head of every pretext, unless they are not trained."""
        return self.pretexts.pretext_heads(self.backbone) if self.config.pretexts.weight else {}

    def frozen_parameters(self) -> dict[str, str]:
        """Return the released gate's parameters, or those of pretexts of weight 0."""
        return {f"pretexts.{name}": reason for name, reason in self.pretexts.frozen_parameters().items()}

    def _gate_step(self, state: TrainState, batches: Batches, runtime: Runtime) -> GateStep:
        """Return what the gate may know of a step."""

        def classify(outputs: Tensor, batch: Batch) -> Tensor:
            return self.class_loss.joined(outputs, batch, progress=state.progress, runtime=runtime)

        return self.pretexts.gate_step(
            state, batches["train"], batches, runtime, backbone=self.backbone, head=self.semantic, classify=classify
        )

    def _attack_inputs(self, made: PretextBatch, state: TrainState, batches: Batches, runtime: Runtime) -> Images:
        """Return the transformed images, changed so that their summed loss rises."""
        batch, step = batches["train"], self._gate_step(state, batches, runtime)
        if batch.normalisation is None:
            raise ConfigError("a batch that says how it was normalised", "none", "make it with InputPipeline")

        def objective(images: Images) -> Tensor:
            with runtime.autocast():
                features = self.backbone(images).pooled
                outputs = self.semantic(features)
            losses = self.task.losses(self.class_loss.logits(outputs), batch.targets)
            if not self.config.attack_pretexts:
                return losses.sum()
            return self.pretexts.summed_loss(features, made.targets, losses, step)

        with attack_mode(self.backbone, self.config.attack):
            return projected_gradient_descent(
                made.inputs, batch.normalisation, objective, self.config.attack, draws=state.draws("attack", batch)
            )


def recipe() -> ExperimentConfig:
    """Return the three pretexts under a learned gate, with a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=GSSL.Config()),))


def moe1() -> ExperimentConfig:
    """Return the release's Moe1 on the digits: rotation, flip and channel shuffle under a gate."""
    return recipe()


def moe1flip() -> ExperimentConfig:
    """Return the release's Moe1flip on the digits: rotation and flip under a gate."""
    return _on_digits("flip", "lorot")


def moe1sc() -> ExperimentConfig:
    """Return the release's Moe1sc on the digits: rotation and channel shuffle under a gate."""
    return _on_digits("lorot", "channel_shuffle")


def nomoe() -> ExperimentConfig:
    """Return the release's Nomoe on the digits: the plain sum of all three, so three times a gate's total weight."""
    pretexts = GatedPretextsConfig(gate=UniformGate.Config(), normalise_weights=False)
    return ExperimentConfig(stages=(StageConfig(method=GSSL.Config(pretexts=pretexts)),))


def lorot() -> ExperimentConfig:
    """Return LoRot-E on the digits: rotation alone, which needs no gate."""
    pretexts = GatedPretextsConfig(tasks=("lorot",), gate=UniformGate.Config())
    return ExperimentConfig(stages=(StageConfig(method=GSSL.Config(pretexts=pretexts)),))


@control_of("gssl")
def transform_only() -> ExperimentConfig:
    """Return the control of weight 0 on the digits: the images of G-SSL as augmentation, and the class loss alone."""
    pretexts = GatedPretextsConfig(gate=UniformGate.Config(), weight=0.0)
    return ExperimentConfig(stages=(StageConfig(method=GSSL.Config(pretexts=pretexts)),))


def _on_digits(*tasks: str) -> ExperimentConfig:
    """Return these tasks under a learned gate, with a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=GSSL.Config(pretexts=GatedPretextsConfig(tasks=tasks))),))


def cifar10_long_tailed() -> ExperimentConfig:
    """Return the released setting for long-tailed CIFAR-10: ResNet-32, LDAM with deferred weights, 200 epochs.

    The gate is learned, in the release's form for this setting; the release itself is ``gate.name=frozen``,
    ``gate.init=kaiming`` and ``flip_axis=vertical``. First weights are by fan-in, as there. Differs: a tenth of the
    50,000 training images validates, so classes have 4,500 to 45 images where the release has 5,000 to 50; mean and
    standard deviation are the training set's.
    """
    method = GSSL.Config(
        pretexts=GatedPretextsConfig(gate=LearnedGate.Config(form="softmax_of_mean")),
        class_loss=LDAM(class_weights="effective_number", reweight_after=0.8),
        head="cosine",
        optimizer=OptimizerConfig(
            lr=0.1, nesterov=False, weight_decay=2e-4, milestones=(0.8, 0.9), decay=0.01, warmup_epochs=5
        ),
    )
    return ExperimentConfig(
        stages=(StageConfig(method=method, epochs=200, batch_size=128),),
        backbone=BackboneConfig(name="resnet32_fan_in"),
        data=DataConfig(scenario="cifar10", imbalance="exp", imbalance_ratio=0.01, augment="crop_flip"),
    )


def cifar10_adversarial() -> ExperimentConfig:
    """Return the released setting for adversarial training on CIFAR-10: WRN-40-2, PGD with 10 steps, 200 epochs.

    The attack raises the pretexts' losses, too. Differs: the gate is learned (the release is ``gate.name=frozen``);
    inputs are normalised by the training set's mean and standard deviation, where the release maps pixels to [-1, 1];
    the attack keeps to its ball, has steps of 2/255 and not 2/225, and leaves batch norm alone
    (``attack.literal=True`` is the release's); the first step has the first rate of the cosine, where the release has
    the second and ends a step further; and a tenth of the training images validates.
    """
    method = GSSL.Config(
        pretexts=GatedPretextsConfig(shuffle_space="pixels"),
        attack=PGDConfig(steps=10),
        optimizer=OptimizerConfig(lr=0.1, weight_decay=5e-4, schedule="cosine", moves="step", minimum_lr=1e-6),
    )
    return ExperimentConfig(
        stages=(StageConfig(method=method, epochs=200, batch_size=128),),
        backbone=BackboneConfig(name="wrn_40_2"),
        data=DataConfig(scenario="cifar10", augment="crop_flip"),
    )


def tiny_imagenet() -> ExperimentConfig:
    """Return the released setting for Tiny-ImageNet: ResNet-18 with a small stem, 400 epochs.

    Differs: the gate is learned (the release is ``gate.name=frozen``); crops are padded by 8 pixels instead of 4;
    and a tenth of the training images validates, where the release chooses among its epochs on the test images.
    """
    optimizer = OptimizerConfig(lr=0.2, nesterov=False, weight_decay=1e-4, schedule="cosine")
    return ExperimentConfig(
        stages=(StageConfig(method=GSSL.Config(optimizer=optimizer), epochs=400, batch_size=100),),
        backbone=BackboneConfig(name="resnet18_cifar"),
        data=DataConfig(scenario="tiny_imagenet", augment="crop_flip", normalise="imagenet"),
    )
