"""Attacks: images changed a little so that a loss rises, to train against."""

from auxo.losses.attacks.pgd import PGDConfig, attack_mode, projected_gradient_descent

__all__ = ["PGDConfig", "attack_mode", "projected_gradient_descent"]
