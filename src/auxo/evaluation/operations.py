"""How many floating-point operations a block of code takes."""

from collections.abc import Sequence
from contextlib import nullcontext
from math import prod
from typing import cast

import torch
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker


class _NoModules(nullcontext[None]):
    """Stands for the tracker of modules: everything belongs to the whole."""

    parents = frozenset({"Global"})


def _count_convolution_backward(
    gradient: Sequence[int], inputs: Sequence[int], weight: Sequence[int], *options: object, **_: object
) -> int:
    """Return the operations of a convolution's gradients: each of both products takes as many as the convolution.

    torch's own formula takes the gradient in the weight for that of one group: 64 times too many where each of 64
    channels has a filter of its own.
    """
    # After the three shapes: bias, stride, padding, dilation, transposed, output padding, groups, gradients wanted.
    transposed, wanted = options[4], cast("tuple[bool, bool, bool]", options[7])
    places = inputs[2:] if transposed else gradient[2:]
    return (wanted[0] + wanted[1]) * 2 * gradient[0] * prod(places) * prod(weight)


def _count_attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object) -> int:
    """Return the operations of attention: scores of every query with every key, and the values' sums by them.

    Masked pairs are counted, too. torch knows the kernels of GPUs, and counts none for that of the CPU.
    """
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _count_attention_backward(
    _gradient: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    """Return the operations of attention's gradients: the scores again, and the gradients in all four factors.

    These are products of queries and keys three times, and of weights and values twice, as torch counts on GPUs.
    """
    return 2 * prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


class OperationCounter(FlopCounterMode):
    """Counts the operations of matrix products, convolutions and attention within the block, a multiply-add as two.

    torch's own counter tells them apart by module, with hooks that refuse the gradient in a module's input, as attacks
    take it. Here only the total is counted.

    Example:
        >>> import torch
        >>> with OperationCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> counter.get_total_flops()
        48
    """

    def __init__(self) -> None:
        backward = torch.ops.aten.convolution_backward
        attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        attention_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        counts = {
            backward: _count_convolution_backward,
            attention: _count_attention,
            attention_backward: _count_attention_backward,
        }
        super().__init__(display=False, custom_mapping=counts)
        self.mod_tracker = cast("ModuleTracker", _NoModules())  # it has all of a tracker that is used
