"""Which gate a method uses, by configuration."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from auxo.errors import ConfigError
from auxo.gates._interface import AbstractGate
from auxo.registry import load
from auxo.types import refuse_unread, require_choice

GateForm: TypeAlias = Literal["mean_of_softmax", "softmax_of_mean", "per_sample"]
GateInit: TypeAlias = Literal["default", "kaiming"]
Aggregator: TypeAlias = Literal["upgrad", "dualproj", "mgda", "pcgrad", "cagrad", "imtl_g", "aligned_mtl"]

_READ_BY = {
    "form": ("learned", "frozen"),
    "init": ("learned", "frozen"),
    "normalise_losses": ("learned", "learned_scalar"),
    "entropy": ("learned", "learned_scalar"),
    "aggregator": ("torchjd",),
}


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """How the losses of several tasks are weighted; an option that the chosen gate does not read is refused."""

    name: str = "learned"
    """A gate's name (auxo list gates)."""
    form: GateForm = "mean_of_softmax"
    """Of frozen and learned: the mean of the samples' weights, the weights of the mean logits, or each its own."""
    init: GateInit = "default"
    """First weights of frozen and learned: torch's of a linear layer, or Kaiming-normal (released, long-tailed)."""
    normalise_losses: bool = True
    """Of learned and learned_scalar: divide each loss by that of guessing, so that an easy task is not favoured."""
    entropy: float = 1.0
    """Of learned and learned_scalar: bonus for the weights' entropy, >= 0; near 0 the easiest task alone remains."""
    aggregator: Aggregator = "upgrad"
    """Of torchjd: how weights follow from the tasks' gradients; cagrad needs the package cvxpy."""

    def __post_init__(self) -> None:
        require_choice("gate.form", self.form, GateForm)
        require_choice("gate.init", self.init, GateInit)
        require_choice("gate.aggregator", self.aggregator, Aggregator)
        if not 0 <= self.entropy < math.inf:
            raise ConfigError("gate.entropy >= 0 and finite", str(self.entropy), "use 0 for no bonus")
        refuse_unread(self, _READ_BY, chosen=[self.name], choice="gate.name")

    def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> AbstractGate:
        """Return the gate, on the CPU; its first weights come from the stream ``init/gate``.

        Args:
            num_features: length of the vector the tasks are answered from.
            num_outputs: of each task, the number of answers it chooses from.
            seed: the run's seed.

        Raises:
            ConfigError: there is no such gate, its package is missing, or it is of no use for so few tasks.
        """
        gate: AbstractGate = load("gates", self.name).build(
            self, num_features=num_features, num_outputs=num_outputs, seed=seed
        )
        return gate
