"""Steps to the nearest linearised boundary of ten classes."""

from dataclasses import dataclass
from types import ModuleType

from auxo.evaluation.attacks._interface import AttackConfig, LibraryAttack

SOURCE = "Moosavi-Dezfooli et al., CVPR 2016 (arXiv 1511.04599), as foolbox has it."


@dataclass(frozen=True, kw_only=True)
class DeepFool(AttackConfig):
    """No options."""

    def build(self, foolbox: ModuleType) -> LibraryAttack:
        """Return the library's attack."""
        attack: LibraryAttack = foolbox.attacks.LinfDeepFoolAttack()
        return attack
