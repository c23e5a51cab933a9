"""Which pretext on two views a method uses, by configuration."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from auxo.errors import ConfigError
from auxo.interfaces import AbstractBackbone
from auxo.joint_embeddings._interface import AbstractJointEmbedding
from auxo.registry import load
from auxo.types import refuse_unread, require_choice

JointEmbeddingName: TypeAlias = Literal["simclr", "byol", "barlow_twins", "vicreg"]
MomentumSchedule: TypeAlias = Literal["cosine", "constant"]

_READ_BY: dict[str, tuple[JointEmbeddingName, ...]] = {
    "temperature": ("simclr",),
    "momentum": ("byol",),
    "momentum_schedule": ("byol",),
    "off_diagonal_weight": ("barlow_twins",),
    "invariance_weight": ("vicreg",),
    "variance_weight": ("vicreg",),
    "covariance_weight": ("vicreg",),
}


@dataclass(frozen=True, kw_only=True)
class JointEmbeddingConfig:
    """How two views of an image are compared; an option that the chosen pretext does not read is refused."""

    name: JointEmbeddingName = "simclr"
    """Tell the image's other view from all other images (simclr), predict what a slow copy of the network makes of it
    (byol), or make features agree and not repeat each other (barlow_twins, vicreg)."""
    hidden: int = 256
    """Width of the hidden layers of the projector, and of byol's predictor, >= 1; the papers have 2048 to 8192."""
    outputs: int = 256
    """Length of an embedding, >= 2; the papers have 128 to 8192."""
    num_layers: int = 3
    """Linear layers of the projector, and of byol's predictor, >= 2; all but the last with batch norm and ReLU."""
    temperature: float = 0.5
    """Of simclr: what cosines are divided by, > 0; lower values look at the nearest images only."""
    momentum: float = 0.996
    """Of byol: part of itself that the target keeps at a step, in [0, 1]; where the schedule starts."""
    momentum_schedule: MomentumSchedule = "cosine"
    """Of byol: whether the momentum rises to 1 along half a cosine, as published, or stays."""
    off_diagonal_weight: float = 0.005
    """Of barlow_twins: weight of the correlations between different features, >= 0."""
    invariance_weight: float = 25.0
    """Of vicreg: weight of the views' mean squared distance, >= 0."""
    variance_weight: float = 25.0
    """Of vicreg: weight of what a feature's standard deviation lacks to 1, >= 0."""
    covariance_weight: float = 1.0
    """Of vicreg: weight of the squared covariances between different features, >= 0."""

    def __post_init__(self) -> None:
        require_choice("pretext.name", self.name, JointEmbeddingName)
        require_choice("pretext.momentum-schedule", self.momentum_schedule, MomentumSchedule)
        checks = [
            (self.hidden >= 1, "hidden >= 1", self.hidden),
            (self.outputs >= 2, "outputs >= 2", self.outputs),
            (self.num_layers >= 2, "num-layers >= 2", self.num_layers),
            (0 < self.temperature < math.inf, "temperature > 0 and finite", self.temperature),
            (0 <= self.momentum <= 1, "momentum in [0, 1]", self.momentum),
        ]
        weights = [(name, getattr(self, name)) for name in _READ_BY if name.endswith("_weight")]
        checks += [
            (0 <= value < math.inf, f"{name.replace('_', '-')} >= 0 and finite", value) for name, value in weights
        ]
        for is_valid, expected, got in checks:
            if not is_valid:
                raise ConfigError(f"pretext.{expected}", str(got), "choose a value in that range")
        refuse_unread(self, _READ_BY, chosen=[self.name], choice="pretext.name")

    def build(self, backbone: AbstractBackbone, *, seed: int) -> AbstractJointEmbedding:
        """Return the pretext's heads, on the CPU; the backbone is read, not kept.

        The heads' first weights come from the streams ``init/projector`` and ``init/predictor``, so all pretexts start
        from the same projector.

        Args:
            backbone: gives the number of features, and byol's target its first weights.
            seed: the run's seed.
        """
        pretext: AbstractJointEmbedding = load("joint_embeddings", self.name).build(self, backbone, seed=seed)
        return pretext
