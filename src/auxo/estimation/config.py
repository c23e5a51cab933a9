"""How the measure of a task is estimated, as options."""

from dataclasses import dataclass

from auxo.errors import ConfigError

LEAST_IMAGES = 5
"""Fewer validation images are refused."""

FEW_IMAGES = 100
"""With fewer, the measure on them is known to no better than ten points."""


@dataclass(frozen=True, kw_only=True)
class EstimationConfig:
    """How many sets are made from the validation images, and how the intervals are drawn."""

    sets: int = 200
    """Transformed copies of the validation images that the estimators are fitted to, >= 40."""
    images: int = 500
    """Validation images that are used, at most, drawn with the class proportions kept, >= 5."""
    corruptions: bool = False
    """Add the 75 sets of the common corruptions, as for photographs in the paper; leave it out where the images may
    have been made by those."""
    resamples: int = 500
    """Bootstrap samples of an interval, >= 100."""
    confidence: float = 0.95
    """Probability of the intervals, in (0, 1)."""

    def __post_init__(self) -> None:
        for name, least in (("sets", 40), ("images", LEAST_IMAGES), ("resamples", 100)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} >= {least}", str(getattr(self, name)), "raise it, or leave it out")
        if not 0 < self.confidence < 1:
            raise ConfigError("confidence in (0, 1)", str(self.confidence), "give for instance 0.95")
