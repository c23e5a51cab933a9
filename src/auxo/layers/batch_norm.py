"""Batch norm over the joined batch of all processes, on any device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def keep_running_statistics(module: nn.Module) -> Iterator[None]:
    """Run the block with batch norm normalising by the batch as usual but leaving its running statistics alone."""
    layers = [layer for layer in module.modules() if isinstance(layer, _BATCH_NORMS) and layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextmanager
def use_running_statistics(module: nn.Module) -> Iterator[None]:
    """Run the block with batch norm in evaluation mode: it normalises by its running statistics and keeps them."""
    layers = [layer for layer in module.modules() if isinstance(layer, _BATCH_NORMS) and layer.training]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True


@dataclass
class RunningStatisticsMove:
    """How one forward pass in training moves the running statistics of batch norm, to be applied any number of times.

    A pass maps the statistics ``r`` of a layer to ``k r + b``: ``k = (1 - momentum) ^ n`` where it went through the
    layer ``n`` times, as two views do, and ``b`` what it leaves of statistics of zero. So passes of the same images
    through the same weights need not be run again.
    """

    _layers: list[tuple[_BatchNorm, dict[str, Tensor]]] = field(default_factory=list)

    @torch.no_grad()
    def apply(self, times: int) -> None:
        """Move the layers' running statistics as ``times`` passes would, to rounding."""
        for layer, left in self._layers:
            count = left["num_batches_tracked"]
            before = layer.get_buffer("num_batches_tracked")
            for name in ("running_mean", "running_var"):
                values = layer.get_buffer(name)
                passes = count.to(values.dtype)
                if layer.momentum is None:  # the mean over all batches so far
                    total = (before + times * passes).clamp(min=1)
                    moved = (before * values + times * passes * left[name]) / total
                    values.copy_(torch.where(count > 0, moved, values))
                else:
                    keep = (1 - layer.momentum) ** passes
                    share = sum((keep**power for power in range(times)), torch.zeros_like(keep))
                    values.mul_(keep**times).add_(share * left[name])
            before += times * count


@contextmanager
def record_running_statistics(module: nn.Module) -> Iterator[RunningStatisticsMove]:
    """Run the block, in training, with batch norm's running statistics left alone; what would move them is yielded.

    The answer is complete when the block ends.
    """
    move = RunningStatisticsMove()
    layers = [layer for layer in module.modules() if isinstance(layer, _BATCH_NORMS) and layer.track_running_stats]
    # Other tensors stand in for them: the old ones may be part of a graph, which a change in place would break.
    old = [(layer, dict(layer.named_buffers(recurse=False))) for layer in layers if layer.training]
    for layer, buffers in old:
        for name, buffer in buffers.items():
            setattr(layer, name, torch.zeros_like(buffer))
    try:
        yield move
    finally:
        for layer, buffers in old:
            move._layers.append((layer, dict(layer.named_buffers(recurse=False))))
            for name, buffer in buffers.items():
                setattr(layer, name, buffer)


class _AbstractSynchronisedBatchNorm(_BatchNorm):
    """What the synchronised layers share; the torch class that stands second among their bases checks the shape.

    Args:
        num_features: channels.
        all_reduce: sums a tensor over the processes and sums gradients in its backward.
    """

    def __init__(self, num_features: int, *, all_reduce: Callable[[Tensor], Tensor]) -> None:
        super().__init__(num_features)
        self.all_reduce = all_reduce

    @staticmethod
    def convert(module: nn.Module, *, all_reduce: Callable[[Tensor], Tensor]) -> None:
        """Replace every ``nn.BatchNorm1d`` and ``nn.BatchNorm2d`` below ``module`` in place, with all that it holds."""
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and type(child) in _TWINS:
                setattr(module, name, _TWINS[type(child)]._from_batch_norm(child, all_reduce=all_reduce))
            else:
                _AbstractSynchronisedBatchNorm.convert(child, all_reduce=all_reduce)

    @classmethod
    def _from_batch_norm(
        cls, source: _BatchNorm, *, all_reduce: Callable[[Tensor], Tensor]
    ) -> "_AbstractSynchronisedBatchNorm":
        """Return a synchronised twin that shares the source's parameters and buffers."""
        twin = cls(source.num_features, all_reduce=all_reduce)
        twin.__dict__.update({key: value for key, value in source.__dict__.items() if not key.startswith("_forward")})
        twin.all_reduce = all_reduce
        return twin

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise ``inputs``, shape ``(batch, channels, ...)``, by the joined batch's mean and variance."""
        if not self.training:
            return super().forward(inputs)
        check_shape: Callable[[Tensor], object] = self._check_input_dim
        check_shape(inputs)
        values = inputs.float() if inputs.dtype in (torch.bfloat16, torch.float16) else inputs
        axes = [0, *range(2, values.dim())]
        shape = (1, -1, *(1,) * (values.dim() - 2))
        local_count = values.new_tensor([float(values.numel() // values.shape[1])])
        count, sums = self.all_reduce(torch.cat([local_count, values.sum(axes)])).split([1, self.num_features])
        mean = sums / count
        centred = values - mean.view(shape)
        squares = self.all_reduce(centred.square().sum(axes))
        self._update_statistics(mean.detach(), squares.detach() / (count.detach() - 1))
        normalised = centred * torch.rsqrt(squares / count + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normalised.to(inputs.dtype)
        return result

    def _update_statistics(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Update the running statistics as torch's batch norm does."""
        if (
            not self.track_running_stats
            or self.running_mean is None
            or self.running_var is None
            or self.num_batches_tracked is None
        ):
            return
        self.num_batches_tracked.add_(1)
        rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), rate)


class SynchronisedBatchNorm1d(_AbstractSynchronisedBatchNorm, nn.BatchNorm1d):
    """``nn.BatchNorm1d``, for inputs of shape ``(batch, channels)`` or ``(batch, channels, length)``, synchronised.

    See :class:`SynchronisedBatchNorm2d`.
    """


class SynchronisedBatchNorm2d(_AbstractSynchronisedBatchNorm, nn.BatchNorm2d):
    """Batch norm whose training statistics are those of the joined batch over all processes.

    ``torch.nn.SyncBatchNorm`` does the same on GPUs only; this one works wherever a differentiable sum over the
    processes does, parts of unequal size included, and has derivatives of every order that the sum has. In evaluation
    it is ``nn.BatchNorm2d``.

    Args:
        num_features: channels.
        all_reduce: sums a tensor over the processes and sums gradients in its backward.
    """


_TWINS: dict[type[_BatchNorm], type[_AbstractSynchronisedBatchNorm]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
}
