"""Pretexts: tasks that make their own labels. A module's name is the pretext's name."""

from auxo.pretexts._collapse import collapse_metrics, effective_rank, embedding_std
from auxo.pretexts._functional import loss_in_backbone
from auxo.pretexts._gated import GatedLoss, GatedPretexts, GatedPretextsConfig
from auxo.pretexts._generated import GeneratedTask, ItemPair, Pairing, show_generated
from auxo.pretexts._given import GivenInputs, GivenTasks, GivenTasksConfig, mean_over_places, place_head
from auxo.pretexts._pairs import AbstractPairModule, Pair, PairConfig, gather_from, join_rows
from auxo.pretexts._pixel_method import AbstractPixelMethod, PixelMethodConfig, colour_labels
from auxo.pretexts._projector import ProjectorConfig
from auxo.pretexts._quadrants import AbstractQuadrantPretext

__all__ = [
    "AbstractPairModule",
    "AbstractPixelMethod",
    "AbstractQuadrantPretext",
    "GatedLoss",
    "GatedPretexts",
    "GatedPretextsConfig",
    "GeneratedTask",
    "GivenInputs",
    "GivenTasks",
    "GivenTasksConfig",
    "ItemPair",
    "Pair",
    "PairConfig",
    "Pairing",
    "PixelMethodConfig",
    "ProjectorConfig",
    "collapse_metrics",
    "colour_labels",
    "effective_rank",
    "embedding_std",
    "gather_from",
    "join_rows",
    "loss_in_backbone",
    "mean_over_places",
    "place_head",
    "show_generated",
]
