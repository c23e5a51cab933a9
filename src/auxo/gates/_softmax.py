"""Losses weighted by a softmax of logits: the three forms, the guard, and their equality over processes."""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import ConfigError
from auxo.gates._interface import GateResult
from auxo.random import derive_seed, global_seed
from auxo.runtime import Runtime
from auxo.types import Batch

GateForm: TypeAlias = Literal["mean_of_softmax", "softmax_of_mean", "per_sample"]
GateInit: TypeAlias = Literal["default", "kaiming"]


def gate_layer(num_features: int, num_tasks: int, *, init: GateInit, seed: int) -> nn.Linear:
    """Return a linear layer initialised from the stream ``init/gate``: as torch does, or its weight Kaiming-normal."""
    with global_seed(derive_seed(seed, "init", "gate")):
        layer = nn.Linear(num_features, num_tasks)
        if init == "kaiming":
            nn.init.kaiming_normal_(layer.weight)
    return layer


def check_choice(name: str, num_tasks: int) -> None:
    """Refuse a gate that learns to choose where there is no choice, since its gradient would be zero."""
    if num_tasks < 2:
        raise ConfigError(f"two tasks or more for the gate {name}", f"{num_tasks}", "choose the gate uniform")


def relative_losses(
    losses: Float[Tensor, "samples tasks"], num_outputs: tuple[int, ...]
) -> Float[Tensor, "samples tasks"]:
    """Return each task's losses over that of guessing among its answers, ``ln K`` nats."""
    columns = zip(losses.unbind(1), num_outputs, strict=True)
    return torch.stack([column / math.log(count) for column, count in columns], 1)


def softmax_loss(
    losses: Float[Tensor, "samples tasks"],
    logits: Float[Tensor, "samples tasks"],
    *,
    form: GateForm,
    entropy: float,
    batch: Batch,
    runtime: Runtime,
) -> GateResult:
    """Return ``sum_t w_t L_t - entropy * H(w)`` with the weights of the joined batch.

    With ``g_b = softmax(logits_b)`` and means over the samples of all processes, the weights are ``mean_b g_b``
    (``mean_of_softmax``) or ``softmax(mean_b logits_b)`` (``softmax_of_mean``), and ``L_t`` is the task's mean loss. In
    form ``per_sample`` the sum is ``mean_b sum_t g_bt L_bt``, and the weights are those of ``mean_of_softmax``.

    Args:
        losses: attached to the graph, or not where only the logits shall learn.
        logits: attached to the graph, or detached where the weights shall not learn.
        form: see above.
        entropy: weight of the entropy ``H(w)``, nats.
        batch: says how the samples are shared out among processes.
        runtime: averages over the processes.
    """
    count = losses.shape[1]
    probabilities = logits.softmax(1)
    own_weights = logits if form == "softmax_of_mean" else probabilities
    own_losses = probabilities * losses if form == "per_sample" else losses

    def objective(means: Float[Tensor, " both"]) -> tuple[Float[Tensor, ""], Float[Tensor, " tasks"]]:
        mean_weights, mean_losses = means[:count], means[count:]
        weights = mean_weights.softmax(0) if form == "softmax_of_mean" else mean_weights
        weighted = mean_losses.sum() if form == "per_sample" else (weights * mean_losses).sum()
        if entropy:
            smallest = torch.finfo(weights.dtype).tiny  # at 0 the entropy's slope is infinite
            weighted = weighted - entropy * torch.special.entr(weights.clamp_min(smallest)).sum()
        return weighted, weights

    own = torch.cat([own_weights, own_losses], 1).mean(0) * batch.share
    return _of_joined_means(objective, own, runtime)


def _of_joined_means(
    objective: Callable[[Tensor], tuple[Tensor, Tensor]], own: Float[Tensor, " k"], runtime: Runtime
) -> GateResult:
    """Return a function of the joined batch's means, whose averaged gradient is that of one process.

    The mean of this process's samples times its share, ``own_r``, averages to the joined mean ``m`` over the P
    processes, so that ``d f(m) = f'(m) · (1/P) sum_r d own_r``: every process contributes ``f'(m) · own_r``.
    """
    if runtime.num_processes == 1:
        loss, weights = objective(own)
        return GateResult(loss, weights.detach())
    (joined,) = runtime.mean([own.detach()])
    means = own.detach() if joined is None else joined
    with torch.enable_grad():
        means = means.requires_grad_()
        loss, weights = objective(means)
        (slope,) = torch.autograd.grad(loss, means)
    return GateResult(loss.detach() + slope @ (own - own.detach()), weights.detach())
