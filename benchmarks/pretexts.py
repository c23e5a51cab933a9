"""How fast pretexts make their inputs beside a loop over the images, as released code has it; prints Markdown.

Both take turns, one measurement each in every round, so that whatever else the machine does falls on both alike; the
ratio is the median over the rounds. The loop is the rendering that the tests compare with: it gets its random numbers
as tensors and reads them image by image; auxo's time includes drawing them. Nothing here asserts a time.

    python benchmarks/pretexts.py                  batches of 128 images of 32x32 and 64x64 pixels, a minute on one core
    python benchmarks/pretexts.py --rounds 1       a smoke test of seconds; its numbers mean nothing
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import tyro
from torch import Tensor

from auxo.interfaces import AbstractPretext
from auxo.pretexts.channel_shuffle import ChannelShuffle
from auxo.pretexts.compose import Compose
from auxo.pretexts.flip import Flip
from auxo.pretexts.inpaint import Inpaint
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.lorot import LoRot
from auxo.pretexts.relative_patch import RelativePatch
from auxo.pretexts.rotation import Rotation
from auxo.random import Draws, named_generator
from measurement import Spread, describe_machine, markdown_table, seconds

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))
import pretexts_one_by_one as slow

BATCH = 128


def integers(high: int, low: int = 0) -> Tensor:
    """Return a random integer for every image."""
    return torch.randint(low, high, (BATCH,))


def one_by_one(render: Callable[..., Tensor], images: Tensor, *numbers: Tensor) -> Tensor:
    """Return what ``render`` makes of every image with its own numbers."""
    return torch.stack([render(image, *(int(each[i]) for each in numbers)) for i, image in enumerate(images)])


def contestants(images: Tensor) -> dict[str, tuple[AbstractPretext, Callable[[], Tensor]]]:
    """Return the pretexts with the loops that do the same."""
    side = images.shape[-1]
    zeros = torch.zeros(BATCH, dtype=torch.int64)
    quadrants, turns, flips, orders = integers(4), integers(4), integers(2), integers(6)
    squares = integers(side // 2 + 1, 2)
    rows, columns = ((torch.rand(BATCH) * (side - squares + 1)).long() for _ in range(2))
    places, classes, neighbours = integers(side // 2 + 1), integers(30), integers(8)
    jigsaw = Jigsaw()
    sets = jigsaw.orders.tolist()
    patch = {32: 7, 64: 15}[side]

    def loop(render: Callable[..., Tensor], *numbers: Tensor) -> Callable[[], Tensor]:
        return lambda: one_by_one(render, images, *numbers)

    def pair(image: Tensor, neighbour: int) -> Tensor:
        return slow.patch_pair_image(image, neighbour, (1, 1), ((0, 0), (1, 1)), side=patch, gap=patch // 2)

    return {
        "rotation (random)": (Rotation("random"), loop(slow.turn, turns)),
        "lorot (E)": (LoRot(), loop(slow.gssl_image, quadrants, turns, zeros, zeros)),
        "lorot (I)": (LoRot("I"), loop(slow.local_rotation_image, rows, columns, squares, turns)),
        "flip": (Flip(), loop(slow.gssl_image, quadrants, zeros, flips, zeros)),
        "channel_shuffle": (ChannelShuffle(), loop(slow.gssl_image, quadrants, zeros, zeros, orders)),
        "compose": (Compose(), loop(slow.gssl_image, quadrants, turns, flips, orders)),
        "jigsaw (3x3)": (jigsaw, loop(lambda image, k: slow.jigsaw_image(image, sets[k], 3), classes)),
        "relative_patch": (RelativePatch(), loop(pair, neighbours)),
        "inpaint": (Inpaint(), loop(lambda image, r, c: slow.hole_image(image, r, c, side // 2, 4)[0], places, places)),
    }


def row(name: str, pretext: AbstractPretext, loop: Callable[[], Tensor], images: Tensor, rounds: int) -> list[str]:
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
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    lines = []
    for side in (32, 64):
        images = torch.randn(BATCH, 3, side, side, device=device)
        for name, (pretext, loop) in contestants(images).items():
            lines.append(row(name, pretext, loop, images, rounds))
    print(f"Batch {BATCH}, {describe_machine(torch.device(device))}.\n")
    print(markdown_table(["pretext", "pixels", "loop, ms", "auxo, ms", "times faster (quartiles)"], lines))


if __name__ == "__main__":
    tyro.cli(main)
