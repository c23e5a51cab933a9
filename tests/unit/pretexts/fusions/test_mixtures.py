"""The baselines of attention: what each makes of the encoders' features."""

import math

import pytest
import torch
from torch import nn

from auxo.errors import DataError, OptionError
from auxo.options import find_member, list_members
from auxo.pretexts.fusions import EncoderShapes, FusionConfig, FusionStep
from auxo.pretexts.fusions.best_single import BestSingle
from auxo.pretexts.fusions.channel_gate import ChannelGate
from auxo.pretexts.fusions.concatenation import Concatenation
from auxo.pretexts.fusions.feature_matching import FeatureMatching
from auxo.pretexts.fusions.learned_scalar import LearnedScalar
from auxo.pretexts.fusions.logit_ensemble import LogitEnsemble
from auxo.pretexts.fusions.mean import Mean
from auxo.pretexts.fusions.relation_distillation import RelationDistillation
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

SHAPES = EncoderShapes(("one", "two"), ((3,), (5,)), 4, 6, seed=0)
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
PLAIN = {"norm": False}


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(7, total, generator=generator) for total in SHAPES.totals]


class Logits(nn.Module):
    def __init__(self, fusion):
        super().__init__()
        self.fusion = fusion

    def forward(self, parts, own):
        return self.fusion(parts, own).logits


def project(fusion, parts):
    return [layer(part) for layer, part in zip(fusion.projections[0].linear.values(), parts, strict=True)]


def test_mean__without_norm__is_the_mean_of_the_projections(parts):
    fusion = Mean.Config(**PLAIN).build(SHAPES)
    one, two = project(fusion, parts)
    torch.testing.assert_close(fusion(parts).logits, fusion.semantic((one + two) / 2))


def test_concatenation__without_norm__puts_the_projections_side_by_side(parts):
    fusion = Concatenation.Config(width=4, **PLAIN).build(SHAPES)
    torch.testing.assert_close(fusion(parts).logits, fusion.semantic(torch.cat(project(fusion, parts), 1)))


def test_relu__behind_the_norm__leaves_no_negative_value(parts):
    assert Mean.Config(relu=True).build(SHAPES)(parts).values[0].min() == 0


def test_learned_scalar__negative_and_large__sums_up_and_tells_the_sizes(parts):
    fusion = LearnedScalar.Config(**PLAIN).build(SHAPES)
    with torch.no_grad():
        fusion.scalars.copy_(torch.tensor([[3.0, -1.0]]))
    one, two = project(fusion, parts)
    fused = fusion(parts)
    torch.testing.assert_close(fused.logits, fusion.semantic(3 * one - two))
    torch.testing.assert_close(fused.weights[0, 0], torch.tensor([0.75, 0.25]))


def test_channel_gate__by_hand__gates_every_channel_of_every_encoder(parts):
    fusion = ChannelGate.Config(reduction=2, **PLAIN).build(SHAPES)
    first, _, second, _ = fusion.gates[0]
    assert (first.out_features, second.out_features) == (2, 10)
    one, two = project(fusion, parts)
    gates = torch.sigmoid(second(torch.relu(first(torch.cat([one, two], 1)))))
    fused = fusion(parts)
    torch.testing.assert_close(fused.logits, fusion.semantic(gates[:, :5] * one + gates[:, 5:] * two))
    torch.testing.assert_close(fused.weights[:, 0, 0], gates[:, :5].sum(1) / gates.sum(1))


def test_logit_ensemble__two_heads__predicts_their_mean_probability_and_trains_each(parts):
    fusion = LogitEnsemble.Config().build(SHAPES)
    fused = fusion(parts)
    each = [head(part) for head, part in zip(fusion.heads.values(), parts, strict=True)]
    torch.testing.assert_close(fused.logits.exp(), (each[0].softmax(1) + each[1].softmax(1)) / 2)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(fused.learning, each, strict=True))


def test_best_single__one_encoder_knows_the_class__is_chosen_and_predicts_alone():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 4
    parts = [torch.randn(40, 3, generator=generator), torch.randn(40, 5, generator=generator)]
    parts[1][:, :4] += 5 * torch.nn.functional.one_hot(labels, 4)
    fusion = BestSingle.Config().build(SHAPES)
    found = fusion.prepare(parts, labels, generator=generator)
    assert found["chosen"] == 1
    assert found["scores"][1] > 0.9 > 0.6 > found["scores"][0]
    fusion.chosen.copy_(found["chosen"])
    fused = fusion(parts)
    assert torch.equal(fused.logits, fused.learning[1])
    assert torch.equal(fused.weights, torch.tensor([0.0, 1.0]).expand(40, 1, 2))


