"""Train vision models with help from tasks nobody has to label, and measure them honestly on data from elsewhere."""

__all__ = ["__version__"]

__version__ = "0.2.0"
