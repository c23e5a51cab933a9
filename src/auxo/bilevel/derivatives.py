"""How derivatives are taken: torch's modes, the types of arguments, and torch's complaints in one line."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from auxo.bilevel.problem import Data, Params
from auxo.errors import HypergradientError

Order: TypeAlias = Literal["first", "forward", "second"]
"""Which derivatives layers must have: first ones, forward-mode tangents, or second ones."""

_WITHOUT_SECOND = "replace the layer, or use FiniteDifference, Penalty or FirstOrder"

_CAUSES = (
    (
        r"aot_autograd does not currently support double backward",
        "losses of modules that are not compiled, whose derivatives can be taken twice",
        "pass the module as it was before torch.compile, or use FiniteDifference, Penalty or FirstOrder",
    ),
    (
        r"derivative for (?P<what>\S+) is not implemented|differentiate twice a function|not differentiable twice",
        "losses whose layers can be differentiated twice",
        _WITHOUT_SECOND,
    ),
    (
        r"forward AD with (?P<what>\S+) that does not support it",
        "losses whose layers have forward-mode derivatives",
        "replace the layer, or use Unrolled(steps=1)",
    ),
    (
        r"modified by an inplace operation",
        "losses that change nothing in place",
        "evaluate the module through FunctionalModule, which gives every call its own buffers",
    ),
)


@contextmanager
def differentiating(device: torch.device, order: Order, *, used_by: str) -> Iterator[None]:
    """Take derivatives within the block in full precision, through layers that have them.

    Args:
        device: of the parameters; its autocast region is left.
        order: which derivatives; all but the first take attention by its plain kernel, the only one that has them.
        used_by: whose error it is.

    Raises:
        HypergradientError: torch complained in a way that has a known cause.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if order != "first":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        try:
            yield
        except RuntimeError as error:
            explained = _explain_error(error, used_by)
            if explained is None:
                raise
            raise explained from error


def attached_gradients(loss: Float[Tensor, ""], params: Params) -> dict[str, Tensor | None]:
    """Return the gradient of a loss, attached, so that it can be differentiated once more.

    Args:
        loss: made of ``params``.
        params: leaves that require gradient.

    Raises:
        HypergradientError: a layer cannot be differentiated twice. Some of torch's say so only when their second
            derivative is wanted as a leaf's, and are silently left out otherwise.
    """
    gradients = torch.autograd.grad(loss, [*params.values()], create_graph=True, allow_unused=True)
    named: dict[str, Tensor | None] = dict(zip(params, gradients, strict=True))
    starts = {name: [value.grad_fn] for name, value in named.items() if value is not None}
    seen: set[object] = set()
    for name, waiting in starts.items():
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node.name() == "torch::autograd::Error":
                raise HypergradientError(
                    "losses whose layers can be differentiated twice",
                    f"one that cannot on the way to {name!r}",
                    _WITHOUT_SECOND,
                )
            waiting += [following for following, _ in node.next_functions if following not in seen]
    return named


def require_differentiable(groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Refuse tensors that no derivative can be taken in.

    Args:
        groups: the tensors by name, by what one of them is called.

    Raises:
        HypergradientError: a group is empty or has integers, or inference mode is on.
    """
    if torch.is_inference_mode_enabled():
        raise HypergradientError("gradients", "torch.inference_mode()", "call it outside, and make its tensors outside")
    for kind, group in groups.items():
        if not group:
            raise HypergradientError(f"at least one {kind}", "none", "pass a dictionary of tensors")
        for name, value in group.items():
            if not value.is_floating_point():
                raise HypergradientError(f"floating-point {kind}s", f"{name!r} of {value.dtype}", "pass it as a buffer")


def check_loss(name: str, returned: object) -> None:
    """Refuse what a loss returned if it is not a loss with buffers.

    Raises:
        HypergradientError: it is something else, such as the loss alone.
    """
    pair = returned if isinstance(returned, tuple) and len(returned) == 2 else None
    if pair is not None and isinstance(pair[1], Mapping):
        return
    got = f"a {type(returned).__name__}"
    if pair is not None:
        got = f"a {type(pair[0]).__name__} and a {type(pair[1]).__name__}"
    raise HypergradientError(f"{name} to return a loss and the buffers after it", got, "write return loss, buffers")


def require_scalar(name: str, loss: Tensor) -> None:
    """Raise :class:`auxo.errors.HypergradientError` for a loss called ``name`` that has dimensions."""
    if loss.dim() != 0:
        raise HypergradientError(
            f"{name} to return a scalar", f"a tensor of shape {tuple(loss.shape)}", "take its mean or sum"
        )


def widen(value: Data) -> Data:
    """Return floating-point tensors in float32 at the least, also within lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() and value.dtype.itemsize < 4 else value
    if type(value) is dict:
        return {key: widen(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(widen(item) for item in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(widen(item) for item in value))
    return value


def _explain_error(error: RuntimeError, used_by: str) -> HypergradientError | None:
    """Return a one-line error for torch's known complaints, and ``None`` for any other."""
    for pattern, expected, fix in _CAUSES:
        match = re.search(pattern, str(error))
        if match:
            what = match.groupdict().get("what") or str(error).strip().splitlines()[0]
            return HypergradientError(f"{expected} for {used_by}", what, fix)
    return None
