"""How fast drawing and comparing pixels is beside a plain rendering of ContrastiveSeg's step; prints Markdown.

A step draws pixels from a map of embeddings, computes the loss and its gradient in the map. Both draw as many pixels,
and both keep freed memory, as auxo's runs do. Every variant lives in a process of its own; they take turns, one
measurement each in every round, so that whatever else the machine does falls on all alike. Times are medians with
quartiles; nothing here asserts a time. Memory is the most that tensors made during one step hold at once. Errors are
those of the loss, and the length of the difference of its gradient over that of the gradient; the plain rendering in
float64 is the truth.

    python benchmarks/pixel_contrast.py             three settings, a minute or two of one core
    python benchmarks/pixel_contrast.py --quick     a smoke test of seconds; its numbers mean nothing
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import torch
import tyro
from torch import Tensor
from torch.nn import functional

from auxo.pretexts.pixels import PixelSampling, pixel_contrast_loss
from auxo.pretexts.pixels.contrast import Contrast
from auxo.random import Draws, named_generator
from auxo.runtime import RuntimeConfig, open_runtime
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

_TEMPERATURE, _BASE, _MAX_VIEWS = 0.1, 0.07, 100
RELEASED, OURS = "plain, as ContrastiveSeg", "auxo"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    samples: int = 1024
    """Pixels that are compared, S."""
    dim: int = 256
    """Length of an embedding, D."""
    rounds: int = 15
    """Measurements of every variant."""
    threads: int = 1
    """Threads of each process; 0 leaves torch's choice."""
    quick: bool = False
    """A smoke test: few pixels, one round."""


class Setting(NamedTuple):
    """What a step is made of.

    Args:
        name: of the setting.
        images: in the batch.
        height: of the map.
        width: of the map.
        labels: in every image, in stripes of the map's columns.
        samples: pixels in all.
        dim: length of an embedding.
        has_draw: whether the pixels are drawn from the map, or given.
        steps: in one measurement.
    """

    name: str
    images: int
    height: int
    width: int
    labels: int
    samples: int
    dim: int
    has_draw: bool
    steps: int


class Trainee:
    """The step in one of its ways, in a process of its own.

    Args:
        variant: which way.
        setting: sizes.
        is_double: in float64.
        threads: of this process.
    """

    def __init__(self, variant: str, setting: Setting, is_double: bool, threads: int) -> None:
        self.contexts = ExitStack()
        self.runtime = self.contexts.enter_context(open_runtime(RuntimeConfig(device="cpu", threads=threads)))
        self.setting = setting
        self.plain = load_reference("pixel_contrast_plain")
        draws = torch.Generator().manual_seed(0)
        shape = (setting.images, setting.dim, setting.height, setting.width)
        embeddings = torch.randn(shape, generator=draws, dtype=torch.float64)
        embeddings = functional.normalize(embeddings, dim=1).to(torch.float64 if is_double else torch.float32)
        self.embeddings = embeddings.requires_grad_()
        columns = torch.arange(setting.width) * setting.labels // setting.width
        self.labels = columns.expand(setting.images, setting.height, -1).contiguous()
        # A classifier that is right in half of the pixels.
        guess = torch.randint(setting.labels, self.labels.shape, generator=draws)
        self.predicted = torch.where(torch.rand(self.labels.shape, generator=draws) < 0.5, self.labels, guess)
        self.generator = draws
        self.views, self.classes = self._draw_released()
        self.views = self.views.detach().requires_grad_()
        self.count = 0
        ways = {(RELEASED, True): self._compare_drawn, (RELEASED, False): self._compare_given_plainly}
        ways |= {(OURS, True): self._compare_objective, (OURS, False): self._compare_given}
        self.find_loss: Callable[[], Tensor] = ways[variant, setting.has_draw]
        sampling = PixelSampling(per_label=_MAX_VIEWS, max_samples=setting.samples)
        config = Contrast.Config(sampling=sampling, temperature=_TEMPERATURE, base_temperature=_BASE, num_layers=0)
        self.objective = config.build(setting.dim, num_labels=setting.labels, seed=0)

    def _draw_released(self) -> tuple[Tensor, Tensor]:
        """Return views and their classes, as ContrastiveSeg draws them."""
        drawn: tuple[Tensor, Tensor] = self.plain.draw_views(
            self.embeddings,
            self.labels,
            self.predicted,
            max_samples=self.setting.samples,
            max_views=_MAX_VIEWS,
            generator=self.generator,
        )
        return drawn

    def _compare(self, views: Tensor, classes: Tensor) -> Tensor:
        """Return the released loss of views."""
        loss: Tensor = self.plain.contrastive_seg_loss(views, classes, temperature=_TEMPERATURE, base_temperature=_BASE)
        return loss

    def _compare_drawn(self) -> Tensor:
        """Return the released loss of pixels that it draws."""
        return self._compare(*self._draw_released())

    def _compare_given_plainly(self) -> Tensor:
        """Return the released loss of the given pixels."""
        return self._compare(self.views, self.classes)

    def _compare_objective(self) -> Tensor:
        """Return auxo's loss of pixels that it draws."""
        self.count += 1
        batch = Batch(self.embeddings, {}, torch.arange(len(self.embeddings)))
        draws = Draws(named_generator(0, "pixels", self.count))
        return self.objective(self.embeddings, self.labels, batch=batch, draws=draws, runtime=self.runtime).loss

    def _compare_given(self) -> Tensor:
        """Return auxo's loss of the given pixels."""
        rows = self.views.flatten(0, 1)
        labels = self.classes.long().repeat_interleave(self.views.shape[1])
        return pixel_contrast_loss(
            rows, labels, torch.zeros_like(labels), temperature=_TEMPERATURE, base_temperature=_BASE
        )

    def step(self) -> None:
        """Take one step."""
        self.embeddings.grad = self.views.grad = None
        self.find_loss().backward()

    def compare(self) -> tuple[int, float, Tensor]:
        """Return how many pixels are compared, the loss and its gradient on the given pixels, float64."""
        self.step()
        gradient = self.views.grad
        return self.views.shape[0] * self.views.shape[1], self.find_loss().item(), gradient.double()

    def time(self, count: int) -> float:
        """Return the mean seconds of ``count`` steps."""
        return seconds(self.step, count=count, device=torch.device("cpu"))

    def peak(self) -> int:
        """Return the most bytes that tensors made during one step hold at once."""
        return peak_bytes(self.step, torch.device("cpu"))


