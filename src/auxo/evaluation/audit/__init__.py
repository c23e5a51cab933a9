"""Audits: whether a model leans on what a column of the data says, and how far that can be told."""

from auxo.evaluation.audit.columns import audit_columns
from auxo.evaluation.audit.findings import (
    AuditConfig,
    CellMean,
    ColumnAudit,
    Embeddings,
    Gap,
    GroupMeasures,
    PermutationTest,
)
from auxo.evaluation.audit.permutations import choose_compared, compare_embeddings, compare_means

__all__ = [
    "AuditConfig",
    "CellMean",
    "ColumnAudit",
    "Embeddings",
    "Gap",
    "GroupMeasures",
    "PermutationTest",
    "audit_columns",
    "choose_compared",
    "compare_embeddings",
    "compare_means",
]
