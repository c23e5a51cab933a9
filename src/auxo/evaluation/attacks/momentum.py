"""Steps along the accumulated gradient of cross-entropy, from the clean image."""

from dataclasses import dataclass
from types import ModuleType
from typing import Annotated

from auxo.evaluation.attacks._interface import AttackConfig, LibraryAttack
from auxo.options import Range

SOURCE = "Dong et al., CVPR 2018 (arXiv 1710.06081), as foolbox has it."


@dataclass(frozen=True, kw_only=True)
class Momentum(AttackConfig):
    """Options of the steps."""

    steps: Annotated[int, Range(low=1)] = 20
    """Steps from the clean image."""
    step_size: Annotated[float, Range(above=0, high=1)] = 2 / 255
    """Change of every pixel in one step, in units of the range 0..1."""

    def build(self, foolbox: ModuleType) -> LibraryAttack:
        """Return the library's attack."""
        attack: LibraryAttack = foolbox.attacks.MIFGSM(abs_stepsize=self.step_size, steps=self.steps)
        return attack
