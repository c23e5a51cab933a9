"""Options of projected gradient descent."""

from dataclasses import dataclass
from typing import Annotated

from auxo.evaluation.attacks._interface import AttackConfig
from auxo.options import Range


@dataclass(frozen=True, kw_only=True)
class DescentConfig(AttackConfig):
    """Steps of one length from random starts."""

    steps: Annotated[int, Range(low=1)] = 20
    """Steps from each start."""
    step_size: Annotated[float, Range(above=0, high=1)] = 2 / 255
    """Change of every pixel in one step, in units of the range 0..1."""
    restarts: Annotated[int, Range(low=1)] = 1
    """Random starts; the worst counts."""

    @property
    def num_starts(self) -> int:
        """The random starts."""
        return self.restarts
