"""Adaptations of a trained network to images without labels from elsewhere, one module each."""

from auxo.adaptation._interface import AdaptationConfig, Setting, UnlabelledImages
from auxo.adaptation._network import Outcome, adapt_network
from auxo.adaptation._run import AdaptedRun, adapt, adapt_run, choose_folder

__all__ = [
    "AdaptationConfig",
    "AdaptedRun",
    "Outcome",
    "Setting",
    "UnlabelledImages",
    "adapt",
    "adapt_network",
    "adapt_run",
    "choose_folder",
]
