import pytest
import torch

from auxo.data.mixing import Mixing
from auxo.random import Draws, named_generator
from auxo.types import Batch


def make_batch(count: int, *, size: tuple[int, int] = (16, 20)) -> Batch:
    """Images that are constant: each its own number."""
    images = torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, 3, *size).contiguous()
    return Batch(images, {"label": torch.arange(count)}, torch.arange(count))


def mix(batch: Batch, seed: int = 0, **parameters: float) -> Batch:
    return Mixing(**parameters).mix(batch, Draws(named_generator(seed, "mix")))


def test_mix__mixup__is_the_weighted_sum_of_neighbours_and_names_the_other_label() -> None:
    batch = make_batch(64)
    found = mix(batch, mixup=0.4)
    part, other = found.targets["mixed_part"], found.targets["mixed_label"]
    assert torch.equal(other, torch.arange(64) ^ 1)
    assert torch.equal(found.labels, batch.labels)
    expected = part * batch.labels + (1 - part) * other
    torch.testing.assert_close(found.images, expected.view(-1, 1, 1, 1).expand_as(found.images), rtol=0, atol=1e-4)
    assert torch.equal(part[0::2], part[1::2])
    assert ((part > 0.01) & (part < 0.99)).any()


def test_mix__cutmix__has_a_rectangle_of_the_partner_and_its_part_of_the_label() -> None:
    batch = make_batch(200)
    found = mix(batch, cutmix=1.0)
    is_other = found.images[:, 0] == found.targets["mixed_label"].view(-1, 1, 1)
    is_own = found.images[:, 0] == batch.labels.view(-1, 1, 1)
    assert (is_other ^ is_own).all()
    rows, columns = is_other.any(2).sum(1), is_other.any(1).sum(1)
    assert torch.equal(rows * columns, is_other.sum((1, 2)))
    torch.testing.assert_close(found.targets["mixed_part"], is_own.float().mean((1, 2)), rtol=0, atol=1e-6)
    assert len(rows.unique()) > 5


@pytest.mark.parametrize("parameter", [0.2, 1.0, 3.0])
def test_mix__part__is_of_the_beta_distribution(parameter: float) -> None:
    part = mix(make_batch(8000, size=(1, 1)), mixup=parameter).targets["mixed_part"][::2].double()
    assert part.mean() == pytest.approx(0.5, abs=0.02)
    assert part.var() == pytest.approx(1 / (4 * (2 * parameter + 1)), rel=0.06)  # of Beta(a, a)


def test_mix__both__mixes_each_pair_by_one_of_them() -> None:
    found = mix(make_batch(200), mixup=1.0, cutmix=1.0)
    is_plain = (found.images == found.images[:, :, :1, :1]).flatten(1).all(1)
    is_mixed = ~torch.isclose(found.images[:, 0, 0, 0] % 1, torch.tensor(0.0), atol=1e-3)
    assert 60 < int((is_plain & is_mixed).sum()) < 140
    assert 50 < int((~is_plain).sum()) < 120


def test_mix__odd_number__leaves_the_last_as_it_is() -> None:
    for parameters in ({"mixup": 0.5}, {"cutmix": 1.0}):
        found = mix(make_batch(5), **parameters)
        assert (found.images[4] == 4).all()
        assert found.targets["mixed_label"][4] == 4
        assert found.targets["mixed_part"][4] == 1


def test_mix__seed__decides_all() -> None:
    batch = make_batch(16)
    assert torch.equal(mix(batch, 1, mixup=0.5).images, mix(batch, 1, mixup=0.5).images)
    assert not torch.equal(mix(batch, 1, mixup=0.5).images, mix(batch, 2, mixup=0.5).images)
