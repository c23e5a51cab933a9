"""Train vision models with help from tasks nobody has to label, and measure them honestly on data from elsewhere."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auxo.adaptation import adapt as adapt

__all__ = ["__version__", "adapt"]

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    """Import what needs torch when it is asked for: the command line answers much without it."""
    if name != "adapt":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("auxo.adaptation").adapt
