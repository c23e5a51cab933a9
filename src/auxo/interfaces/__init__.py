"""The contracts between the parts of auxo: backbone, pretext, method, and the state a method is trained in."""

from auxo.interfaces.backbone import AbstractBackbone
from auxo.interfaces.method import AbstractMethod, MethodConfig, TrainState
from auxo.interfaces.networks import AbstractNetworks, BuildsBackbone
from auxo.interfaces.pretext import AbstractPretext, PretextBatch, PretextHead
from auxo.interfaces.view import AbstractOrder, StepPlan, View

__all__ = [
    "AbstractBackbone",
    "AbstractMethod",
    "AbstractNetworks",
    "AbstractOrder",
    "AbstractPretext",
    "BuildsBackbone",
    "MethodConfig",
    "PretextBatch",
    "PretextHead",
    "StepPlan",
    "TrainState",
    "View",
]
