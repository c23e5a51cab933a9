"""Splits by configuration: a built-in scenario, or the user's own sets."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from auxo import registry
from auxo.data.config import DataConfig
from auxo.data.cuts import cut_source, subsample
from auxo.data.imbalance import imbalanced
from auxo.data.names import normalise_name
from auxo.data.readers import (
    Part,
    align_splits,
    find_layout,
    leave_out_blank,
    read_named,
    read_unlabelled,
    require_columns,
    store,
)
from auxo.data.semi_supervised import hide_targets, without_images
from auxo.data.shared import share
from auxo.data.sizes import unify_sizes
from auxo.data.sources import AbstractSource
from auxo.data.splits import (
    MetaSplit,
    OODSplit,
    Splits,
    TestSplit,
    TrainSplit,
    UnlabelledSplit,
    ValSplit,
    check_disjoint,
    list_splits,
)
from auxo.data.together import settle_copies
from auxo.errors import ConfigError, DataError
from auxo.random import derive_seed
from auxo.tasks import AbstractTask, Classification


def load_splits(
    config: DataConfig, *, seed: int, task: type[AbstractTask] = Classification, learned: tuple[str, ...] = ()
) -> Splits:
    """Return the splits of a run, checked to be disjoint.

    Args:
        config: which images.
        seed: decides which images go to which part, and which are kept; equal seeds give equal splits.
        task: what is predicted.
        learned: further columns that are learned: every split has the training set's values of them, in its order.

    Raises:
        ConfigError: there is no such scenario.
        DataError: a set cannot be used, is too small, differs from the others in classes or image size, or shares
            images with another.
    """
    make = _read_own_splits if config.train is not None else _build_scenario
    splits = make(config, seed, task)
    task.check_source(splits.train.source)
    require_columns(splits.train.source, config.further_columns)
    splits = align_splits(splits, learned, unknown=config.unknown)
    splits = replace(splits, learned=learned)
    train = imbalanced(
        splits.train.source,
        config.imbalance,
        ratio=config.imbalance_ratio,
        seed=derive_seed(seed, "split", "imbalance"),
        task=task,
    )
    splits = replace(splits, train=TrainSplit(train))
    num_labelled = _choose_labelled(config, len(train)) if splits.unlabelled is None else None
    if num_labelled is not None:
        labelled_seed = derive_seed(seed, "split", "num_labelled")
        splits = hide_targets(splits, num_labelled, seed=labelled_seed, keep_hidden=config.keep_hidden)
    meta_seed = derive_seed(seed, "split", "meta")
    splits = _cut_meta(splits, config.meta_fraction, meta_seed, has_hidden_targets=num_labelled is not None)
    splits = check_disjoint(splits, config.on_overlap, has_named_blocks=config.block_column is not None)
    task.check_source(splits.train.source)
    return splits


def ood_splits(sources: Iterable[AbstractSource]) -> tuple[OODSplit, ...]:
    """Return sets from elsewhere as splits, having renamed those whose name an earlier one has: ``x``, ``x-2``.

    Args:
        sources: in the order of the table.
    """
    splits: dict[str, OODSplit] = {}
    for source in sources:
        name, number = normalise_name(source.name), 1
        source.name = name
        while source.name in splits:
            number += 1
            source.name = f"{name}-{number}"
        splits[source.name] = OODSplit(source)
    return tuple(splits.values())


def _build_scenario(config: DataConfig, seed: int, task: type[AbstractTask]) -> Splits:
    """Build the scenario, which applies ``num_train`` itself, and add the user's sets from elsewhere and unlabelled."""
    module = registry.load("data.scenarios", config.scenario)
    splits: Splits = share(
        (config, seed, task.__qualname__),
        lambda: module.build(config, seed=seed, task=task),
        sources=lambda made: [split.source for split in list_splits(made)],
    )
    vocabulary = task.from_source(splits.train.source).vocabulary if config.ood else {}
    _, height, width = splits.image_shape
    # The scenario's shape, which need be no option: images of another size are brought to it.
    config = replace(config, image_size=height, image_width=None if height == width else width)
    own = [read_named(spec, config, vocabulary=vocabulary, mask=task.mask_target) for spec in config.ood]
    stored = store([*own, *_read_own_unlabelled(config, task)], config)
    elsewhere = (*(split.source for split in splits.ood), *stored[: len(own)])
    return replace(splits, ood=ood_splits(elsewhere), unlabelled=_wrap_unlabelled(stored[len(own) :]))


