"""Attacks by the library foolbox, one module each, which know nothing of how a network was trained."""

from auxo.evaluation.attacks._interface import EPSILON, EPSILONS, AttackConfig, LibraryAttack

__all__ = ["EPSILON", "EPSILONS", "AttackConfig", "LibraryAttack"]
