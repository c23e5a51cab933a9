"""The contracts between the parts of auxo: backbone, pretext, method, and the state a method is trained in."""

from auxo.interfaces.backbone import AbstractBackbone, group_layers
from auxo.interfaces.exhibits import CurveExhibit, Exhibit, ImageExhibit, TableExhibit, TextExhibit
from auxo.interfaces.method import AbstractMethod, MethodConfig, TrainState
from auxo.interfaces.networks import AbstractNetworks, BuildsBackbone
from auxo.interfaces.pretext import (
    AbstractImagePretext,
    AbstractPretextModule,
    DrawFrom,
    ImageInputs,
    ImagePretextModule,
    PretextBatch,
    PretextConfig,
    PretextHead,
    PretextLoss,
)
from auxo.interfaces.pretext_method import AbstractPretextMethod, PretextMethodConfig
from auxo.interfaces.reading import AbstractImageReader, Prepared, StageStart
from auxo.interfaces.view import AbstractOrder, StepPlan, View

__all__ = [
    "AbstractBackbone",
    "AbstractImagePretext",
    "AbstractImageReader",
    "AbstractMethod",
    "AbstractNetworks",
    "AbstractOrder",
    "AbstractPretextMethod",
    "AbstractPretextModule",
    "BuildsBackbone",
    "CurveExhibit",
    "DrawFrom",
    "Exhibit",
    "ImageExhibit",
    "ImageInputs",
    "ImagePretextModule",
    "MethodConfig",
    "Prepared",
    "PretextBatch",
    "PretextConfig",
    "PretextHead",
    "PretextLoss",
    "PretextMethodConfig",
    "StageStart",
    "StepPlan",
    "TableExhibit",
    "TextExhibit",
    "TrainState",
    "View",
    "group_layers",
]
