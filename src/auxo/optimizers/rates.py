"""Learning rates of parts of a network, as factors on the rate of the whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

RATE = "rate"
"""Key of an optimiser's group: the factor that its learning rate has already."""


def scale_rates(optimizer: Optimizer, factors: Mapping[nn.Parameter, float]) -> None:
    """Give parameters factors on the learning rate, by splitting the groups of an optimiser that has not stepped yet.

    A schedule that is built afterwards moves every group in proportion, its minimum too. Within a group the larger
    factors come first, so that the first group is that of the heads.

    Args:
        optimizer: changed in place.
        factors: of parameters that have another than 1; those of others are left out.
    """
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        parts: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(factors.get(parameter, 1.0), []).append(parameter)
        for factor in sorted(parts, reverse=True):
            rate = factor * group.get(RATE, 1.0)
            groups.append({**group, "params": parts[factor], "lr": factor * group["lr"], RATE: rate})
    if len(groups) > len(optimizer.param_groups) or any(group[RATE] != 1 for group in groups):
        optimizer.param_groups[:] = groups


def decay_by_layer(layers: Sequence[Sequence[nn.Parameter]], decay: float) -> dict[nn.Parameter, float]:
    """Return the factors of layer-wise decay: ``decay ** (L - l)`` for the parameters of layer ``l`` of ``L``, from 0.

    What follows the network, a head, has 1, so that the last layer has ``decay`` and the first ``decay ** L``. Source:
    Clark et al., ELECTRA, ICLR 2020 (arXiv 2003.10555), appendix A; Bao et al., BEiT, ICLR 2022 (arXiv 2106.08254),
    appendix H.

    Args:
        layers: of a network, from the input on; each the parameters of one.
        decay: in (0, 1].
    """
    depth = len(layers)
    return {parameter: decay ** (depth - number) for number, members in enumerate(layers) for parameter in members}
