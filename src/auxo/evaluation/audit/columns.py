"""Whether a model leans on what a column of the data says."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.errors import NonFiniteError
from auxo.evaluation.audit.findings import LEVEL, AuditConfig, ColumnAudit, GroupMeasures
from auxo.evaluation.audit.gaps import find_gap, measure_cells, split_cells, split_values
from auxo.evaluation.audit.permutations import choose_compared, compare_embeddings, compare_means
from auxo.evaluation.groups import Grouping, group_images, take_known
from auxo.evaluation.images import AnySplit
from auxo.evaluation.reader import Reader
from auxo.random import derive_seed
from auxo.tasks import Scores, holm


def audit_columns(
    reader: Reader, split: AnySplit, names: Sequence[str], *, scores: Scores, config: AuditConfig | None = None
) -> list[ColumnAudit]:
    """Return for each column whether the predictions of a model depend on it, the class being the same.

    Two tests are made of each column, whose values are put into random orders within every class: of the primary
    measure of single images, by the spread of its means over the values, and of the features, by their discrepancy.
    Where the class decides what the column says, or too few images differ in it, nothing can be told. All p-values are
    corrected together (Holm).

    That features differ by a column does not mean that predictions lean on it: most networks show what an image's
    colour is. The verdict is of predictions alone.

    Args:
        reader: of the model.
        split: its images have the columns.
        names: of the columns.
        scores: of the head that predicts, for all images of the split; see :meth:`auxo.evaluation.Reader.scores`.
        config: how.

    Raises:
        ConfigError: no head predicts, or there is no such column.
        NonFiniteError: outputs or features are not all finite.

    Cost: a forward pass over the images. The test of features
    takes ``permutations * values * images^2`` multiplications.
    """
    chosen = config or AuditConfig()
    head = reader.require_head()
    groupings = [group_images(split.source, name, task=reader.task, bins=chosen.bins) for name in names]
    features = reader.images(split).features().double()
    if not features.isfinite().all():
        fix = "the weights have diverged; train again with a lower learning rate"
        raise NonFiniteError(f"finite features on {split.name}", "some that are not", fix)
    found = [_audit_column(reader, split.name, head, scores, features, each, chosen) for each in groupings]
    return _correct_p_values(found, chosen)


def _audit_column(
    reader: Reader,
    split: str,
    head: str,
    scores: Scores,
    features: Float[Tensor, "n dim"],
    grouping: Grouping,
    config: AuditConfig,
) -> ColumnAudit:
    """Return what is found of one column, p-values not yet corrected."""
    kept, own = take_known(grouping, scores)
    groups = []
    for number, value in enumerate(kept.groups.names):
        mask = kept.groups.values == number
        row = reader.row(split, head, {name: values[mask] for name, values in own.items()}, {})
        groups.append(GroupMeasures(value, row.n, row.measures))
    values = reader.task.image_values(own)
    plain = ColumnAudit(kept.name, "cannot tell", (), grouping, tuple(groups), None, (), None, None, None, None)
    sentences = list(_describe_cut(grouping))
    if reason := _find_obstacle(kept, config.fewest):
        cells = () if values is None else tuple(measure_cells(values, kept, torch.zeros_like(kept.is_known)))
        return replace(plain, cells=cells, reasons=(*sentences, reason))
    is_compared = choose_compared(kept.strata.values, kept.groups.values, fewest=config.fewest)
    rows = grouping.is_known.nonzero().flatten()[is_compared]
    strata, groups_of = (column.values[is_compared] for column in (kept.strata, kept.groups))
    seed = derive_seed(config.seed, "audit", kept.name)
    embeddings = compare_embeddings(features[rows], strata, groups_of, config=config, seed=seed)
    if values is None:
        told = f"{reader.task.primary} is not the mean of single images' values, so that no test of it can be made"
        return replace(plain, embeddings=embeddings, reasons=(*sentences, told))
    is_more_better = next(iter(groups)).measures[reader.task.primary].higher_is_better
    tested = values[is_compared].double()
    cells = tuple(measure_cells(values, kept, is_compared))
    compared = [cell for cell in cells if cell.is_compared]
    return replace(
        plain,
        reasons=tuple(sentences),
        gap=find_gap([("", *each) for each in split_values(values, kept.groups)], is_more_better=is_more_better),
        cells=cells,
        class_gap=find_gap(split_cells(values, kept, is_compared), is_more_better=is_more_better),
        worst=(min if is_more_better else max)(compared, key=lambda cell: cell.mean),
        predictions=compare_means(tested, strata, groups_of, permutations=config.permutations, seed=seed),
        embeddings=embeddings,
    )


def _describe_cut(grouping: Grouping) -> Iterator[str]:
    """Say how a column was made into groups."""
    if grouping.is_binned:
        count = len(grouping.groups.names)
        yield f"{grouping.name} is a quantity, cut into {count} ranges of like many images"
    if grouping.num_unknown:
        yield f"{grouping.num_unknown:,} images without a value are left out"


def _find_obstacle(grouping: Grouping, fewest: int) -> str:
    """Return why nothing can be told of a column; empty where something can."""
    names = grouping.groups.names
    if len(names) < 2:
        return f"all images have one value, {names[0]!r}" if names else "no image has a value"
    counts = grouping.cell_counts()
    if not bool(((counts > 0).sum(1) > 1).any()):
        return "every class has one value only: the class decides what the column says"
    if not bool(((counts >= fewest).sum(1) > 1).any()):
        return f"no class has two values of at least {fewest} images each: the groups are too small"
    return ""


def _correct_p_values(found: Sequence[ColumnAudit], config: AuditConfig) -> list[ColumnAudit]:
    """Return audits with their p-values corrected and their verdicts."""
    tests = [each.predictions for each in found] + [each.embeddings and each.embeddings.test for each in found]
    corrected = iter(holm([test.p for test in tests if test is not None]))
    made = [None if test is None else test._replace(p_holm=next(corrected)) for test in tests]
    audits = []
    for each, predictions, features in zip(found, made[: len(found)], made[len(found) :], strict=True):
        embeddings = each.embeddings
        if embeddings is not None and features is not None:
            embeddings = embeddings._replace(test=features)
        audits.append(_judge_column(replace(each, predictions=predictions, embeddings=embeddings), config))
    return audits


def _judge_column(audit: ColumnAudit, config: AuditConfig) -> ColumnAudit:
    """Return an audit with its verdict and the reasons for it."""
    test, gap = audit.predictions, audit.class_gap
    if test is None or gap is None:
        return audit
    if test.p_holm < LEVEL:
        told = "predictions depend on it within the classes"
        if gap.size >= config.smallest_gap:
            return replace(audit, verdict="leans", reasons=(*audit.reasons, told))
        told += ", but no difference is as large as one that matters"
        return replace(audit, verdict="leans slightly", reasons=(*audit.reasons, told))
    if gap.high <= config.smallest_gap:
        told = "no difference within a class was seen, and one that matters would have been"
        return replace(audit, verdict="not seen", reasons=(*audit.reasons, told))
    includes = "includes 0 and reaches" if gap.low <= 0 else "reaches"
    told = f"the test finds nothing, but the interval of the largest difference within a class {includes} beyond"
    told += " what matters: too few images to tell"
    return replace(audit, reasons=(*audit.reasons, told))
