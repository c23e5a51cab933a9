import itertools

import pytest
import torch

from auxo.data.shortcuts import (
    ShortcutConfig,
    choose_scenes,
    colour_images,
    draw_cues,
    exchange_values,
    group_classes,
    name_cues,
    paste_centres,
    paste_digits,
    patch_images,
)
from auxo.errors import DataError, OptionError
from auxo.types import Column


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_draw_cues__any_strength__is_the_part_with_its_classs_value(strength: float) -> None:
    classes = torch.arange(2).repeat(10_000)
    values = draw_cues(classes, strength=strength, num_values=2, generator=generator())
    for number in (0, 1):  # within 4 standard errors of 0.005
        assert abs(float((values == number)[classes == number].double().mean()) - strength) <= 0.02


def test_draw_cues__more_values_than_two__share_the_rest_equally() -> None:
    classes = torch.full((40_000,), 5)
    values = draw_cues(classes, strength=0.4, num_values=4, generator=generator())
    assert torch.allclose(values.bincount(minlength=4) / 40_000, torch.tensor([0.2, 0.4, 0.2, 0.2]), atol=0.01)


def test_draw_cues__growing_strength__only_adds_images_with_their_classs_value() -> None:
    classes = torch.arange(3).repeat(200)
    drawn = [draw_cues(classes, strength=s, num_values=3, generator=generator()) for s in (0.2, 0.6, 0.9)]
    agree = [values == classes for values in drawn]
    assert all(bool((small <= large).all()) for small, large in itertools.pairwise(agree))
    assert torch.equal(drawn[0][~agree[2]], drawn[2][~agree[2]])


def test_exchange_values__a_fraction__is_exchanged_for_others() -> None:
    values = torch.arange(3).repeat(4000)
    exchanged = exchange_values(values, 0.25, num_values=3, generator=generator())
    assert abs(float((exchanged != values).double().mean()) - 0.25) < 0.02
    assert set(exchanged.tolist()) == {0, 1, 2}
    assert torch.equal(exchange_values(values, 0.0, num_values=3, generator=generator()), values)


def test_group_classes__names_that_are_wrong__are_told() -> None:
    classes = Column(torch.tensor([0, 1, 2]), ("cat", "dog", "owl"))
    assert group_classes(classes, ("owl", "cat+dog")).values.tolist() == [1, 1, 0]
    assert group_classes(classes, ("all",)) is classes
    with pytest.raises(OptionError, match=r"data.shortcut.groups of cat, dog, owl, got 'fox'"):
        group_classes(classes, ("cat", "fox"))
    with pytest.raises(OptionError, match="every class in one group, got cat in two"):
        group_classes(classes, ("cat", "dog+cat"))


def test_colour_images__white_and_grey__take_the_hue_of_their_value() -> None:
    images = torch.tensor([255, 255, 100]).to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    painted = colour_images(images, torch.tensor([0, 1, 2]), 3)
    assert painted[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 100]]


def test_patch_images__each_value__has_its_corner_and_channel() -> None:
    images = torch.zeros(5, 3, 28, 28, dtype=torch.uint8)
    patched = patch_images(images, torch.tensor([0, 1, 2, 3, 0]), 4)
    assert not images.any()
    assert patched.flatten(1).long().sum(1).tolist() == [255 * 100] * 5
    places = ((0, 1, 0, 27), (1, 2, 27, 0), (2, 0, 0, 0), (3, 1, 27, 27))
    assert all(int(patched[index]) == 255 for index in places)
    with pytest.raises(OptionError, match=r"data.shortcut.values <= 4 for patches, one in each corner, got 5"):
        name_cues("patch", 5)


def test_name_cues__any_number__are_different_names() -> None:
    assert all(len(set(name_cues("colour", count))) == count for count in range(2, 20))


def test_paste_digits__pixels_above_half__cover_the_scene() -> None:
    digits = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    digits[0, :, 1, 2], digits[0, :, 1, 3] = 200, 127
    scenes = torch.full((1, 3, 8, 8), 9, dtype=torch.uint8)
    expected = scenes.clone()
    expected[0, :, 3, 4] = 200
    assert torch.equal(paste_digits(digits, scenes), expected)


def test_paste_centres__frame__is_the_scenes() -> None:
    objects, scenes = torch.full((1, 3, 8, 8), 5, dtype=torch.uint8), torch.full((1, 3, 8, 8), 9, dtype=torch.uint8)
    pasted = paste_centres(objects, scenes, kept=4)
    assert (pasted == 5).sum() == 3 * 16
    assert bool((pasted[:, :, 2:6, 2:6] == 5).all())


def test_choose_scenes__each_value__gets_all_scenes_of_its_kind_equally_often() -> None:
    kinds = torch.tensor([1, 0, 1, 1, 0])
    chosen = choose_scenes(kinds, torch.tensor([0, 1]).repeat(6000), generator=generator())
    assert torch.equal(kinds[chosen], torch.tensor([0, 1]).repeat(6000))
    assert torch.allclose(chosen.bincount() / 12_000, torch.tensor([1 / 6, 1 / 4, 1 / 6, 1 / 6, 1 / 4]), atol=0.02)
    with pytest.raises(DataError, match="scenes of every kind, got none of number 2"):
        choose_scenes(kinds, torch.tensor([0, 2]), generator=generator())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"strength": 1.1}, r"strength in \[0, 1\], got 1.1"),
        ({"shifted": (0.5, -0.1)}, r"shifted in \[0, 1\], got -0.1"),
        ({"shifted": (0.5, 0.5)}, "shifted each strength once, got 0.5 0.5"),
        ({"values": 1}, "values >= 2, got 1"),
        ({"groups": ("3",)}, "groups all, or two or more, got 3"),
        ({"label_noise": 1.0}, r"label-noise in \[0, 1\)"),
        ({"column_noise": -0.5}, r"column-noise in \[0, 1\)"),
    ],
)
def test_shortcut_config__out_of_range__names_option_and_range(options: dict[str, object], expected: str) -> None:
    with pytest.raises(OptionError, match=expected):
        ShortcutConfig(**options)
