"""The exponential moving average of a method's weights, which stands in for them whenever the method is measured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from auxo.backbones import stored_state
from auxo.errors import CheckpointError

_WARMUP = 10


class WeightAverage:
    r"""The average ``a`` of a method's weights ``w``, which stands in for them when the method is measured or saved.

    After step t, counted from 0,

    .. math:: a \leftarrow d_t a + (1 - d_t) w, \qquad d_t = \min(d, (1 + t) / (10 + t)),

    so that it follows the weights at first, as ``num_updates`` of TensorFlow's ``ExponentialMovingAverage`` has it. The
    running statistics of batch norm are averaged likewise; other buffers are the method's own.

    Args:
        method: whose weights are averaged.
        decay: ``d``, in (0, 1).
        values: the average, on the method's device, by name; changed in place. Empty before the first step.
    """

    def __init__(self, method: nn.Module, decay: float, values: dict[str, Tensor]) -> None:
        self._decay, self.values = decay, values
        self._own = list_averaged(method)

    def begin(self) -> None:
        """Start from the weights as they are, or go on with the average of a checkpoint.

        Raises:
            CheckpointError: that is of another network.
        """
        if self.values and self.values.keys() != self._own.keys():
            fix = "resume the run that wrote it, or train anew"
            raise CheckpointError("the average of this method's weights", "one of other weights", fix)
        start = self.values or self._own
        for name, own in self._own.items():
            self.values[name] = torch.empty_like(own, requires_grad=False).copy_(start[name].detach())

    def follow(self, step: int) -> None:
        """Take in the weights after the step of this number, from 0."""
        decay = min(self._decay, (1 + step) / (_WARMUP + step))
        with torch.no_grad():
            own = [self._own[name].detach() for name in self.values]
            torch._foreach_lerp_([*self.values.values()], own, 1 - decay)

    @contextmanager
    def stand_in(self) -> Iterator[None]:
        """Let the method have the average in place of its weights within the block."""
        kept = {name: self._own[name].detach().clone() for name in self.values}
        self.take_over()
        try:
            yield
        finally:
            self._copy_values(kept)

    def take_over(self) -> None:
        """Give the method the average for good."""
        self._copy_values(self.values)

    def _copy_values(self, values: Mapping[str, Tensor]) -> None:
        """Copy values into the method."""
        with torch.no_grad():
            for name, value in values.items():
                self._own[name].copy_(value)


def list_averaged(method: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a method and its running statistics, by name, without those of frozen networks."""
    stored = stored_state(method)
    found: dict[str, Tensor] = {name: each for name, each in method.named_parameters() if name in stored}
    for place, module in method.named_modules():
        if isinstance(module, _BatchNorm):
            names = [f"{place}.{name}" if place else name for name in ("running_mean", "running_var")]
            found |= {name: method.get_buffer(name) for name in names if name in stored}
    return found
