"""Losses on their way from the device to the records: looked at once in a while, never in a step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from auxo.errors import ConfigError, NonFiniteError
from auxo.runtime import Runtime
from auxo.types import Metrics


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
        self._names: dict[str, tuple[str, ...]] = {}

    def add(self, metrics: object, *, kind: str = "step") -> None:
        """Keep one step's metrics; nothing leaves the device.

        Args:
            metrics: of the step.
            kind: of step.

        Raises:
            ConfigError: there are none, one is no scalar tensor, or the names are not those of the first step of this
                kind.
        """
        step = self._first_step + len(self._steps)
        if not isinstance(metrics, Mapping):
            got, fix = f"{type(metrics).__name__} at step {step}", "return a dict of detached tensors of shape ()"
            raise ConfigError("metrics by name from update", got, fix)
        for name, value in metrics.items():
            if not isinstance(value, Tensor) or value.ndim:
                got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                fix = "return a detached tensor of shape ()"
                raise ConfigError(f"a scalar tensor for {name!r} from update", f"{got} at step {step}", fix)
        changed = sorted(set(metrics) ^ set(self._names.setdefault(kind, tuple(metrics))))
        if changed:
            got = f"{changed[0]!r} {'new' if changed[0] in metrics else 'missing'} at step {step}"
            fix = "return every metric always, 0 where it does not apply"
            raise ConfigError("the same metrics from every update", got, fix)
        self._steps.append(metrics)

    def flush(self, *, last_good: str) -> dict[str, float]:
        """Return the mean of every metric over those steps since the last flush that have it; nothing without steps.

        Args:
            last_good: what to tell the user to go back to if a loss is not finite.

        Raises:
            NonFiniteError: a loss is infinite or not a number; names the first step and term.
        """
        places = [(row, name) for row, step in enumerate(self._steps) for name in step]
        means: dict[str, float] = {}
        if places:
            flat = torch.stack([self._steps[row][name].float() for row, name in places])
            (averaged,) = self._runtime.mean([flat])
            values = (flat if averaged is None else averaged).cpu()
            self._check_finite(places, values, last_good)
            for name in dict.fromkeys(name for _, name in places):
                means[name] = values[[place[1] == name for place in places]].mean().item()
        self._first_step += len(self._steps)
        self._steps.clear()
        return means

    def _check_finite(self, places: list[tuple[int, str]], values: Tensor, last_good: str) -> None:
        """Raise if a loss is not finite."""
        for number in (~torch.isfinite(values)).nonzero().flatten().tolist():
            row, name = places[number]
            if name.endswith("_loss"):
                got = f"{values[number].item()} at step {self._first_step + row}"
                raise NonFiniteError(f"a finite {name}", got, f"lower the learning rate; {last_good}")
