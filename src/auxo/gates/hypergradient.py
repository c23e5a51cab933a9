"""A combination of the losses whose weights follow the primary loss on other images, through training (AuxiLearn)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from auxo.bilevel import Adam, BilevelProblem, Implicit, Momentum, Neumann, Params, hypergradient
from auxo.errors import ConfigError
from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep, TaskLosses
from auxo.gates.combinations import CombinationConfig
from auxo.gates.combinations.linear import LinearCombination
from auxo.interfaces import View
from auxo.optimizers import LOOKED_THROUGH
from auxo.options import Range
from auxo.types import Batch

SOURCE = (
    "Navon, Achituve, Maron, Chechik, Fetaya, Auxiliary Learning by Implicit Differentiation, ICLR 2021 (arXiv "
    "2007.02693), after the released code (github.com/AvivNavon/AuxiLearn); of the paper itself only the project page "
    "and the poster were read. The released networks, their first weights, non-negative weights and the truncated "
    "Neumann series of Lorraine, Vicol and Duvenaud (arXiv 1911.02590). Differs: the series has its leading factor, "
    "which the release leaves out (released_factor), so gradients are 1/scale times smaller; all weights of backbone "
    "and heads are inner ones, with zeros where the primary loss does not reach a head, where the release fails; the "
    "combination is divided by the number of tasks, so that all gates begin at 1/M; running statistics of batch norm "
    "stay in an upper step. Ours: Adam by default, an upper step at every step (released 30 or 50 steps apart), "
    "other images drawn from the training split (the release holds a few out; the separate training batch is what "
    "AuxiNash, arXiv 2301.13501, found better)."
)

_Split: TypeAlias = Literal["train", "meta"]
_Rule: TypeAlias = Literal["adam", "sgd"]
_PHI = "phi"


class _Functions(NamedTuple):
    """What the method says of itself that an upper step needs.

    Args:
        losses_at: see :class:`GateStep`.
        train: the batch of the inner loss.
        own: that of the outer loss.
    """

    losses_at: Callable[..., TaskLosses]
    train: Batch
    own: Batch


class HypergradientGate(AbstractGate):
    r"""The loss :math:`h(L; \phi)` of M tasks' losses, with :math:`\phi` learned through the weights it trains.

    With the primary loss ``F`` on images of the gate's own and the method's loss ``G``, which has ``h`` in it, on the
    training batch, an upper step follows

    .. math:: -\Bigl(\partial_\phi \nabla_W G\Bigr)^\top \alpha \sum_{j=0}^{K} (I - \alpha \nabla^2_W G)^j \nabla_W F ,

    the derivative of ``F`` through the minimum of ``G``, as far as K products with the Hessian see it. With a small
    scale and K = 3 that is nearly the gradient of one step of training. Networks with fixed weights, 1/M of M tasks in
    front of all of them: see :mod:`auxo.gates.combinations`. The weights told are the derivatives of the loss in each
    task's mean loss. The main optimiser does not move ``phi``.

    Args:
        config: options.
        num_tasks: losses to combine.
        seed: the run's seed.

    Cost of an upper step: the outer loss and its gradient, the inner loss and its gradient with a graph, K products of
    about two gradients each, and a mixed product. A batch of the gate's own is read at every step.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of the combination that is learned by hypergradients."""

        network: CombinationConfig = field(default_factory=LinearCombination.Config)
        """How losses are combined."""
        monotone: bool = True
        """Set negative weights of the network to 0 after each upper step."""
        every: Annotated[int, Range(low=1)] = 1
        """Steps from one upper step to the next; released: 30 or 50."""
        terms: Annotated[int, Range(low=0)] = 3
        """K, products with the Hessian; the series has one term more."""
        scale: Annotated[float, Range(above=0)] = 0.1
        """Alpha of the series, below 2 over the Hessian's largest eigenvalue; released: 1e-3 or 1e-4."""
        released_factor: bool = False
        """Leave out the leading alpha of the series, as released: gradients are 1/alpha times as large."""
        split: _Split = "train"
        """Where the images of upper steps come from: training images in an order of their own, or held-out ones."""
        ratio: Annotated[float, Range(above=0)] = 1.0
        """Images of an upper step for each of the stage's batch size."""
        rule: _Rule = "adam"
        """How the network follows its gradient."""
        lr: Annotated[float, Range(above=0)] = 0.01
        """Learning rate of the network; released: 1e-3 with sgd."""
        momentum: Annotated[float, Range(low=0, below=1)] = 0.9
        """Momentum of sgd, or decay of adam's first moment."""
        weight_decay: Annotated[float, Range(low=0)] = 0.0
        """L2 penalty on the network, added to its gradient; released: 1e-4, or 5e-3."""
        clip: Annotated[float, Range(above=0)] = 1.0
        """Norm that the network's gradient is scaled down to; released: 25 to 100, without the leading alpha."""

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse what would change the step that the gate looks through."""
            return LOOKED_THROUGH

        @property
        def view(self) -> View:
            """Images for the outer loss."""
            return View(self.split, ratio=self.ratio, stream="gate")

        def reads_view_at(self, step: int) -> bool:
            """Whether the step begins with an upper one: as released, after so many steps of training."""
            return step > 0 and step % self.every == 0

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "HypergradientGate":
            """Return the gate."""
            del num_features  # the features have no say
            return HypergradientGate(self, len(num_outputs), seed=seed)

    def __init__(self, config: Config, num_tasks: int, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.network = config.network.build(num_tasks=num_tasks, seed=seed)
        self.reads_places = self.network.reads_places
        self.rule = (
            Adam(rate=config.lr, betas=(config.momentum, 0.999))
            if config.rule == "adam"
            else Momentum(rate=config.lr, momentum=config.momentum)
        )
        for name, value in self.rule.initial_state({_PHI: self._read_phi()}).items():
            self.register_buffer(name.partition(".")[0], value)

    def forward(
        self, losses: Float[Tensor, "samples tasks *places"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the combined loss, after an upper step where it is time for one.

        Raises:
            ConfigError: the method does not say its losses as a function of its weights.
            NonFiniteError: the hypergradient is not finite.
        """
        del features  # they have no say
        if step.learns and self.config.reads_view_at(step.number):
            self.take_upper_step(step)
        with torch.enable_grad():  # an attack asks without a graph, and the weights are slopes
            values = losses.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._combine_losses(values, self._read_hyper(), step), values)
        weights = step.runtime.mean_of(slope.transpose(0, 1).flatten(1).sum(1))
        return GateResult(self._combine_losses(losses, self._read_hyper(), step), weights)

    def frozen_parameters(self) -> dict[str, str]:
        """Return the network."""
        reason = "the gate moves its network itself, along the gradient of the primary loss through training"
        return {f"network.{name}": reason for name, _ in self.network.named_parameters()}

    def differentiate(self, step: GateStep) -> Params:
        """Return the gradient of the primary loss in the network's parameters by name, through training; detached.

        Raises:
            ConfigError: the method does not say its losses as a function of its weights.
            NonFiniteError: it is not finite.
        """
        functions = _require_functions(step)

        def inner_loss(params: Params, hyper: Params, buffers: Params, batch: Batch) -> tuple[Tensor, Params]:
            found = functions.losses_at(params, batch)
            loss = step.scale * self._combine_losses(found.weighed, hyper, step, batch=batch)
            return (loss + batch.mean(found.primary) if step.primary is None else loss), buffers

        def outer_loss(params: Params, _hyper: Params, buffers: Params, batch: Batch) -> tuple[Tensor, Params]:
            return batch.mean(functions.losses_at(params, batch).primary), buffers

        # Far from a minimum the Hessian has negative eigenvalues, along which a series of a few terms grows. That is no
        # failure here: it is cut off as it is, like the release's.
        linear = Neumann(terms=self.config.terms + 1, scale=self.config.scale, measure_residual=False, may_grow=True)
        result = hypergradient(
            BilevelProblem(inner_loss=inner_loss, outer_loss=outer_loss),
            step.weights,
            self._read_hyper(),
            inner=[functions.train],
            outer=functions.own,
            solver=Implicit(linear=linear),
            mean=None if step.runtime.num_processes == 1 else step.runtime.mean_of,
        )
        factor = 1 / self.config.scale if self.config.released_factor else 1.0
        return {name: gradient * factor for name, gradient in result.grads.items()}

    @torch.no_grad()
    def take_upper_step(self, step: GateStep) -> None:
        """Move the network along its gradient."""
        with torch.enable_grad():
            gradients = self.differentiate(step)
        # Not a torch optimiser: one that the method does not know of would be left out of its checkpoints.
        gradient = torch.cat([value.flatten() for value in gradients.values()])
        gradient = gradient * (self.config.clip / gradient.norm().clamp_min(self.config.clip))
        phi = self._read_phi()
        gradient = gradient + self.config.weight_decay * phi
        state = {f"{name}.{_PHI}": getattr(self, name) for name in self.rule.moments}
        state |= {name: getattr(self, name) for name in self.rule.counts}
        moved, new_state = self.rule.step({_PHI: phi}, {_PHI: gradient}, state, {})
        for name, value in new_state.items():
            getattr(self, name.partition(".")[0]).copy_(value)
        sizes = [parameter.numel() for parameter in self.network.parameters()]
        for parameter, part in zip(self.network.parameters(), moved[_PHI].split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))
        if self.config.monotone:
            self.network.clamp()

    def _read_hyper(self) -> Params:
        """Return the network's parameters by name, detached."""
        return {name: value.detach() for name, value in self.network.named_parameters()}

    def _read_phi(self) -> Float[Tensor, " size"]:
        """Return the network's parameters as one vector."""
        return torch.cat([value.detach().flatten() for value in self.network.parameters()])

    def _combine_losses(
        self,
        losses: Float[Tensor, "samples tasks *places"],
        hyper: Params,
        step: GateStep,
        *,
        batch: Batch | None = None,
    ) -> Float[Tensor, ""]:
        """Return the gate's loss of a batch, by default the step's, at given parameters of the network."""
        means = losses.flatten(2).mean(2) if losses.dim() > 2 else losses
        taken = losses if self.network.reads_places else means
        combined = functional_call(self.network, hyper, (taken,))
        if self.network.adds_primary and step.primary is not None:
            combined = combined + means[:, step.primary]
        return (batch or step.batch).mean(combined) / losses.shape[1]


def _require_functions(step: GateStep) -> _Functions:
    """Return what an upper step needs, or say what is missing."""
    if step.losses_at is None or step.train is None or step.own is None or not step.shared:
        expected = "a method that says its losses as a function of its weights, with a batch of the gate's own"
        raise ConfigError(expected, "none", "choose another gate")
    return _Functions(step.losses_at, step.train, step.own)
