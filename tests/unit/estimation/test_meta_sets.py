"""Meta sets: the same for the same seed, and nothing but a change of pixels."""

import pytest
import torch

from auxo.data.fake import oriented_shapes
from auxo.errors import ShapeError
from auxo.estimation import FAMILIES, MetaSet, Step, corrupted_sets, draw_meta_sets, render
from auxo.estimation.meta_sets import _TRANSFORMATIONS

PICTURES = oriented_shapes(12, size=28, seed=0).images


def test_draw_meta_sets__first_set__is_the_pictures_as_they_are():
    first = draw_meta_sets(5, seed=0)[0]
    assert first == MetaSet(0, ())
    assert torch.equal(render(PICTURES, first, seed=0), PICTURES)


def test_draw_meta_sets__equal_seeds__equal_sets_whatever_their_number():
    assert draw_meta_sets(40, seed=3)[:20] == draw_meta_sets(20, seed=3)
    assert draw_meta_sets(20, seed=4) != draw_meta_sets(20, seed=3)


def test_draw_meta_sets__many__have_one_to_three_families_in_range_and_use_all():
    sets = draw_meta_sets(200, seed=0)[1:]
    assert {len(made.steps) for made in sets} == {1, 2, 3}
    assert {step.family for made in sets for step in made.steps} == {*FAMILIES}
    assert {step.name for made in sets for step in made.steps} == {*_TRANSFORMATIONS}
    for made in sets:
        assert len({step.family for step in made.steps}) == len(made.steps)
        for step in made.steps:
            known = _TRANSFORMATIONS[step.name]
            assert known.family == step.family
            assert known.low <= step.magnitude <= known.high


@pytest.mark.parametrize("name", sorted(_TRANSFORMATIONS))
def test_render__every_transformation__keeps_shape_type_and_order(name):
    known = _TRANSFORMATIONS[name]
    made = MetaSet(1, (Step(name, known.family, known.high),))
    changed = render(PICTURES, made, seed=0)
    assert (changed.dtype, changed.shape) == (torch.uint8, PICTURES.shape)
    assert torch.equal(changed, render(PICTURES, made, seed=0))
    if name != "Background":  # what draws nothing treats every image alone, so each stays in its place
        assert torch.equal(changed[4:5], render(PICTURES[4:5], made, seed=0))


def test_render__background__mixes_as_much_texture_as_the_magnitude_says():
    def at(magnitude):
        return render(PICTURES, MetaSet(2, (Step("Background", "background", magnitude),)), seed=0).double()

    clean, half, whole = PICTURES.double(), at(0.5), at(1.0)
    assert torch.allclose(half, (clean + whole) / 2, atol=1.0)
    assert not torch.equal(whole[0], whole[1])
    other = render(PICTURES, MetaSet(2, (Step("Background", "background", 1.0),)), seed=1)
    assert not torch.equal(whole, other.double())


@pytest.mark.parametrize(("magnitude", "expected"), [(1.0, (200, 140, 60)), (-1.0, (60, 140, 200)), (0.0, (200,) * 3)])
def test_render__temperature__weakens_the_other_end(magnitude, expected):
    grey = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    changed = render(grey, MetaSet(1, (Step("ColorTemperature", "temperature", magnitude),)), seed=0)
    assert changed[0, :, 0, 0].tolist() == list(expected)


def test_corrupted_sets__all__are_seventy_five_numbered_on():
    sets = corrupted_sets(10)
    assert [made.number for made in sets] == list(range(10, 85))
    assert {made.steps[0].family for made in sets} == {"noise", "blur", "weather", "digital"}
    noisy = next(made for made in sets if made.steps[0] == Step("gaussian_noise", "noise", 5.0))
    assert not torch.equal(render(PICTURES, noisy, seed=0), PICTURES)


def test_render__one_channel__shape_error():
    with pytest.raises(ShapeError, match="3 channels"):
        render(PICTURES[:, :1], draw_meta_sets(2, seed=0)[1], seed=0)
