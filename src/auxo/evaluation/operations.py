"""How many floating-point operations a block of code takes."""

from contextlib import nullcontext

from torch.utils.flop_counter import FlopCounterMode


class _NoModules(nullcontext[None]):
    """Stands for the tracker of modules: everything belongs to the whole."""

    parents = frozenset({"Global"})


class OperationCounter(FlopCounterMode):
    """Counts the operations of matrix products and convolutions within the block, a multiply-add as two.

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
        super().__init__(display=False)
        self.mod_tracker = _NoModules()  # type: ignore[assignment]  # all of a tracker that is used
