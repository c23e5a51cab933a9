"""The contracts between the parts of auxo: backbone, pretext, method, and the state a method is trained in."""

from auxo.interfaces.backbone import AbstractBackbone
from auxo.interfaces.exhibits import CurveExhibit, Exhibit, ImageExhibit, TableExhibit, TextExhibit
from auxo.interfaces.method import AbstractMethod, MethodConfig, TrainState
from auxo.interfaces.networks import AbstractNetworks, BuildsBackbone
from auxo.interfaces.pretext import AbstractPretext, PretextBatch, PretextHead
from auxo.interfaces.reading import AbstractImageReader, Prepared, StageStart
from auxo.interfaces.view import AbstractOrder, StepPlan, View

__all__ = [
    "AbstractBackbone",
    "AbstractImageReader",
    "AbstractMethod",
    "AbstractNetworks",
    "AbstractOrder",
    "AbstractPretext",
    "BuildsBackbone",
    "CurveExhibit",
    "Exhibit",
    "ImageExhibit",
    "MethodConfig",
    "Prepared",
    "PretextBatch",
    "PretextHead",
    "StageStart",
    "StepPlan",
    "TableExhibit",
    "TextExhibit",
    "TrainState",
    "View",
]
