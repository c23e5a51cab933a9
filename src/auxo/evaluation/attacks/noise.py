"""The first wrong one of 100 uniform draws: without gradients, so not misled by useless ones."""

from dataclasses import dataclass
from types import ModuleType

from auxo.evaluation.attacks._interface import AttackConfig, LibraryAttack

SOURCE = "The repeated uniform noise of foolbox."

_NUM_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class Noise(AttackConfig):
    """No options."""

    def build(self, foolbox: ModuleType) -> LibraryAttack:
        """Return the library's attack."""
        attack: LibraryAttack = foolbox.attacks.LinfRepeatedAdditiveUniformNoiseAttack(repeats=_NUM_DRAWS)
        return attack
