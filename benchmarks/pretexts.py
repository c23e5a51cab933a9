"""How fast pretexts make their inputs beside a loop over the images, as released code has it; prints Markdown.

Both take turns, one measurement each in every round, so that whatever else the machine does falls on both alike; the
ratio is the median over the rounds. The loop is the rendering that the tests compare with, which draws the numbers of
each image as it comes, as released code does; auxo's time includes drawing, too. Nothing here asserts a time.

    python benchmarks/pretexts.py                  batches of 128 images of 32x32 and 64x64 pixels, a minute on one core
    python benchmarks/pretexts.py --rounds 1       a smoke test of seconds; its numbers mean nothing
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import tyro
from torch import Tensor

from auxo.interfaces import AbstractImagePretext
from auxo.pretexts.channel_shuffle import ChannelShuffle
from auxo.pretexts.compose import Compose
from auxo.pretexts.flip import Flip
from auxo.pretexts.inpaint import Inpaint
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.lorot import LoRot
from auxo.pretexts.relative_patch import RelativePatch
from auxo.pretexts.rotation import Rotation
from auxo.random import Draws, named_generator
from auxo.runtime import RuntimeConfig, open_runtime
from measurement import Spread, describe_machine, markdown_table, seconds

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))
import pretexts_one_by_one as slow

BATCH = 128


def draw(high: int, low: int = 0) -> int:
    """Return a random integer in ``low..high-1``."""
    return int(torch.randint(low, high, (1,)))


def one_by_one(render: Callable[..., Tensor], images: Tensor, draws: Callable[[], Sequence[int]]) -> Tensor:
    """Return what ``render`` makes of every image with numbers of its own."""
    return torch.stack([render(image, *draws()) for image in images])


def contestants(images: Tensor) -> dict[str, tuple[AbstractImagePretext, Callable[[], Tensor]]]:
    """Return the pretexts with the loops that do the same."""
    side = images.shape[-1]
    jigsaw = Jigsaw()
    sets = jigsaw.orders.tolist()
    patch = {32: 7, 64: 15}[side]

    def square() -> tuple[int, int, int, int]:
        size = draw(side // 2 + 1, 2)
        return draw(side - size + 1), draw(side - size + 1), size, draw(4)

    def pair(image: Tensor, neighbour: int) -> Tensor:
        return slow.patch_pair_image(image, neighbour, (1, 1), ((0, 0), (1, 1)), side=patch, gap=patch // 2)

    def hole(image: Tensor, row: int, column: int) -> Tensor:
        return slow.hole_image(image, row, column, side // 2, 4)[0]

    def loop(render: Callable[..., Tensor], draws: Callable[[], Sequence[int]]) -> Callable[[], Tensor]:
        return lambda: one_by_one(render, images, draws)

    gssl = slow.gssl_image
    return {
        "rotation (random)": (Rotation("random"), loop(slow.turn, lambda: [draw(4)])),
        "lorot (E)": (LoRot(), loop(gssl, lambda: [draw(4), draw(4), 0, 0])),
        "lorot (I)": (LoRot("I"), loop(slow.local_rotation_image, square)),
        "flip": (Flip(), loop(gssl, lambda: [draw(4), 0, draw(2), 0])),
        "channel_shuffle": (ChannelShuffle(), loop(gssl, lambda: [draw(4), 0, 0, draw(6)])),
        "compose": (Compose(), loop(gssl, lambda: [draw(4), draw(4), draw(2), draw(6)])),
        "jigsaw (3x3)": (jigsaw, loop(lambda image, k: slow.jigsaw_image(image, sets[k], 3), lambda: [draw(30)])),
        "relative_patch": (RelativePatch(), loop(pair, lambda: [draw(8)])),
        "inpaint": (Inpaint(), loop(hole, lambda: [draw(side // 2 + 1), draw(side // 2 + 1)])),
    }


def row(name: str, pretext: AbstractImagePretext, loop: Callable[[], Tensor], images: Tensor, rounds: int) -> list[str]:
    """Return the line of one pretext."""
    draws = Draws(named_generator(0, "benchmark"))

    def make() -> object:
        return pretext.make(images, draws=draws)

    make()
    loop()
    pairs = [
        (seconds(loop, count=1, device=images.device), seconds(make, count=10, device=images.device))
        for _ in range(rounds)
    ]
    slow_time, fast_time = (Spread.of([1e3 * pair[side] for pair in pairs]).median for side in (0, 1))
    ratio = Spread.of([loop_time / make_time for loop_time, make_time in pairs])
    size = f"{images.shape[-1]}x{images.shape[-1]}"
    spread = f"{ratio.median:.0f} ({ratio.low:.0f}..{ratio.high:.0f})"
    return [name, size, f"{slow_time:.2f}", f"{fast_time:.2f}", spread]


def main(rounds: int = 15, device: str = "cpu", threads: int = 1) -> None:
    """Measure every pretext.

    Args:
        rounds: measurements of each.
        device: cpu or cuda.
        threads: of the processor.
    """
    torch.manual_seed(0)
    lines = []
    with open_runtime(RuntimeConfig(device=device, threads=threads)):  # memory is kept as in training
        for side in (32, 64):
            images = torch.randn(BATCH, 3, side, side, device=device)
            for name, (pretext, loop) in contestants(images).items():
                lines.append(row(name, pretext, loop, images, rounds))
    print(f"Batch {BATCH}, {describe_machine(torch.device(device))}.\n")
    print(markdown_table(["pretext", "pixels", "loop, ms", "auxo, ms", "times faster (quartiles)"], lines))


if __name__ == "__main__":
    tyro.cli(main)
