"""Projected gradient descent on the logit margin, which does not flatten out as cross-entropy does."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from auxo.evaluation.attacks._descent import DescentConfig
from auxo.evaluation.attacks._interface import LibraryAttack

SOURCE = "Projected gradient descent (arXiv 1706.06083) by foolbox, on the margin of Carlini & Wagner 2017."


@runtime_checkable
class _LibraryTensor(Protocol):
    """A tensor as the library wraps it."""

    raw: Tensor


@dataclass(frozen=True, kw_only=True)
class PGDMargin(DescentConfig):
    """Options of projected gradient descent on the margin."""

    def build(self, foolbox: ModuleType) -> LibraryAttack:
        """Return the library's attack with another loss."""
        wrap = importlib.import_module("eagerpy").astensor

        def margin_loss(
            model: Callable[[_LibraryTensor], _LibraryTensor], labels: _LibraryTensor
        ) -> Callable[[_LibraryTensor], object]:
            def loss(inputs: _LibraryTensor) -> object:
                logits = model(inputs).raw
                own = nn.functional.one_hot(labels.raw, logits.shape[1]).bool()
                return wrap((logits.masked_fill(own, -torch.inf).amax(1) - logits[own]).sum())

            return loss

        attack = foolbox.attacks.LinfPGD(abs_stepsize=self.step_size, steps=self.steps, random_start=True)
        attack.get_loss_fn = margin_loss
        made: LibraryAttack = attack
        return made
