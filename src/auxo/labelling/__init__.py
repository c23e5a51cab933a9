"""Invented labels: a network that divides every class into sub-classes, what its labels say, and how they are shown."""

from auxo.labelling.exhibits import exhibit_labels
from auxo.labelling.invented import InventedTask, InventedTaskConfig, require_sub_classes
from auxo.labelling.network import LabellingNetwork, measure_labels

__all__ = [
    "InventedTask",
    "InventedTaskConfig",
    "LabellingNetwork",
    "exhibit_labels",
    "measure_labels",
    "require_sub_classes",
]