def measure_setting(setting: Setting, options: Options) -> None:
    """Print the table of one setting."""
    with ExitStack() as stack:
        remotes = {
            variant: stack.enter_context(Remote(Trainee, variant, setting, False, options.threads))
            for variant in (RELEASED, OURS)
        }
        peaks = {variant: remote.call("peak") for variant, remote in remotes.items()}
        times = time_in_turn(remotes, setting.steps, rounds=options.rounds)
    spreads = {variant: Spread.of(values) for variant, values in times.items()}
    rows = [
        [
            variant,
            f"{1e3 * spread.median:.1f} ({1e3 * spread.low:.1f}-{1e3 * spread.high:.1f})",
            f"{spreads[RELEASED].median / spread.median:.2f}",
            f"{peaks[variant] / 2**20:.0f}",
            f"{peaks[variant] / peaks[RELEASED]:.2f}",
        ]
        for variant, spread in spreads.items()
    ]
    print(f"\n### {setting.name}\n")
    print(markdown_table(["step", "ms (quartiles)", "times faster", "MiB", "memory"], rows), flush=True)


def measure_errors(setting: Setting, options: Options) -> None:
    """Print how far both are from the plain rendering in float64, on the same pixels."""
    found = {}
    for variant in (RELEASED, OURS):
        for is_double in (True, False):
            with Remote(Trainee, variant, setting, is_double, options.threads) as remote:
                found[variant, is_double] = remote.call("compare")
    count, loss, gradient = found[RELEASED, True]
    rows = []
    for (variant, is_double), (_, value, other) in found.items():
        distance = float((other - gradient).norm() / gradient.norm())
        kind = "float64" if is_double else "float32"
        rows.append([f"{variant}, {kind}", f"{value:.6f}", f"{abs(value - loss) / loss:.1e}", f"{distance:.1e}"])
    print(f"\n### Loss and gradient of {count} given pixels\n")
    print(markdown_table(["step", "loss", "error of the loss", "error of the gradient"], rows), flush=True)


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    samples, dim = (64, 8) if options.quick else (options.samples, options.dim)
    rounds = 1 if options.quick else options.rounds
    options = Options(samples=samples, dim=dim, rounds=rounds, threads=options.threads, quick=options.quick)
    open_benchmark("cpu", options.threads)
    images, labels = (4, 4) if options.quick else (8, 8)
    given = Setting(f"The loss alone, {samples} pixels", images, 32, 32, labels, samples, dim, False, 3)
    measure_errors(given, options)
    sizes = [(32, 32)] if options.quick else [(32, 32), (64, 128)]
    drawn = [
        Setting(
            f"Draw and loss, {samples} pixels of {images} maps of {height}x{width}",
            images, height, width, labels, samples, dim, True, 3,
        )
        for height, width in sizes
    ]  # fmt: skip
    for setting in [given, *drawn]:
        measure_setting(setting, options)
    print(describe_load(options.rounds))


if __name__ == "__main__":
    main()
