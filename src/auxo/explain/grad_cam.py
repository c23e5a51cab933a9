"""Grad-CAM: where in an image the evidence for a class lies, at the resolution of one of the backbone's maps."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import ConfigError
from auxo.evaluation import observe
from auxo.explain.tokens import Tokens, find_paths
from auxo.interfaces import AbstractMethod
from auxo.types import Images

_MIN_SIDE = 4
_UNUSED = "not have been used in the graph"  # what torch says of a tensor that the output does not depend on


def choose_layer(maps: Mapping[str, Tensor], layer: str | None, *, read: Iterable[str] | None = None) -> str:
    """Return the name of the map to look at: the given one, or the last with at least 4 pixels on both sides.

    If all are smaller it is the first. The last map is the one whose channels stand for classes the most, and
    Selvaraju et al. take it for that reason (Section 3); a map of a few pixels says little about places.

    Args:
        maps: by name, coarsest last; shape ``(batch, channels, height, width)`` each.
        layer: a name, or ``None`` for the default.
        read: names of those that the prediction is computed from, among which to choose; ``None`` means all.

    Raises:
        ConfigError: there are no maps, or none of that name, or the prediction is computed from none.
    """
    if not maps:
        raise ConfigError("a backbone that gives maps", "one without any", "choose another --backbone.name to train")
    if layer is not None:
        if layer not in maps:
            sizes = ", ".join(f"{name} ({_describe_size(value)})" for name, value in maps.items())
            raise ConfigError("a layer that the backbone gives the maps of", repr(layer), f"pass --layer with {sizes}")
        return layer
    known = list(maps if read is None else read)
    if not known:
        got, fix = f"none among {', '.join(maps)}", "choose another --backbone.name to train"
        raise ConfigError("a backbone with a map that the prediction is computed from", got, fix)
    fine = [name for name in known if min(maps[name].shape[2:]) >= _MIN_SIDE]
    return fine[-1] if fine else known[0]


def grad_cam(
    method: AbstractMethod, images: Images, *, layer: str, classes: Int[Tensor, " batch"]
) -> Float[Tensor, "batch map_height map_width"]:
    """Return ``ReLU(sum_k a_k A_k)``: the map's channels ``A_k``, weighted by how much they raise a class's logit.

    ``a_k`` is the mean over the pixels of the gradient of the logit by ``A_k``. Where every pixel has logits, that is
    their mean over the pixels that are given the class; the map is 0 where none is. The method must be in evaluation
    mode, where the logits of an image depend on that image alone.

    Of a transformer the channels are those of the tokens of the patches, on their grid, where a block puts them out;
    the other tokens, such as the class token, stay as they are.

    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, Grad-CAM: Visual Explanations from Deep Networks via
        Gradient-based Localization, ICCV 2017, Eqs. 1 and 2 (https://arxiv.org/abs/1610.02391), as computed by captum
        (https://github.com/pytorch/captum). Of pixels: Vinogradova, Dibrov, Myers, Towards Interpretable Semantic
        Segmentation via Gradient-weighted Class Activation Mapping, AAAI 2020 (https://arxiv.org/abs/2002.11434), with
        a mean for the sum over pixels.

    Args:
        method: gives the logits by ``predict``.
        images: normalised; shape ``(batch, channels, height, width)``.
        layer: name of one of the backbone's maps.
        classes: shape ``(batch,)``; int64, the class to explain in each image.

    Returns:
        Shape ``(batch, map_height, map_width)``, >= 0, in units of the logit, detached.

    Raises:
        ConfigError: the backbone has no such map, the prediction does not depend on it, or it keeps no gradients.

    Cost: one forward and one backward pass; of a transformer a few more of one image.
    """
    try:
        return _compute_maps(method, images, layer=layer, classes=classes)
    except RuntimeError as error:
        if _UNUSED not in str(error):
            raise
        paths = find_paths(method, images[:1])
        tokens = paths.get(layer)
        if tokens is None:
            others = [name for name in paths if name != layer]
            fix = f"pass --layer with one of {', '.join(others)}" if others else "choose another --layer"
            raise ConfigError("a layer that the prediction is computed from", repr(layer), fix) from error
        return _compute_maps(method, images, layer=layer, classes=classes, tokens=tokens)


def _compute_maps(
    method: AbstractMethod,
    images: Images,
    *,
    layer: str,
    classes: Int[Tensor, " batch"],
    tokens: Tokens | None = None,
) -> Float[Tensor, "batch map_height map_width"]:
    """Return the maps of :func:`grad_cam`, of a layer that is on the way to the prediction, or of tokens that are."""
    from captum.attr import LayerGradCam

    probe = _Probe()
    size = None if tokens is None else _measure_map(method, images, layer)

    def forward(inputs: Images) -> Tensor:
        with nullcontext() if tokens is None or size is None else tokens.pass_through(probe, size):
            logits, features = observe(method, inputs)
        if tokens is None:
            probe(features.maps[choose_layer(features.maps, layer)])
        if not logits.requires_grad:
            fix = "compute them without torch.no_grad()"
            raise ConfigError("logits with gradients", f"none from {type(method).__name__}.predict", fix)
        return logits if logits.dim() == 2 else _average_regions(logits)

    # The inputs ask for gradients so that the graph begins below the map also where the backbone is frozen.
    inputs = images.detach().clone().requires_grad_()
    maps: Tensor = LayerGradCam(forward, probe).attribute(inputs, target=classes, relu_attributions=True)
    return maps.detach().squeeze(1)


def _measure_map(method: AbstractMethod, images: Images, layer: str) -> tuple[int, int]:
    """Return rows and columns of a map."""
    with torch.no_grad():
        found = observe(method, images[:1]).features.maps[layer]
    return int(found.shape[2]), int(found.shape[3])


def _average_regions(logits: Float[Tensor, "batch classes height width"]) -> Float[Tensor, "batch classes"]:
    """Return the mean logit of every class over the pixels that are given it; 0 of classes that none is given."""
    is_given = functional.one_hot(logits.detach().argmax(1), logits.shape[1]).movedim(-1, 1)
    return (logits * is_given).sum((2, 3)) / is_given.sum((2, 3)).clamp(min=1)


class _Probe(nn.Module):
    """Returns the tensor itself, so that captum, which looks at the outputs of modules, sees a map in the graph."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps


def _describe_size(maps: Tensor) -> str:
    """Return height x width."""
    return f"{maps.shape[2]}x{maps.shape[3]}"
