"""The scenarios of one well-known set: training, validation and test images, and test images under corruptions."""

import torch

from auxo.data.columns import take_columns
from auxo.data.config import DataConfig
from auxo.data.corruptions import SEVERITIES, corrupt_at_all_severities
from auxo.data.cuts import stratified_parts
from auxo.data.readers import store
from auxo.data.scenarios._copies import KnownSet, cut_train_and_val
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, ValSplit
from auxo.random import derive_seed
from auxo.tasks import AbstractTask
from auxo.types import LABEL

_VAL_FRACTION = 0.1
_NUM_CORRUPTED = 2500


def build_with_corrupted_test(
    known: KnownSet, config: DataConfig, *, image_size: int | None, seed: int, task: type[AbstractTask]
) -> Splits:
    """Return the splits of a set: its training part without a stratified tenth, which validates, and its test part.

    From elsewhere comes ``corrupted-<name>``: 500 of the test images (or one per class, if that is more, or all), once
    at each severity of the fifteen common corruptions, always held in memory because they are made here.

    Args:
        known: the set.
        config: gives the root, ``num_train`` (default all) and storage.
        image_size: side in pixels of all images; ``None`` keeps them as they are.
        seed: decides which images train, validate and are corrupted, and the corruptions.
        task: says what proportions every part keeps.

    Raises:
        DataError: a part is missing, cannot be used, or is too small.
    """
    whole = known.read("train", config, image_size=image_size)
    train_part, val_part = cut_train_and_val(
        whole,
        known.name,
        num_train=config.num_train,
        num_val=round(_VAL_FRACTION * len(whole)),
        seed=derive_seed(seed, known.name, "parts"),
        task=task,
    )
    test_part = known.read("test", config, image_size=image_size, like=whole)
    test_part.name = f"{known.name}-test"
    train, val, test = store([train_part, val_part, test_part], config)
    return Splits(
        train=TrainSplit(train),
        val=ValSplit(val),
        test=TestSplit(test),
        ood=(OODSplit(_corrupt_part(test, known.name, seed, task)),),
        task_kind=task,
    )


def _corrupt_part(test: AbstractSource, set_name: str, seed: int, task: type[AbstractTask]) -> InMemorySource:
    """Return a stratified part of the test images under the common corruptions."""
    name = f"corrupted-{set_name}"
    size = max(_NUM_CORRUPTED // len(SEVERITIES), len(test.vocabulary[LABEL]))
    part_seed = derive_seed(seed, set_name, "corrupted")
    (part,) = stratified_parts(test, [min(len(test), size)], [test.name], seed=part_seed, task=task)
    clean = part.fetch(torch.arange(len(part)))
    corrupted = corrupt_at_all_severities(clean, seed=derive_seed(seed, set_name, "corruptions"))
    origins = corrupted.origins(name)
    columns = take_columns(part.columns, corrupted.sources)
    return InMemorySource(name, corrupted.images, columns, origins=origins, notes=part.notes)
