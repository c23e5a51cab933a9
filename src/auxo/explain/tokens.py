"""Where a network of tokens computes its maps: Grad-CAM asks for maps that the prediction is computed from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.evaluation import observe
from auxo.interfaces import AbstractMethod
from auxo.types import Images


class Tokens(NamedTuple):
    """A part of a network whose output holds a map as tokens, one for each place of it.

    Args:
        module: the part.
        num_others: tokens before those of the map, such as the class token; ``None`` where the output is rows, columns
            and channels.
    """

    module: nn.Module
    num_others: int | None

    def read_map(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "batch channels height width"]:
        """Return the map in an output of the module."""
        if self.num_others is None:
            return output.permute(0, 3, 1, 2)
        maps: Tensor = output[:, self.num_others :].transpose(1, 2).unflatten(2, size)
        return maps

    @contextmanager
    def pass_through(self, probe: Callable[[Tensor], Tensor], size: tuple[int, int]) -> Iterator[None]:
        """Let the map go through a probe on its way to the prediction.

        Args:
            probe: takes the map and returns it.
            size: rows and columns of the map.
        """

        def hook(_module: nn.Module, _inputs: object, output: object) -> object:
            whole = _first_tensor(output)
            assert whole is not None  # it was one when the module was found
            shown = probe(self.read_map(whole, size))
            if self.num_others is None:
                made = shown.permute(0, 2, 3, 1)
            else:
                made = torch.cat([whole[:, : self.num_others], shown.flatten(2).transpose(1, 2)], dim=1)
            return (made, *output[1:]) if isinstance(output, tuple) else made

        handle = self.module.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()


def find_paths(method: AbstractMethod, images: Images) -> Mapping[str, Tokens | None]:
    """Return the maps that the prediction is computed from, in the backbone's order, and by which tokens.

    Transformers give their maps beside the prediction: copies of what a block put out. The block is found by the values
    of the map, in what every part of the backbone put out, the last of those that the prediction depends on. After the
    last block of one that predicts from the class token, nothing reads the tokens of the patches: such a map is left
    out.

    Args:
        method: in evaluation mode.
        images: normalised; one will do.

    Returns:
        By the name of the map: ``None`` where the map itself is on the way.

    Cost: one forward and at most one backward pass for each map.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []

    def hook(module: nn.Module, _inputs: object, output: object) -> None:
        tensor = _first_tensor(output)
        if tensor is not None and tensor.ndim in (3, 4) and tensor.requires_grad:
            outputs.append((module, tensor))

    with torch.enable_grad(), ExitStack() as stack:
        for module in method.predicting_backbone.modules():
            stack.callback(module.register_forward_hook(hook).remove)
        logits, features = observe(method, images.detach().clone().requires_grad_())
    maps = features.maps
    if not maps or not logits.requires_grad:  # whoever asks for gradients says so
        return dict.fromkeys(maps)
    score = logits.flatten(1).amax(1).sum()
    values = list(maps.values())
    direct = torch.autograd.grad(score, values, retain_graph=True, allow_unused=True)
    found: dict[str, Tokens | None] = {}
    for (name, value), gradient in zip(maps.items(), direct, strict=True):
        if gradient is not None:
            found[name] = None
            continue
        tokens = _find_tokens(value, outputs, score)
        if tokens is not None:
            found[name] = tokens
    return found


def _find_tokens(value: Tensor, outputs: list[tuple[nn.Module, Tensor]], score: Tensor) -> Tokens | None:
    """Return the last part of a network whose output holds a map and decides the score, if there is one."""
    size = (int(value.shape[2]), int(value.shape[3]))
    for module, output in reversed(outputs):
        num_others = None if output.ndim == 4 else int(output.shape[1]) - size[0] * size[1]
        if output.shape[-1] != value.shape[1] or (num_others is not None and num_others < 0):
            continue
        tokens = Tokens(module, num_others)
        if num_others is None and output.shape[1:3] != value.shape[2:]:
            continue
        if not torch.equal(tokens.read_map(output, size), value):
            continue
        (gradient,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
        if gradient is not None and bool(tokens.read_map(gradient, size).any()):
            return tokens
    return None


def _first_tensor(output: object) -> Tensor | None:
    """Return a tensor, or the first of a tuple."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None
