"""Attention over encoders: what it becomes at its limits, and its further losses."""

import math

import pytest
import torch
from torch.nn import functional

from auxo.errors import OptionError
from auxo.pretexts.fusions import EncoderShapes, FusionStep
from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.fusions.mean import Mean
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

NAMES, WIDTHS = ("one", "two", "three"), ((5,), (8,), (6,))
SHAPES = EncoderShapes(NAMES, WIDTHS, 4, 7, seed=0)
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


def draw_parts(count=6, shapes=SHAPES):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(count, total, generator=generator) for total in shapes.totals]


def shake(fusion):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return fusion


def build(**options):
    return shake(Attention.Config(**options).build(SHAPES))


@pytest.mark.parametrize("query", ["instance", "global", "static", "task_encoder"])
@pytest.mark.parametrize("heads", [1, 4])
def test_attention__any_query__shapes_and_weights_that_sum_to_one(query, heads):
    fused = build(query=query, heads=heads)(draw_parts(), torch.randn(6, 7))
    assert fused.logits.shape == (6, 4)
    assert fused.values[0].shape == (6, 3, 8)
    assert fused.vectors[0].shape == (6, 8)
    assert fused.weights.shape == (6, heads, 3)
    torch.testing.assert_close(fused.weights.sum(2), torch.ones(6, heads))


@pytest.mark.parametrize("query", ["instance", "global", "static"])
def test_attention__first_weights__count_all_encoders_alike(query):
    weights = Attention.Config(query=query).build(SHAPES)(draw_parts()).weights
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 3))


def test_attention__encoders_in_another_order_with_their_projections__permutes_weights_and_leaves_logits():
    fusion, parts = build(), draw_parts()
    order = [2, 0, 1]
    other = Attention.Config().build(
        EncoderShapes(tuple(NAMES[k] for k in order), tuple(WIDTHS[k] for k in order), 4, 7, seed=5)
    )
    other.load_state_dict(fusion.state_dict())
    ours, theirs = fusion(parts), other([parts[k] for k in order])
    torch.testing.assert_close(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.weights[:, :, order], theirs.weights)


def test_attention__one_encoder__is_a_linear_probe_of_its_normalised_projection():
    shapes = EncoderShapes(("one",), ((5,),), 4, 7, seed=0)
    fusion, (part,) = shake(Attention.Config().build(shapes)), draw_parts(shapes=shapes)
    fused = fusion([part])
    assert torch.equal(fused.weights, torch.ones(6, 1, 1))
    layer, norm = fusion.projections[0].linear["one"], fusion.projections[0].norms["one"]
    projected = functional.layer_norm(layer(part), (5,), norm.weight, norm.bias)
    torch.testing.assert_close(fused.logits, fusion.semantic(projected))


def test_attention__static__has_the_same_weights_for_all_images_and_global_has_not():
    assert torch.equal(*build(query="static")(draw_parts()).weights[:2])
    weights = build(query="global")(draw_parts()).weights
    assert not torch.allclose(weights[0], weights[1])


def test_attention__global_with_constant_values__has_the_same_weights_for_all_images():
    weights = build(query="global")([part[:1].expand(6, -1) for part in draw_parts()]).weights
    torch.testing.assert_close(weights, weights[:1].expand(6, -1, -1))


def test_attention__global__is_the_instance_query_whose_matrix_is_zero():
    fusion, other = build(), Attention.Config(query="global").build(SHAPES)
    with torch.no_grad():
        fusion.scores[0].query.weight.zero_()
    other.load_state_dict({name: t for name, t in fusion.state_dict().items() if ".query." not in name})
    torch.testing.assert_close(fusion(draw_parts()).logits, other(draw_parts()).logits)


def test_attention__low_temperature__selects_one_encoder():
    fused = build(temperature=1e-6)(draw_parts())
    chosen = fused.weights[:, 0].argmax(1)
    torch.testing.assert_close(fused.vectors[0], fused.values[0][torch.arange(6), chosen])


def test_attention__high_temperature__is_the_mean():
    fusion, mean = build(temperature=1e9), Mean.Config().build(SHAPES)
    mean.load_state_dict({name: t for name, t in fusion.state_dict().items() if not name.startswith("scores")})
    torch.testing.assert_close(fusion(draw_parts()).logits, mean(draw_parts()).logits)


def test_attention__two_levels__are_two_attentions_side_by_side():
    shapes = EncoderShapes(NAMES, ((5, 2), (8, 3), (6, 4)), 4, 7, seed=0)
    fusion, parts = shake(Attention.Config(heads=2).build(shapes)), draw_parts(shapes=shapes)
    fused = fusion(parts)
    assert [vector.shape for vector in fused.vectors] == [(6, 8), (6, 4)]
    assert fused.weights.shape == (6, 4, 3)
    changed = [
        torch.cat([part[:, : widths[0]], torch.zeros(6, widths[1])], 1)
        for part, widths in zip(parts, shapes.widths, strict=True)
    ]
    again = fusion(changed)
    assert torch.equal(again.vectors[0], fused.vectors[0])
    assert not torch.equal(again.vectors[1], fused.vectors[1])


def test_heads__that_do_not_divide_the_width__are_refused():
    with pytest.raises(OptionError, match="heads that divides the width 8, got 3"):
        Attention.Config(heads=3).build(SHAPES)


def test_further_losses__by_hand__entropy_of_the_mean_weights_and_distance_to_the_values():
    fusion, parts = build(entropy_bonus=0.5, match=2.0), draw_parts()
    fused = fusion(parts)
    step = FusionStep(parts, None, Batch(torch.empty(6, 0, 0, 0), {}, torch.arange(6)), RUNTIME)
    losses = fusion.further_losses(fused, step)
    mean = fused.weights.mean((0, 1)).tolist()
    assert losses["entropy_loss"].item() == pytest.approx(0.5 * sum(p * math.log(p) for p in mean), rel=1e-5)
    distances = [(fused.vectors[0] - fused.values[0][:, k]).square().mean().item() for k in range(3)]
    expected = 2.0 * sum(p * d for p, d in zip(mean, distances, strict=True))
    assert losses["match_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_further_losses__without_weights__are_none():
    fusion, parts = build(), draw_parts()
    step = FusionStep(parts, None, Batch(torch.empty(6, 0, 0, 0), {}, torch.arange(6)), RUNTIME)
    assert fusion.further_losses(fusion(parts), step) == {}
