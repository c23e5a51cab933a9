import pytest
import torch

from auxo.data.fake import SHAPES, oriented_shapes


def test_oriented_shapes__same_seed__same_images() -> None:
    first, second, other = (oriented_shapes(12, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, other.images)
    assert first.images.dtype == torch.uint8


def test_oriented_shapes__any_number__classes_alternate() -> None:
    source = oriented_shapes(10, size=16, seed=0)
    assert source.image_shape == (3, 16, 16)
    assert source.columns["label"].values.bincount().tolist() == [3, 3, 2, 2]
    assert source.vocabulary["label"] == SHAPES
    assert len(set(source.content_hashes())) == 10


@pytest.mark.parametrize("size", [16, 28, 32])
def test_oriented_shapes__turned__is_told_apart_by_nearest_mean(size: int) -> None:
    """A rule as simple as the nearest class mean must see class and turn of new shapes."""

    def turned(count: int, seed: int) -> torch.Tensor:
        images = oriented_shapes(count, size=size, seed=seed).images.float().mean(1)
        return torch.stack([images.rot90(k, (1, 2)) for k in range(4)]).flatten(2)

    means = turned(80, 0).view(4, 20, 4, -1).mean(1).flatten(0, 1)
    new = turned(80, 1)
    nearest = torch.cdist(new.flatten(0, 1), means).argmin(1).view(4, 80)
    expected = torch.arange(4).view(4, 1) * 4 + torch.arange(80).view(1, 80) % 4
    assert (nearest == expected).float().mean() > 0.9
