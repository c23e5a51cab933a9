"""Projected gradient descent on the cross-entropy from a random start."""

from dataclasses import dataclass
from types import ModuleType

from auxo.evaluation.attacks._descent import DescentConfig
from auxo.evaluation.attacks._interface import LibraryAttack

SOURCE = "Madry et al., ICLR 2018 (arXiv 1706.06083), as foolbox has it."


@dataclass(frozen=True, kw_only=True)
class PGD(DescentConfig):
    """Options of projected gradient descent."""

    def build(self, foolbox: ModuleType) -> LibraryAttack:
        """Return the library's attack."""
        attack: LibraryAttack = foolbox.attacks.LinfPGD(
            abs_stepsize=self.step_size, steps=self.steps, random_start=True
        )
        return attack
