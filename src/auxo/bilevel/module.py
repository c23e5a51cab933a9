"""A torch module as a pure function of its parameters and buffers."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from auxo.bilevel.problem import Params
from auxo.errors import HypergradientError
from auxo.random import global_seed

_SEED = "random_seed"


class FunctionalModule:
    """A module that reads its parameters, buffers and random numbers from its arguments and changes none of them.

    Running statistics of batch norm come back as new buffers. Dropout and other layers that draw from torch's global
    generators draw from a seed that is a buffer too and goes up by one with every call, so equal buffers give equal
    masks: a gradient, its finite difference and its recomputation see the same network. Tied weights are one parameter
    under their first name.

    Args:
        module: in the mode (train or eval) that it is to run in, with all its parameters and buffers; it is kept, and
            only :meth:`load` changes it.
        seed: of the first call; a non-negative integer.

    Example:
        >>> net = FunctionalModule(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
        >>> outputs, buffers = net(net.params, net.buffers, torch.randn(4, 3))
        >>> int(net.buffers["1.num_batches_tracked"]), int(buffers["1.num_batches_tracked"])
        (0, 1)
    """

    def __init__(self, module: nn.Module, *, seed: int = 0) -> None:
        self._module = module
        self._seed = seed
        self._names = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}

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
        with global_seed(int(buffers[_SEED])):
            outputs = functional_call(self._module, {**params, **changed}, inputs)
        changed[_SEED] = buffers[_SEED] + 1
        return outputs, changed

    def load(self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None) -> None:
        """Copy parameters, and buffers if given, into the module in place."""
        own = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        with torch.no_grad():
            for name, value in {**params, **(buffers or {})}.items():
                if name != _SEED:
                    own[name].copy_(value)
