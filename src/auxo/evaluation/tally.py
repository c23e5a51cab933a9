"""Scores of single images, gathered in the order of their source over batches and processes."""

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import ShapeError
from auxo.runtime import Runtime
from auxo.tasks import Scores


class Tally:
    """Keeps a few numbers for every item of a set; they stay on the device until they are merged.

    Args:
        count: items of the whole set, over all processes.
        runtime: the processes, each of which adds its own items.
    """

    def __init__(self, count: int, runtime: Runtime) -> None:
        self._count = count
        self._runtime = runtime
        self._kept: dict[str, Tensor] = {}

    def expect(self, scores: Scores) -> None:
        """Make room for scores of these names and shapes, as a process without items must before it merges."""
        device = self._runtime.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        for name, values in scores.items():
            if name not in self._kept:
                with torch.inference_mode(mode=False):  # or nothing could be added outside of it, as attacks do
                    self._kept[name] = torch.zeros((self._count, *values.shape[1:]), dtype=dtype, device=device)

    def add(self, scores: Scores, positions: Int[Tensor, " n"]) -> None:
        """Keep the scores of the items at some positions of the set.

        Raises:
            ShapeError: there is not one for each.
        """
        for name, values in scores.items():
            if values.shape[:1] != positions.shape:
                got, fix = f"the shape {tuple(values.shape)}", "let the task's score return one for each image"
                raise ShapeError(f"{len(positions)} scores {name!r}", got, fix)
        self.expect(scores)
        places = positions.to(self._runtime.device)
        for name, values in scores.items():
            self._kept[name][places] = values.to(self._kept[name])

    def merge(self) -> dict[str, Tensor]:
        """Return the scores of all items, float64 on the CPU, the same in every process; each must call it."""
        # Every item was added by one process and is zero in the others, so the sum is exact.
        return {name: self._runtime.sum(kept).cpu().double() for name, kept in self._kept.items()}
