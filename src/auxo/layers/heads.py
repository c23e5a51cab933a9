"""Heads: what turns pooled features into answers."""

from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from auxo.random import derive_seed, global_seed

HeadKind: TypeAlias = Literal["linear", "cosine"]


def linear_head(name: str, num_features: int, num_outputs: int, *, seed: int) -> nn.Linear:
    """Return a linear layer with zero bias, initialised from the random stream of its name.

    A head has the same first weights whichever other heads a method has, so runs of different methods are paired.

    Args:
        name: of the head, for instance ``"semantic"``.
        num_features: length of the pooled vector.
        num_outputs: number of classes.
        seed: the run's seed.
    """
    with global_seed(derive_seed(seed, "init", name)):
        head = nn.Linear(num_features, num_outputs)
    nn.init.zeros_(head.bias)
    return head


class CosineHead(nn.Module):
    """The cosines between a feature vector and one weight vector per class: no bias, outputs in [-1, 1].

    Computed in float32 also under autocast: what a softmax reads is a large multiple of the outputs.

    Args:
        num_features: length of the pooled vector.
        num_outputs: number of classes.

    Source: the NormedLinear of the released code of Cao et al., NeurIPS 2019 (kaidic/LDAM-DRW), with its first
    weights: uniform in a cube, scaled to length one.
    """

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        self.in_features = num_features
        self.out_features = num_outputs
        directions = torch.empty(num_outputs, num_features).uniform_(-1, 1)
        self.weight = nn.Parameter(functional.normalize(directions, dim=1))

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch outputs"]:
        """Return the cosines, shape ``(batch, num_outputs)``, of features of shape ``(batch, num_features)``."""
        with torch.autocast(features.device.type, enabled=False):
            if features.dtype.itemsize < 4:
                features = features.float()
            return functional.linear(functional.normalize(features, dim=1), functional.normalize(self.weight, dim=1))


def cosine_head(name: str, num_features: int, num_outputs: int, *, seed: int) -> CosineHead:
    """Return a cosine head, initialised from the random stream of its name; called as :func:`linear_head` is."""
    with global_seed(derive_seed(seed, "init", name)):
        return CosineHead(num_features, num_outputs)


def class_head(kind: HeadKind, name: str, num_features: int, num_outputs: int, *, seed: int) -> nn.Linear | CosineHead:
    """Return a head of the given kind; called as :func:`linear_head` is, after the kind."""
    make = linear_head if kind == "linear" else cosine_head
    return make(name, num_features, num_outputs, seed=seed)


class HiddenHead(nn.Module):
    """A linear layer, ReLU, and a linear layer; initialised from the random stream of its name.

    Args:
        name: of the head.
        num_features: length of the pooled vector.
        hidden: width in between.
        num_outputs: numbers that it gives.
        seed: the run's seed.
    """

    def __init__(self, name: str, num_features: int, hidden: int, num_outputs: int, *, seed: int) -> None:
        super().__init__()
        self.inner = linear_head(f"{name}/hidden", num_features, hidden, seed=seed)
        self.outer = linear_head(name, hidden, num_outputs, seed=seed)

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch outputs"]:
        """Return the outputs, shape ``(batch, num_outputs)``, of features of shape ``(batch, num_features)``."""
        outputs: Tensor = self.outer(functional.relu(self.inner(features)))
        return outputs


def hidden_head(name: str, num_features: int, hidden: int, num_outputs: int, *, seed: int) -> HiddenHead | nn.Linear:
    """Return a :class:`HiddenHead`, or a linear one where ``hidden`` is 0; called as the class is."""
    if not hidden:
        return linear_head(name, num_features, num_outputs, seed=seed)
    return HiddenHead(name, num_features, hidden, num_outputs, seed=seed)


def pixel_head(name: str, num_features: int, num_outputs: int, *, seed: int) -> nn.Conv2d:
    """Return a linear layer on every cell of a map, a 1x1 convolution; called as :func:`linear_head` is.

    Args:
        name: of the head.
        num_features: channels of the map.
        num_outputs: numbers that it gives for every cell.
        seed: the run's seed.
    """
    with global_seed(derive_seed(seed, "init", name)):
        head = nn.Conv2d(num_features, num_outputs, 1)
    nn.init.zeros_(cast("nn.Parameter", head.bias))
    return head


class PlaceHead(nn.Module):
    """A linear layer on every cell of a map, its answers enlarged to the image; from the random stream of its name.

    Every pixel has the answer of the cell that lies over it: enlarging by the nearest is deterministic on any device.

    Args:
        name: of the head.
        map_name: the map of the backbone that it reads; it must lie over the whole image.
        num_channels: of that map.
        num_outputs: numbers that it gives for every pixel.
        seed: the run's seed.
    """

    def __init__(self, name: str, map_name: str, num_channels: int, num_outputs: int, *, seed: int) -> None:
        super().__init__()
        self.map_name = map_name
        self.layer = linear_head(name, num_channels, num_outputs, seed=seed)

    def forward(
        self, maps: Mapping[str, Float[Tensor, "batch _ _ _"]], size: tuple[int, int]
    ) -> Float[Tensor, "batch outputs height width"]:
        """Return the outputs for images of a size, ``(height, width)``, from a backbone's maps by name."""
        outputs = self.layer(maps[self.map_name].movedim(1, -1)).movedim(-1, 1)
        return functional.interpolate(outputs, size=size, mode="nearest")


class SideBySide(nn.Module):
    """A backbone with several heads whose outputs stand side by side, as a level of a bilevel problem wants them.

    Args:
        backbone: gives pooled features.
        heads: each gets them.
    """

    def __init__(self, backbone: nn.Module, *heads: nn.Module) -> None:
        super().__init__()
        self.backbone, self.heads = backbone, nn.ModuleList(heads)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        """Return the outputs of the first head, then those of the second, and so on."""
        pooled = self.backbone(images).pooled
        return torch.cat([head(pooled) for head in self.heads], dim=1)
