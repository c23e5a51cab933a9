"""How fast MAXL's second level is beside a plain rendering of the released one, on the same weights; prints Markdown.

The step of the labelling network: its gradient and the optimiser's step. Every variant lives in a process of its own;
they take turns, one measurement each in every round, so that whatever else the machine does falls on all alike. Times
are medians with quartiles; nothing here asserts a time. Memory is the most that tensors made during one step hold at
once. Errors are those of the gradient: the length of its difference to the plain one's in float64, over its length, the
mean over some batches.

    python benchmarks/maxl_step.py                  both networks, some minutes on one core
    python benchmarks/maxl_step.py --quick          a smoke test of seconds; its numbers mean nothing

TorchOpt is measured where it can be imported; higher does not take networks on abstract classes, which these are.
"""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import TrainState
from auxo.layers.heads import SideBySide
from auxo.methods.maxl import MAXL
from auxo.optimizers import OptimizerConfig
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch
from measurement import (
    Remote,
    Spread,
    describe_load,
    load_reference,
    markdown_table,
    open_benchmark,
    peak_bytes,
    seconds,
    time_in_turn,
)

_Network: TypeAlias = Literal["vgg16", "resnet8", "lenet5"]
_RATE, _ENTROPY, _GAMMA = 0.01, 0.2, 2.0
_PLAIN = OptimizerConfig(lr=_RATE, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant")
RELEASED = "plain second order, as released"
_AUXO = ("forward", "second_order", "finite_difference", "first_order_released")
_OTHERS = ("torchopt",) if importlib.util.find_spec("torchopt") else ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    networks: tuple[_Network, ...] = ("vgg16", "resnet8")
    """Networks of both levels, in order."""
    batch_size: int = 32
    """Images of a step."""
    rounds: int = 9
    """Measurements of every variant."""
    draws: int = 8
    """Batches over which the errors of gradients are averaged."""
    threads: int = 1
    """Threads of each process; 0 leaves torch's choice."""
    quick: bool = False
    """A smoke test: four images, the smallest network, one round."""


@dataclass(frozen=True)
class Setting:
    """What a step is made of.

    Args:
        network: of both levels.
        batch_size: images.
        num_classes: of five sub-classes each.
        hidden: width of the heads' hidden layer.
        steps: steps in one measurement.
    """

    network: _Network
    batch_size: int
    num_classes: int
    hidden: int
    steps: int


class Pooled(nn.Module):
    """A labelling network of auxo as a plain one, from images to logits."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of all sub-classes."""
        return self.head(self.backbone(images).pooled)


class Trainee:
    """The second level in training, in a process of its own.

    Args:
        variant: how it is differentiated.
        setting: networks and sizes.
        is_double: in float64.
        threads: of this process.
    """

    def __init__(self, variant: str, setting: Setting, is_double: bool, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.dtype = torch.float64 if is_double else torch.float32
        self.batch_size, self.counts = setting.batch_size, (5,) * setting.num_classes
        self.draw_batch(0)
        self.method = self._build(variant, setting)
        self.optimizer = torch.optim.SGD(self.method.generator.parameters(), lr=_RATE)
        self.step: Callable[[], object] = self._make_step(variant)

    def draw_batch(self, seed: int) -> None:
        """Draw the images and labels of the next steps."""
        draws = torch.Generator().manual_seed(seed)
        images = torch.randn(self.batch_size, 3, 32, 32, generator=draws, dtype=torch.float64)
        self.images = images.to(self.dtype)
        self.labels = torch.randint(len(self.counts), (self.batch_size,), generator=draws)

    def _build(self, variant: str, setting: Setting) -> MAXL:
        """Return MAXL with the same weights in every variant."""
        names = tuple(map(str, range(setting.num_classes)))
        task = Classification(names, 3, 32, 32, class_counts=(setting.batch_size,) * setting.num_classes)
        config = MAXL.Config(
            optimizer=_PLAIN,
            generator_optimizer=_PLAIN,
            hidden=setting.hidden,
            entropy_weight=_ENTROPY,
            gamma=_GAMMA,
            alpha=_RATE,
            hypergradient=variant if variant in _AUXO else "forward",
        )
        return config.build(Networks(BackboneConfig(name=setting.network), task, seed=0)).to(self.dtype).train()

    def _make_step(self, variant: str) -> Callable[[], object]:
        """Return what takes one step."""
        if variant in _AUXO:
            runtime = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
            state = TrainState({"main": self.optimizer, "generator": self.optimizer}, kind="second")
            indices = torch.arange(self.batch_size)
            return lambda: self.method.update(
                state, {"second": Batch(self.images, {"label": self.labels}, indices)}, runtime
            )
        method = self.method
        network = SideBySide(method.backbone, method.semantic, method.auxiliary)
        generator = Pooled(method.generator.backbone, method.generator.head)
        find_loss = self._loss_by_torchopt if variant in _OTHERS else self._loss_of_release

        def step() -> None:
            self.optimizer.zero_grad()
            find_loss(network, generator).backward()
            self.optimizer.step()

        return step

    def _loss_of_release(self, network: nn.Module, generator: nn.Module) -> Tensor:
        """Return the second level's loss through a trial step with its graph."""
        plain = load_reference("maxl_plain")
        loss: Tensor = plain.generator_loss(
            network,
            generator,
            self.images,
            self.labels,
            counts=self.counts,
            rate=_RATE,
            weight=1.0,
            entropy_weight=_ENTROPY,
            gamma=_GAMMA,
        )
        return loss

    def _losses(self, logits: Tensor, invented: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of the classes and that of the invented labels."""
        plain, count = load_reference("maxl_plain"), len(self.counts)
        classes = nn.functional.one_hot(self.labels, count).to(logits)
        main = plain.soft_focal_loss(torch.softmax(logits[:, :count], 1), classes, _GAMMA)
        return main, plain.soft_focal_loss(torch.softmax(logits[:, count:], 1), invented, _GAMMA)

    def _invent(self, generator: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the labels and the weighted entropy of their mean."""
        invented: Tensor = load_reference("maxl_plain").mask_softmax(generator(self.images), self.labels, self.counts)
        mean = invented.mean(0)
        return invented, _ENTROPY * (mean * mean.clamp_min(1e-30).log()).sum()

    def _loss_by_torchopt(self, network: nn.Module, generator: nn.Module) -> Tensor:
        """Return the same loss through a step that TorchOpt unrolls; the weights are put back after."""
        torchopt = importlib.import_module("torchopt")
        invented, entropy = self._invent(generator)
        before = torchopt.extract_state_dict(network, by="reference")
        optimizer = torchopt.MetaSGD(network, lr=_RATE)
        optimizer.step(sum(self._losses(network(self.images), invented)))
        loss = self._losses(network(self.images), invented.detach())[0] + entropy
        torchopt.recover_state_dict(network, before)
        return loss

    def gradients(self, draws: int) -> list[np.ndarray]:
        """Return the labelling network's gradients on some batches at its first weights, float64 in one row each."""
        found = []
        first = deepcopy(self.method.generator.state_dict())
        for seed in range(draws):
            self.draw_batch(seed)
            self.step()
            gradients = [p.grad for p in self.method.generator.parameters() if p.grad is not None]
            found.append(torch.cat([gradient.double().reshape(-1) for gradient in gradients]).numpy())
            self.method.generator.load_state_dict(first)
        return found

    def time(self, count: int) -> float:
        """Return the mean seconds of ``count`` steps."""
        return seconds(self.step, count=count, device=torch.device("cpu"))

    def peak(self) -> int:
        """Return the most bytes that tensors made during one step hold at once."""
        return peak_bytes(self.step, torch.device("cpu"))


def measure_steps(setting: Setting, options: Options) -> None:
    """Print the table of one network."""
    variants = (RELEASED, *_AUXO, *_OTHERS)
    exact = {}
    for variant in variants:
        with Remote(Trainee, variant, setting, True, options.threads) as remote:
            exact[variant] = remote.call("gradients", options.draws)
    with ExitStack() as stack:
        remotes = {v: stack.enter_context(Remote(Trainee, v, setting, False, options.threads)) for v in variants}
        single = {variant: remote.call("gradients", options.draws) for variant, remote in remotes.items()}
        peaks = {variant: remote.call("peak") for variant, remote in remotes.items()}
        times = time_in_turn(remotes, setting.steps, rounds=options.rounds)
    spreads = {variant: Spread.of(values) for variant, values in times.items()}
    rows = [
        [
            variant,
            f"{1e3 * spread.median:.0f} ({1e3 * spread.low:.0f}-{1e3 * spread.high:.0f})",
            f"{spreads[RELEASED].median / spread.median:.2f}",
            f"{peaks[variant] / 2**20:.0f}",
            f"{peaks[variant] / peaks[RELEASED]:.2f}",
            _relative(exact[variant], exact[RELEASED]),
            _relative(single[variant], exact[RELEASED]),
        ]
        for variant, spread in spreads.items()
    ]
    header = ["step", "ms (quartiles)", "times faster", "MiB", "memory", "error in float64", "error in float32"]
    print(f"\n### {setting.network}, {setting.batch_size} images of 32x32\n")
    print(markdown_table(header, rows), flush=True)


def _relative(values: list[np.ndarray], exact: list[np.ndarray]) -> str:
    """Return the length of the difference over that of the exact gradient, the mean over the batches."""
    pairs = zip(values, exact, strict=True)
    return f"{np.mean([np.linalg.norm(one - other) / np.linalg.norm(other) for one, other in pairs]):.1e}"


def _settings(options: Options) -> Sequence[Setting]:
    """Return what is measured."""
    if options.quick:
        return [Setting("lenet5", 4, 3, 16, 1)]
    sizes = {"vgg16": (20, 512, 1), "resnet8": (10, 64, 2), "lenet5": (10, 64, 4)}
    return [Setting(name, options.batch_size, *sizes[name]) for name in options.networks]


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, rounds=1, draws=2)
    open_benchmark("cpu", options.threads)
    for setting in _settings(options):
        measure_steps(setting, options)
    print(describe_load(options.rounds))


if __name__ == "__main__":
    main()
