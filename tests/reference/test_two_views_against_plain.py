"""auxo's losses on two views against the plain renderings of the papers, in float64."""

import pytest
import torch
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.interfaces import PretextConfig
from auxo.options import find_member
from auxo.pretexts import Pair
from auxo.pretexts.barlow_twins import redundancy_loss
from auxo.pretexts.byol import BYOL, prediction_losses
from auxo.pretexts.simclr import nt_xent_loss
from auxo.pretexts.vicreg import vicreg_loss
from auxo.tasks import Classification

from .two_views_plain import barlow_twins, byol, nt_xent, target_after, vicreg

SIZES = [(2, 3), (5, 4), (9, 2)]
VICREG = ("invariance_weight", "variance_weight", "covariance_weight")


def views(count, size, scale=1.0, seed=0):
    """Two views of the same images, alike in part."""
    generator = torch.Generator().manual_seed(seed)
    common, *own = (torch.randn(count, size, generator=generator, dtype=torch.float64) for _ in range(3))
    return [scale * (common + 0.3 * part) + 0.5 for part in own]


def agree(ours, plain):
    assert ours.item() == pytest.approx(plain, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize(("count", "size"), SIZES)
def test_nt_xent__any_batch__is_the_sum_over_pairs(count, size, temperature):
    first, second = views(count, size)
    agree(nt_xent_loss(first, second, temperature=temperature), nt_xent(first.tolist(), second.tolist(), temperature))


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_byol__any_batch__is_the_distance_of_unit_vectors_in_both_directions(count, size):
    predictions, targets = views(count, size), views(count, size, seed=1)
    ours = prediction_losses(predictions[0], targets[1]) + prediction_losses(predictions[1], targets[0])
    agree(ours.mean(), byol(*(rows.tolist() for rows in (*predictions, *targets))))


@pytest.mark.parametrize("weight", [0.005, 1.0])
@pytest.mark.parametrize(("count", "size"), SIZES)
def test_barlow_twins__any_batch__is_the_distance_of_the_correlations_from_the_identity(count, size, weight):
    first, second = views(count, size)
    plain = barlow_twins(first.tolist(), second.tolist(), weight, epsilon=1e-5)
    agree(redundancy_loss(first, second, off_diagonal_weight=weight), plain)


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("scale", [0.2, 1.0])  # below and above the hinge
def test_vicreg__any_batch__is_the_sum_of_three_terms(weights, scale):
    first, second = views(6, 3, scale)
    plain = vicreg(first.tolist(), second.tolist(), weights)
    assert plain > 0
    agree(vicreg_loss(first, second, **dict(zip(VICREG, weights, strict=True))), plain)


def network(images, weights):
    """A projector by hand: linear, batch norm over the batch, ReLU, twice, and a last linear layer."""
    rows = images
    for number, weight in enumerate(weights):
        rows = rows @ weight.T
        if number < len(weights) - 1:
            rows = torch.relu((rows - rows.mean(0)) / torch.sqrt(rows.var(0, correction=0) + 1e-5))
    return rows


@pytest.mark.parametrize("name", ["simclr", "byol", "barlow_twins", "vicreg"])
def test_forward__whole_pretext__is_the_plain_loss_of_each_view_on_its_own(name):
    backbone = BackboneConfig(name="resnet8").build(Classification(("a", "b"), 1, 8, 8), seed=0).double()
    pretext = find_member(PretextConfig, name)(hidden=6, outputs=4).build(backbone, seed=0).double()
    generator = torch.Generator().manual_seed(0)
    pair = Pair(*(torch.randn(5, 1, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2)))
    linear = [layer.weight for layer in pretext.projector if isinstance(layer, torch.nn.Linear)]
    rows = [network(backbone(view).pooled, linear) for view in (pair.first, pair.second)]
    lists = [view.tolist() for view in rows]
    if name == "simclr":
        plain = nt_xent(*lists, 0.5)
    elif name == "barlow_twins":
        plain = barlow_twins(*lists, 0.005, 1e-5)
    elif name == "vicreg":
        plain = vicreg(*lists, (25.0, 25.0, 1.0))
    else:
        predictor = [layer.weight for layer in pretext.predictor if isinstance(layer, torch.nn.Linear)]
        plain = byol(*(network(view, predictor).tolist() for view in rows), *lists)  # the target starts as a copy
    result = pretext(backbone, pair)
    agree(result.loss, plain)
    torch.testing.assert_close(result.embeddings, rows[0].detach(), rtol=0, atol=1e-12)


def test_follow__steps_of_training__target_is_the_plain_moving_average():
    backbone = BackboneConfig(name="resnet8").build(Classification(("a", "b"), 1, 8, 8), seed=0).double()
    pretext = BYOL.Config(hidden=3, outputs=2).build(backbone, seed=0).double()
    online, target = backbone.convolution.weight, pretext.target_backbone.convolution.weight
    plain = online[0, 0, 0, 0].item()
    for step in range(4):
        with torch.no_grad():
            online.add_(functional.one_hot(torch.tensor(0), 3))
        pretext.follow(backbone, progress=step / 4)
        plain = target_after(plain, online[0, 0, 0, 0].item(), 0.996, step, 4)
        assert target[0, 0, 0, 0].item() == pytest.approx(plain, abs=1e-12)
    assert target[0, 0, 0, 0].item() != online[0, 0, 0, 0].item()
