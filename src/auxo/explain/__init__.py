"""Images of what a trained model looks at (Grad-CAM) and how it arranges its inputs (t-SNE), with their numbers."""

from auxo.evaluation import Observation, observe
from auxo.explain.answer_figure import lay_over
from auxo.explain.answers import ShownAnswer, rank_answers, show_answers
from auxo.explain.arrangement import PointMap, arrange
from auxo.explain.attention import AttentionGrid, attend
from auxo.explain.config import ExplainConfig
from auxo.explain.embedding import Embedding, embed
from auxo.explain.explanation import Explanation, explain
from auxo.explain.figures import Attention
from auxo.explain.grad_cam import choose_layer, grad_cam
from auxo.explain.groups import ClassSaliency, GroupSaliency, attend_groups
from auxo.explain.subject import Subject

__all__ = [
    "Attention",
    "AttentionGrid",
    "ClassSaliency",
    "Embedding",
    "ExplainConfig",
    "Explanation",
    "GroupSaliency",
    "Observation",
    "PointMap",
    "ShownAnswer",
    "Subject",
    "arrange",
    "attend",
    "attend_groups",
    "choose_layer",
    "embed",
    "explain",
    "grad_cam",
    "lay_over",
    "observe",
    "rank_answers",
    "show_answers",
]