def test_best_single__named__is_the_only_one(parts):
    fused = BestSingle.Config(encoder="two").build(SHAPES)(parts)
    assert torch.equal(fused.logits, fused.learning[0])
    assert fused.weights[0, 0].tolist() == [0, 1]


def test_best_single__unknown_name_or_a_class_of_one_image__is_refused(parts):
    with pytest.raises(OptionError, match=r"encoder one of one, two, got 'three'"):
        BestSingle.Config(encoder="three").build(SHAPES)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    with pytest.raises(DataError, match="two training images or more of every class to choose an encoder, got 1"):
        BestSingle.Config().build(SHAPES).prepare(parts, labels, generator=torch.Generator())


def take_step(parts, own):
    return FusionStep(parts, own, Batch(torch.empty(7, 0, 0, 0), {}, torch.arange(7)), RUNTIME)


@pytest.mark.parametrize("weighting", ["equal", "uncertainty"])
def test_feature_matching__by_hand__squared_errors_of_linear_regressors(parts, weighting):
    fusion = FeatureMatching.Config(strength=3.0, weighting=weighting).build(SHAPES)
    own = torch.randn(7, 6)
    regressors = fusion.regressors.values()
    errors = [(layer(own) - part).square().mean() for layer, part in zip(regressors, parts, strict=True)]
    expected = errors[0] + errors[1]
    if weighting == "uncertainty":
        with torch.no_grad():
            fusion.noises.copy_(torch.tensor([0.5, -1.0]))
        expected = math.exp(-0.5) * errors[0] + 0.5 + math.exp(1.0) * errors[1] - 1.0
    loss = fusion.further_losses(fusion((), own), take_step(parts, own))["matching_loss"]
    torch.testing.assert_close(loss, 3.0 * expected / 2)


def test_relation_distillation__by_hand__squared_differences_of_cosines(parts):
    fusion, own = RelationDistillation.Config().build(SHAPES), torch.randn(7, 6)
    loss = fusion.further_losses(fusion((), own), take_step(parts, own))["matching_loss"]
    total = 0.0
    for part in parts:
        for i in range(7):
            for j in range(7):
                ours = torch.cosine_similarity(own[i], own[j], dim=0)
                total += (ours - torch.cosine_similarity(part[i], part[j], dim=0)).square() / 49
    torch.testing.assert_close(loss, total / 2)


def test_matching__prediction__needs_the_run_s_own_network_and_no_encoder():
    fusion, own = FeatureMatching.Config().build(SHAPES), torch.randn(7, 6)
    torch.testing.assert_close(fusion((), own).logits, fusion.semantic(own))
    with pytest.raises(ValueError, match="features of the run's own network"):
        fusion((), None)


@pytest.mark.parametrize(
    "name", ["attention", "channel_gate", "concatenation", "learned_scalar", "logit_ensemble", "mean"]
)
def test_first_weights__of_an_encoder__do_not_change_when_another_joins(name):
    alone = find_member(FusionConfig, name)().build(SHAPES)
    joined = find_member(FusionConfig, name)().build(
        EncoderShapes(("one", "two", "random_1"), ((3,), (5,), (4,)), 4, 6, 0)
    )
    ours, theirs = alone.state_dict(), joined.state_dict()
    own = [key for key in ours if ".one." in key or ".two." in key]
    assert own
    assert all(torch.equal(ours[key], theirs[key]) for key in own)


@pytest.mark.parametrize("name", list_members(FusionConfig))
def test_export__of_every_fusion__takes_batches_of_any_size(name, parts):
    fusion, own = find_member(FusionConfig, name)().build(SHAPES).eval(), torch.randn(7, 6)
    batch = torch.export.Dim("batch")
    inputs = (tuple(parts), own)
    shapes = (tuple({0: batch} for _ in parts), {0: batch})
    exported = torch.export.export(Logits(fusion), inputs, dynamic_shapes=shapes).module()
    fewer = (tuple(part[:3] for part in parts), own[:3])
    torch.testing.assert_close(exported(*fewer), fusion(*fewer).logits)
