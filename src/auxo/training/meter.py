"""Losses on their way from the device to the records: looked at once in a while, never in a step."""

import torch
from torch import Tensor

from auxo.errors import ConfigError, NonFiniteError
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
        self._names: tuple[str, ...] | None = None

    def add(self, metrics: Metrics) -> None:
        """Keep one step's metrics; nothing leaves the device.

        Raises:
            ConfigError: one is no scalar tensor, or the names are not those of the first step.
        """
        step = self._first_step + len(self._steps)
        for name, value in metrics.items():
            if not isinstance(value, Tensor) or value.ndim:
                got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                fix = "return a detached tensor of shape ()"
                raise ConfigError(f"a scalar tensor for {name!r} from update", f"{got} at step {step}", fix)
        if self._names is None:
            self._names = tuple(metrics)
        changed = sorted(set(metrics) ^ set(self._names))
        if changed:
            got = f"{changed[0]!r} {'new' if changed[0] in metrics else 'missing'} at step {step}"
            fix = "return every metric always, 0 where it does not apply"
            raise ConfigError("the same metrics from every update", got, fix)
        self._steps.append(metrics)

    def flush(self, *, last_good: str) -> dict[str, float]:
        """Return the mean of every metric over the steps since the last flush, or nothing if there were none.

        Args:
            last_good: what to tell the user to go back to if a loss is not finite.

        Raises:
            NonFiniteError: a loss is infinite or not a number; names the first step and term.
        """
        if not self._steps or not self._names:
            self._first_step += len(self._steps)
            self._steps.clear()
            return {}
        names = list(self._names)
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
