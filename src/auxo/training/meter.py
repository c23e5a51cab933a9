"""Losses on their way from the device to the records: looked at once in a while, never in a step."""

import torch
from torch import Tensor

from auxo.errors import NonFiniteError
from auxo.runtime import Runtime
from auxo.types import Metrics

__all__ = ["Meter"]


class Meter:
    """Collects every step's metrics on the device and hands out their means.

    Args:
        runtime: averages over the processes.
        first_step: number of the first step to come.
    """

    def __init__(self, runtime: Runtime, *, first_step: int) -> None:
        self._runtime = runtime
        self._first_step = first_step
        self._steps: list[Metrics] = []

    def add(self, metrics: Metrics) -> None:
        """Keep one step's metrics; nothing leaves the device."""
        self._steps.append(metrics)

    def flush(self, *, last_good: str) -> dict[str, float]:
        """Return the mean of every metric over the steps since the last flush, or nothing if there were none.

        Args:
            last_good: what to tell the user to go back to if a loss is not finite.

        Raises:
            NonFiniteError: a loss is infinite or not a number; names the first step and term.
        """
        if not self._steps:
            return {}
        names = list(self._steps[0])
        table = torch.stack([torch.stack([step[name].float() for name in names]) for step in self._steps])
        (averaged,) = self._runtime.mean([table])
        values = (table if averaged is None else averaged).cpu()
        self._check_finite(names, values, last_good)
        self._first_step += len(self._steps)
        self._steps.clear()
        return dict(zip(names, values.mean(dim=0).tolist(), strict=True))

    def _check_finite(self, names: list[str], values: Tensor, last_good: str) -> None:
        """Raise if a loss is not finite."""
        losses = [column for column, name in enumerate(names) if name.endswith("_loss")]
        for row, column in (~torch.isfinite(values)).nonzero().tolist():
            if column in losses:
                step = self._first_step + row
                got = f"{values[row, column].item()} at step {step}"
                fix = f"lower the learning rate; {last_good}"
                raise NonFiniteError(f"a finite {names[column]}", got, fix)
