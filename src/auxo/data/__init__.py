"""Data: sources of images, splits, batches, and what happens to images on the device."""

from auxo.data.config import DataConfig
from auxo.data.cuts import stratified_indices, stratified_parts
from auxo.data.decode import decode_image, read_bytes
from auxo.data.load import load_splits, ood_splits
from auxo.data.loader import Loader, ordered_batches
from auxo.data.orders import Balanced, Shuffled, Stratified
from auxo.data.pipeline import InputPipeline
from auxo.data.readers import read_source
from auxo.data.sources import AbstractSource, InMemorySource, PlaceMap
from auxo.data.splits import (
    EvaluationSplit,
    MetaSplit,
    OODSplit,
    Splits,
    TestSplit,
    TrainSplit,
    UnlabelledSplit,
    ValSplit,
    check_disjoint,
)
from auxo.data.streaming import StreamingSource
from auxo.interfaces import AbstractOrder

__all__ = [
    "AbstractOrder",
    "AbstractSource",
    "Balanced",
    "DataConfig",
    "EvaluationSplit",
    "InMemorySource",
    "InputPipeline",
    "Loader",
    "MetaSplit",
    "OODSplit",
    "PlaceMap",
    "Shuffled",
    "Splits",
    "Stratified",
    "StreamingSource",
    "TestSplit",
    "TrainSplit",
    "UnlabelledSplit",
    "ValSplit",
    "check_disjoint",
    "decode_image",
    "load_splits",
    "ood_splits",
    "ordered_batches",
    "read_bytes",
    "read_source",
    "stratified_indices",
    "stratified_parts",
]
