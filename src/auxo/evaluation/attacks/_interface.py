"""What an attack is, and the ball that all have."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

from torch import Tensor

from auxo.options import FamilyOptions, Range

EPSILON = 8 / 255
"""Largest change of a pixel that is usual, in units of the range 0..1."""
EPSILONS = Range(above=0, high=1)
"""What the largest change of a pixel can be."""

LibraryAttack: TypeAlias = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""An attack of the library: returns raw and clipped images, and which of them are wrong."""


@dataclass(frozen=True, kw_only=True)
class AttackConfig(FamilyOptions):
    """Options of an attack; an attack is nothing but its options."""

    family = "evaluation.attacks"

    @property
    def title(self) -> str:
        """What its rows are called: its name, of one of the user's own without the file."""
        return self.name.rpartition(":")[2]

    @property
    def num_starts(self) -> int:
        """How often it is made, from different starts; the worst counts."""
        return 1

    @abstractmethod
    def build(self, foolbox: ModuleType) -> LibraryAttack:
        """Return the library's attack.

        Args:
            foolbox: the library.
        """
