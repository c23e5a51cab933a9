"""Joint embeddings: pretexts that compare two views of one image, one module each, built by name."""

from auxo.joint_embeddings._collapse import collapse_metrics, effective_rank, embedding_std
from auxo.joint_embeddings._config import JointEmbeddingConfig
from auxo.joint_embeddings._functional import loss_in_backbone
from auxo.joint_embeddings._interface import AbstractJointEmbedding, Pair, PairLoss, gather_from, pair_of

__all__ = [
    "AbstractJointEmbedding",
    "JointEmbeddingConfig",
    "Pair",
    "PairLoss",
    "collapse_metrics",
    "effective_rank",
    "embedding_std",
    "gather_from",
    "loss_in_backbone",
    "pair_of",
]
