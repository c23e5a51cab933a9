"""How the measure of a task is estimated, as options."""

from dataclasses import dataclass
from typing import Annotated

from auxo.options import Options, Range

LEAST_IMAGES = 5
"""Fewer validation images are refused."""

FEW_IMAGES = 100
"""With fewer, the measure on them is known to no better than ten points."""


@dataclass(frozen=True, kw_only=True)
class EstimationConfig(Options):
    """How many sets are made from the validation images, and how the intervals are drawn."""

    sets: Annotated[int, Range(low=40)] = 200
    """Transformed copies of the validation images that the estimators are fitted to."""
    images: Annotated[int, Range(low=LEAST_IMAGES)] = 500
    """Validation images that are used, at most, drawn with the class proportions kept."""
    corruptions: bool = False
    """Add the 75 sets of the common corruptions, as for photographs in the paper; leave it out where the images may
    have been made by those."""
    resamples: Annotated[int, Range(low=100)] = 500
    """Bootstrap samples of an interval."""
    confidence: Annotated[float, Range(above=0, below=1)] = 0.95
    """Probability of the intervals."""
