"""Nothing is changed: the control of every adaptation."""

from collections.abc import Mapping
from dataclasses import dataclass

from auxo.adaptation._interface import AdaptationConfig, Setting

SOURCE = "The trained network as it is."


@dataclass(frozen=True, kw_only=True)
class NoAdaptation(AdaptationConfig):
    """No options."""

    def find_doubts(self, setting: Setting) -> list[str]:
        """Return nothing: nothing is done."""
        del setting
        return []

    def adapt(self, setting: Setting) -> Mapping[str, float | int]:
        """Leave the network alone."""
        del setting
        return {}
