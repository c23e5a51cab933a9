"""A torch module as a pure function of its parameters and buffers."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from auxo.bilevel.problem import Params
from auxo.errors import HypergradientError
from auxo.random import global_seed

_SEED = "random_seed"
_MOST_SEED = 2**63 - 1  # travels as a tensor of int64
_Result = TypeVar("_Result")


class CalledModule(nn.Module):
    """A module that calls a function of another one, whose parameters and buffers may have been replaced.

    Losses are then written as for plain training, with the layers of the module.

    Args:
        module: what the function reads; its names begin with ``module.`` here.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[[], _Result]) -> _Result:
        """Return what the function returns."""
        return function()


class _Slot(NamedTuple):
    """A place in a module that holds a parameter or a buffer.

    Args:
        name: of what it holds: that of its first slot, where several hold one tensor (tied weights).
        holder: the module's own dictionary of parameters or of buffers.
        key: in it.
        is_buffer: whether it is a buffer.
    """

    name: str
    holder: dict[str, Tensor | None]
    key: str
    is_buffer: bool


class FunctionalModule:
    """A module that reads its parameters, buffers and random numbers from its arguments and changes none of them.

    Running statistics of batch norm, and all other buffers that the module changes or sets anew, come back as new
    buffers. Dropout and other layers that draw from torch's global generators draw from a seed that is a buffer too
    and goes up by one with every call, so equal buffers give equal masks: a gradient, its finite difference and its
    recomputation see the same network. Tied weights, and those of a module that is reached by two names, are one
    parameter under their first name.

    Args:
        module: in the mode (train or eval) that it is to run in, with all its parameters and buffers; it is kept, and
            only :meth:`load` changes it.
        seed: of the first call; 0..2^63-1.

    Raises:
        HypergradientError: there is no such seed.

    Example:
        >>> net = FunctionalModule(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
        >>> outputs, buffers = net(net.params, net.buffers, torch.randn(4, 3))
        >>> int(net.buffers["1.num_batches_tracked"]), int(buffers["1.num_batches_tracked"])
        (0, 1)
    """

    def __init__(self, module: nn.Module, *, seed: int = 0) -> None:
        if not 0 <= seed <= _MOST_SEED:
            raise HypergradientError(f"a seed of 0..{_MOST_SEED}", str(seed), "choose another one")
        self._module = module
        self._seed = seed
        self._names = {slot.name for slot in self._list_slots() if slot.holder[slot.key] is not None}

    @property
    def params(self) -> Params:
        """The module's trainable parameters by name, detached; they share the module's memory."""
        return {name: value.detach() for name, value in self._module.named_parameters() if value.requires_grad}

    @property
    def buffers(self) -> Params:
        """Copies of the module's buffers and of its frozen parameters by name, and the seed of the next call."""
        frozen = {name: value for name, value in self._module.named_parameters() if not value.requires_grad}
        fixed = {**dict(self._module.named_buffers()), **frozen}
        return {**{name: value.detach().clone() for name, value in fixed.items()}, _SEED: torch.tensor(self._seed)}

    def __call__(
        self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], *inputs: object
    ) -> tuple[Tensor, Params]:
        """Return the module's output, attached to ``params``, and the buffers after it.

        Raises:
            HypergradientError: a parameter or buffer is missing; without it the module's own would be used unnoticed.
        """
        given = {**params, **buffers}
        missing = sorted((self._names | {_SEED}) - given.keys())
        if missing:
            raise HypergradientError(
                "every parameter and buffer of the module",
                f"none named {missing[0]!r}",
                "start from .params and .buffers; hypergradient takes the latter as buffers=",
            )
        changed = {name: value.clone() for name, value in buffers.items()}
        slots = [*self._list_slots()]
        own = [slot.holder[slot.key] for slot in slots]
        try:
            for slot in slots:
                slot.holder[slot.key] = {**params, **changed}.get(slot.name)
            with global_seed(int(buffers[_SEED])):
                outputs = self._module(*inputs)
            # What forward set anew lies in the slot only; what it changed in place is the same tensor there.
            held = {slot.name: slot.holder[slot.key] for slot in slots if slot.is_buffer}
        finally:
            for slot, tensor in zip(slots, own, strict=True):
                slot.holder[slot.key] = tensor
        changed |= {name: tensor.detach() for name, tensor in held.items() if tensor is not None}
        changed[_SEED] = buffers[_SEED] + 1
        return outputs, changed

    def load(self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None) -> None:
        """Copy parameters, and buffers if given, into the module in place.

        A buffer that the module's forward makes, or makes in another size, is set instead.

        Raises:
            HypergradientError: a name or the size of a parameter is not the module's.
        """
        slots = {slot.name: slot for slot in [*self._list_slots()][::-1]}  # of tied weights the first stays
        with torch.no_grad():
            for name, value in {**params, **(buffers or {})}.items():
                if name == _SEED:
                    continue
                slot = slots.get(name)
                own = None if slot is None else slot.holder[slot.key]
                if own is not None and own.shape == value.shape:
                    own.copy_(value)
                elif slot is not None and slot.is_buffer:
                    slot.holder[slot.key] = value.detach().clone()
                else:
                    got = f"{name!r} of shape {tuple(value.shape)}"
                    raise HypergradientError("parameters and buffers of the module", got, "take those of its calls")

    def _list_slots(self) -> Iterator[_Slot]:
        """Yield every place of a parameter or buffer once, by whatever names its module is reached."""
        names: dict[int, str] = {}
        for path, module in self._module.named_modules():
            for holder, is_buffer in ((module._parameters, False), (module._buffers, True)):
                for key, tensor in holder.items():
                    name = f"{path}.{key}" if path else key
                    yield _Slot(
                        names.setdefault(id(tensor), name) if tensor is not None else name, holder, key, is_buffer
                    )