def _choose_labelled(config: DataConfig, num_train: int) -> int | None:
    """Return how many training images keep their targets: as asked, else the scenario's own number, else all."""
    if config.num_labelled is not None or config.train is not None:
        return config.num_labelled
    own: int | None = getattr(registry.load("data.scenarios", config.scenario), "NUM_LABELLED", None)
    return None if own is None else min(own, num_train)


def _read_own_unlabelled(config: DataConfig, task: type[AbstractTask]) -> list[AbstractSource]:
    """Read the user's unlabelled images, if there are any."""
    spec = config.unlabelled
    return [] if spec is None else [read_unlabelled(spec, config, mask=task.mask_target)]


def _wrap_unlabelled(sources: list[AbstractSource]) -> UnlabelledSplit | None:
    """Return the split of no source or one."""
    return UnlabelledSplit(sources[0]) if sources else None


def _read_own_splits(config: DataConfig, seed: int, task: type[AbstractTask]) -> Splits:
    """Read the user's sets and cut validation and test from train where they are not given."""
    mask = task.mask_target
    layout = find_layout(config, mask=mask)
    given = [role for role in ("val", "test") if role in layout.given]
    others = (*(layout.given[role] for role in given), *layout.ood)
    asked = (config, task.__qualname__)
    train, *rest = share(asked, lambda: _read_own(layout.train, others, config, task), sources=lambda made: made)
    train.notes = (*layout.notes, *train.notes)
    if mask is not None and mask in train.places:
        train = leave_out_blank(train, mask, config)
    task.check_source(train)
    targets = [target.name for target in task.from_source(train).targets]
    train, *labelled = (settle_copies(each, targets, unknown=config.unknown) for each in (train, *rest[: len(others)]))
    by_role = dict(zip(given, labelled, strict=False))
    fractions = {"val": config.val_fraction, "test": config.test_fraction}
    missing = {role: fraction for role, fraction in fractions.items() if role not in given and fraction > 0}
    train, cut = _cut_parts(train, missing, derive_seed(seed, "split", "cut"), task)
    by_role |= cut
    train = subsample(train, config.num_train, seed=derive_seed(seed, "split", "num_train"), task=task)
    return Splits(
        train=TrainSplit(train),
        val=ValSplit(by_role["val"]),
        test=TestSplit(by_role["test"]) if "test" in by_role else None,
        ood=ood_splits(labelled[len(given) :]),
        task_kind=task,
        unlabelled=_wrap_unlabelled(rest[len(others) :]),
    )


def _read_own(own: Part, others: Sequence[Part], config: DataConfig, task: type[AbstractTask]) -> list[AbstractSource]:
    """Read the user's training set, then other sets with labels, then the unlabelled one, if there is one."""
    mask = task.mask_target
    first = read_named(own, config, mask=mask)
    vocabulary = task.from_source(first).vocabulary if others else {}
    labelled = [read_named(part, config, vocabulary=vocabulary, mask=mask) for part in others]
    if config.fit != "crop" and mask is not None:
        fix = "leave it out: masks are cropped with their images"
        raise ConfigError("--data.fit crop where images have masks", f"--data.fit {config.fit}", fix)
    return store(unify_sizes([first, *labelled, *_read_own_unlabelled(config, task)], config), config)


def _cut_parts(
    source: AbstractSource, fractions: dict[str, float], seed: int, task: type[AbstractTask]
) -> tuple[AbstractSource, dict[str, AbstractSource]]:
    """Cut stratified parts off a source; return what is left and the parts by role."""
    if not fractions:
        return source, {}
    sizes = {role: round(fraction * len(source)) for role, fraction in fractions.items()}
    for role, size in sizes.items():
        if size == 0:
            raise DataError(
                f"enough images in '{source.name}' to cut a {role} set from",
                f"{len(source)}, of which data.{role}-fraction takes none",
                "give more images, or a larger fraction",
            )
    left = len(source) - sum(sizes.values())
    names = [source.name, *(f"{source.name}-{role}" for role in sizes)]
    rest, *parts = cut_source(source, [left, *sizes.values()], names, seed=seed, task=task)
    return rest, dict(zip(sizes, parts, strict=True))


def _cut_meta(splits: Splits, fraction: float, seed: int, *, has_hidden_targets: bool) -> Splits:
    """Cut the meta split off the labelled training images, for it alone to use; none for a fraction of 0."""
    if not fraction:
        return splits
    train, parts = _cut_parts(splits.train.source, {"meta": fraction}, seed, splits.task_kind)
    unlabelled = splits.unlabelled
    if unlabelled is not None and has_hidden_targets:
        unlabelled = UnlabelledSplit(without_images(unlabelled.source, parts["meta"]))
    return replace(splits, train=TrainSplit(train), meta=MetaSplit(parts["meta"]), unlabelled=unlabelled)
