"""The part of a trained method that predicts, as one graph from pixels to logits."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torch.nn import functional

from auxo.errors import ConfigError
from auxo.export.description import Description
from auxo.interfaces import AbstractMethod
from auxo.random import named_generator
from auxo.runs.model import TrainedModel
from auxo.types import Images, Normalisation

TOLERANCE = 1e-5
"""Largest difference of a probability between a model and its export; of other outputs, relative to their size."""

_CHECKED_IMAGES = 3
_IMAGES = "images"  # what the graph calls its input


class DeployedNetwork(nn.Module):
    """Normalisation, backbone and the head that ``predict`` uses.

    Args:
        method: trained, in evaluation mode.
        mean: shape ``(channels,)``; per-channel mean of pixels in [0, 1].
        std: shape ``(channels,)``; their standard deviation, > 0.
    """

    mean: Float[Tensor, "channels 1 1"]
    std: Float[Tensor, "channels 1 1"]

    def __init__(
        self, method: AbstractMethod, mean: Float[Tensor, " channels"], std: Float[Tensor, " channels"]
    ) -> None:
        super().__init__()
        self.method = method
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, images: Images) -> Tensor:
        """Return the outputs, shape ``(batch, outputs, ...)``, of float images in [0, 1], ``(batch, c, h, w)``."""
        return self.method.predict(Normalisation(self.mean, self.std).to_inputs(images))


def capture(model: TrainedModel) -> ExportedProgram:
    """Return the graph of the deployed network for any batch size, with the weights that it reads and no others.

    Input: ``images``, float32 in [0, 1], shape ``(batch, channels, height, width)``. Output: ``logits``,
    shape ``(batch, outputs, ...)``. Where the task leaves the size of images free, height and width are free too if the
    network can be traced so, which :func:`takes_any_size` tells; else they are those of training. Weights of the
    method keep their names behind ``method.``, such as ``method.backbone.convolution1.weight``; those of other heads,
    and of a network that an average has replaced, are left out, as nothing in the graph reads them.

    Args:
        model: stays as it is.

    Raises:
        ConfigError: the method's ``predict`` cannot be traced, or its trace does not answer as it does.
    """
    task = model.task
    network = deepcopy(DeployedNetwork(model.method, model.pipeline.mean, model.pipeline.std)).eval()
    for parameter in network.to("cpu").parameters():  # a .pt2 file wants each tensor dense, not channels-last
        parameter.data = parameter.data.contiguous()
    generator = named_generator(0, "export", "images")
    images = torch.rand(_CHECKED_IMAGES, task.channels, task.height, task.width, generator=generator)
    if Description.of(model).answers_any_size:
        program = _trace_any_size(network, images, names=task.targets[0].names)
        if program is not None:
            return program
    program = _trace_pruned(network, images, is_size_free=False)
    gap = _compare_trace(program, network, images, names=task.targets[0].names)
    if not gap <= TOLERANCE:
        got = f"{'probabilities' if task.targets[0].names else 'outputs'} that differ by {gap:.2g}"
        fix = "let predict be a function of the images alone, and see that the weights are finite"
        raise ConfigError("a trace that answers as the model does", got, fix)
    return program


def takes_any_size(program: ExportedProgram) -> bool:
    """Return whether the height and width of a captured network's images are free."""
    (images,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == _IMAGES)
    return not any(isinstance(side, int) for side in images.meta["val"].shape[2:])


def describe_program(description: Description, program: ExportedProgram) -> Description:
    """Return the description of a model as it holds for the graph that was captured of it."""
    return replace(description, takes_any_size=takes_any_size(program))


def _trace_any_size(network: nn.Module, images: Images, *, names: Sequence[str]) -> ExportedProgram | None:
    """Return the graph for images of any size, or ``None`` where the network cannot be traced so.

    It is compared with the network at the size of training and at a larger one that no power of two divides.
    """
    larger = functional.interpolate(images, size=[side + side // 2 + 3 | 1 for side in images.shape[2:]])
    try:
        program = _trace_pruned(network, images, is_size_free=True)
        gaps = [_compare_trace(program, network, each, names=names) for each in (images, larger)]
    except (ConfigError, RuntimeError, AssertionError):
        return None  # the trace or its check fixed a size, or the network does not take the larger one
    return program if takes_any_size(program) and all(gap <= TOLERANCE for gap in gaps) else None


def _trace_pruned(network: nn.Module, images: Images, *, is_size_free: bool) -> ExportedProgram:
    """Return the graph of a network without what nothing reads."""
    # Traced again, so that the program holds the weights of the pruned graph alone.
    first = _trace_network(network, images, is_size_free=is_size_free)
    return _trace_network(_prune_graph(first.module()), images, is_size_free=is_size_free)


def _compare_trace(program: ExportedProgram, network: nn.Module, images: Images, *, names: Sequence[str]) -> float:
    """Return how far a graph's answers are from the network's."""
    with torch.no_grad():
        answers, expected = program.module()(images), network(images)
    return difference(answers, expected, has_scores=bool(names) and expected.shape[1] == len(names))


def difference(
    found: Float[Tensor, "batch outputs ..."], expected: Float[Tensor, "batch outputs ..."], *, has_scores: bool
) -> float:
    """Return the largest difference between the answers of two networks to the same images, or nan.

    Args:
        found: of the one.
        expected: of the other, shape ``(batch, outputs, ...)``.
        has_scores: whether outputs are scores of classes, one each, whose probabilities are compared. Others are
            compared as they are, each output relative to its largest value in ``expected``.
    """
    first, second = found.float(), expected.float()
    if has_scores:
        return float((first.softmax(dim=1) - second.softmax(dim=1)).abs().max())
    gaps, sizes = ((values.abs().transpose(0, 1).flatten(1).amax(1)) for values in (first - second, second))
    return float((gaps / sizes.clamp(min=torch.finfo(torch.float32).tiny)).max())


def _trace_network(network: nn.Module, images: Images, *, is_size_free: bool) -> ExportedProgram:
    """Return the graph of a network, whose first axis may have any length, and if need be height and width."""
    # AUTO, unlike a named Dim, is no error where the network fixes a side: takes_any_size tells what became of it.
    sides = {2: Dim.AUTO, 3: Dim.AUTO} if is_size_free else {}
    shapes = {_IMAGES: {0: Dim("batch"), **sides}}
    try:
        with torch.no_grad():
            return torch.export.export(network, (images,), dynamic_shapes=shapes, strict=False)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AssertionError,
    ) as error:  # what tracing raises on Python it cannot follow
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        fix = "write head_logits in operations of torch, without decisions that depend on values or on the batch size"
        raise ConfigError("a network that torch.export can trace", f"{type(error).__name__}: {reason}", fix) from error


def _prune_graph(graph: nn.Module) -> nn.Module:
    """Drop operations whose results nothing reads, then weights that no operation reads, in place."""
    if isinstance(graph, GraphModule):
        graph.graph.eliminate_dead_code()
        read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
        for name in [name for name, _ in (*graph.named_parameters(), *graph.named_buffers()) if name not in read]:
            owner, _, attribute = name.rpartition(".")
            delattr(graph.get_submodule(owner), attribute)
        graph.recompile()
    return graph
