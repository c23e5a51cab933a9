"""Invented labels: a network that divides every class into sub-classes, what its labels say, and how they are shown."""

from auxo.pretexts.labelling.autoencoder import Autoencoder, encode_images
from auxo.pretexts.labelling.exhibits import exhibit_labels
from auxo.pretexts.labelling.invented import InventedTask, InventedTaskConfig, require_sub_classes
from auxo.pretexts.labelling.network import LabellingNetwork, measure_labels

__all__ = [
    "Autoencoder",
    "InventedTask",
    "InventedTaskConfig",
    "LabellingNetwork",
    "encode_images",
    "exhibit_labels",
    "measure_labels",
    "require_sub_classes",
]
