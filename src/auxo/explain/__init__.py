"""Pictures of what a trained model looks at (Grad-CAM) and how it arranges its inputs (t-SNE), with their numbers."""

from auxo.evaluation import Observation, observe
from auxo.explain.config import ExplainConfig
from auxo.explain.embedding import Embedding, embed
from auxo.explain.explanation import Explanation, explain
from auxo.explain.grad_cam import choose_layer, grad_cam
from auxo.explain.subject import Subject

__all__ = [
    "Embedding",
    "ExplainConfig",
    "Explanation",
    "Observation",
    "Subject",
    "choose_layer",
    "embed",
    "explain",
    "grad_cam",
    "observe",
]
