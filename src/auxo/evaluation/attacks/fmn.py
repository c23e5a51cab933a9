"""The search for the nearest wrong image on the logit margin, in 100 steps."""

from dataclasses import dataclass
from types import ModuleType

from auxo.evaluation.attacks._interface import AttackConfig, LibraryAttack

SOURCE = "Pintor et al., NeurIPS 2021 (arXiv 2102.12827), as foolbox has it."


@dataclass(frozen=True, kw_only=True)
class FMN(AttackConfig):
    """No options."""

    def build(self, foolbox: ModuleType) -> LibraryAttack:
        """Return the library's attack."""
        attack: LibraryAttack = foolbox.attacks.LInfFMNAttack()
        return attack
