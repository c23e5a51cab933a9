"""The loss of a class head: weighted means, deferred weights, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from auxo.errors import ConfigError
from auxo.losses import LDAM, CrossEntropy, Focal, cross_entropy_losses
from auxo.options import choose_member
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
DRW = CrossEntropy(class_weights="effective_number")
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


@pytest.fixture
def outputs():
    return torch.rand(12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


@pytest.fixture
def labels():
    return torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 3, 5, 8, 9])


def part(labels, first, last, num_processes=1):
    """Images ``first`` to ``last`` of the joined batch, as one of several processes holds them."""
    own = labels[first:last]
    images = torch.zeros(len(own), 3, 2, 2)
    return Batch(images, {"label": own}, torch.arange(first, last), first, len(labels), num_processes)


def test_class_loss__default__is_cross_entropy_to_the_bit(outputs, labels):
    loss = CrossEntropy().build(())
    assert torch.equal(loss(outputs.float(), labels, progress=0.9), cross_entropy_losses(outputs.float(), labels))
    assert loss.logits(outputs) is outputs


def test_class_loss__before_reweight_after__weights_are_one(outputs, labels):
    loss = DRW.build(COUNTS)
    just_before = math.nextafter(0.8, 0)
    assert loss.weights(labels, progress=0.0) is None
    assert loss.weights(labels, progress=just_before) is None
    assert torch.equal(loss(outputs, labels, progress=just_before), cross_entropy_losses(outputs, labels))


def test_class_loss__from_reweight_after_on__weights_are_those_of_the_classes(labels):
    loss = DRW.build(COUNTS)
    for progress in (0.8, 160 * 97 / (200 * 97), 0.999):  # the first step of epoch 160 of 200 is exactly 0.8
        weights = loss.weights(labels, progress=progress)
        assert [round(weights[i].item(), 4) for i in (0, -1)] == [0.0506, 3.9927]
    loss = CrossEntropy(class_weights="effective_number", reweight_after=0.0).build(COUNTS)
    assert loss.weights(labels, progress=0.0) is not None


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 97])
def test_class_loss__every_step_of_200_epochs__is_weighted_from_epoch_160_on(steps_per_epoch):
    loss, label = DRW.build(COUNTS), torch.tensor([0])
    total = 200 * steps_per_epoch
    weighted = [loss.weights(label, progress=step / total) is not None for step in range(total)]
    assert weighted == [step // steps_per_epoch >= 160 for step in range(total)]


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_class_loss__weighted_cross_entropy__is_torchs_weighted_mean(outputs, labels, head):
    loss = DRW.build(COUNTS, head=head)
    weights = loss.weights(torch.arange(10), progress=0.9, dtype=torch.float64)
    ours = loss.mean(outputs, part(labels, 0, 12), progress=0.9, runtime=RUNTIME)
    scaled = outputs * (30 if head == "cosine" else 1)
    assert ours.item() == pytest.approx(functional.cross_entropy(scaled, labels, weight=weights).item(), rel=1e-12)


def test_class_loss__weighted_ldam__is_torchs_weighted_mean_of_handicapped_logits(outputs, labels):
    loss = choose_member(DRW, "ldam").build(COUNTS, head="cosine")
    weights = loss.weights(torch.arange(10), progress=0.9, dtype=torch.float64)
    handicapped = outputs.clone()
    for row, label in enumerate(labels.tolist()):
        handicapped[row, label] -= 0.5 * (50 / COUNTS[label]) ** 0.25
    expected = functional.cross_entropy(30 * handicapped, labels, weight=weights)
    ours = part(labels, 0, 12).mean(loss(outputs, labels, progress=0.9))
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)


def test_class_loss__weighted_focal__divides_by_the_samples(outputs, labels):
    loss = Focal(class_weights="effective_number", gamma=2.0).build(COUNTS)
    weights = loss.weights(labels, progress=0.9, dtype=torch.float64)
    own = outputs.softmax(1)[torch.arange(12), labels]
    expected = -(weights * (1 - own) ** 2 * own.log()).mean()
    ours = loss.mean(outputs, part(labels, 0, 12), progress=0.9, runtime=RUNTIME)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_class_loss__focal_with_weights_inside__is_the_released_form(outputs, labels, gamma):
    """Rendered from the released code: the weighted cross-entropy is what is focused, and the plain mean is taken."""
    loss = Focal(class_weights="effective_number", gamma=gamma, weights_inside=True).build(COUNTS)
    effective = torch.tensor([(1 - 0.9999**count) / (1 - 0.9999) for count in COUNTS], dtype=torch.float64)
    weights = len(COUNTS) / effective / (1 / effective).sum()
    weighted = functional.cross_entropy(outputs, labels, weight=weights, reduction="none")
    expected = ((1 - torch.exp(-weighted)) ** gamma * weighted).mean()
    ours = loss.mean(outputs, part(labels, 0, 12), progress=0.9, runtime=RUNTIME)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)
    before = loss.mean(outputs, part(labels, 0, 12), progress=0.1, runtime=RUNTIME)
    plain = Focal(gamma=gamma).build(COUNTS).mean(outputs, part(labels, 0, 12), progress=0.1, runtime=RUNTIME)
    assert before.item() == plain.item()
    in_front = replace(loss.config, weights_inside=False).build(COUNTS)
    other = in_front.mean(outputs, part(labels, 0, 12), progress=0.9, runtime=RUNTIME)
    assert (abs(other / ours - 1) > 0.01) == (gamma > 0)


def test_class_loss__two_parts_that_know_the_joined_mean_weight__average_to_the_whole(outputs, labels):
    loss = DRW.build(COUNTS)
    parts = [part(labels, 0, 5, 2), part(labels, 5, 12, 2)]
    mean_weight = sum(p.mean(loss.weights(p.labels, progress=0.9, dtype=torch.float64)) for p in parts) / 2
    both = [
        p.mean(loss(outputs[p.first : p.first + len(p)], p.labels, progress=0.9, mean_weight=mean_weight))
        for p in parts
    ]
    whole = loss.mean(outputs, part(labels, 0, 12), progress=0.9, runtime=RUNTIME)
    assert (sum(both) / 2).item() == pytest.approx(whole.item(), rel=1e-12)


def test_class_loss__joined__are_the_losses_whose_mean_is_the_published_one(outputs, labels):
    loss = DRW.build(COUNTS)
    joined = loss.joined(outputs, part(labels, 0, 12), progress=0.9, runtime=RUNTIME)
    weights = loss.weights(torch.arange(10), progress=0.9, dtype=torch.float64)
    assert joined.shape == (12,)
    assert joined.mean().item() == pytest.approx(functional.cross_entropy(outputs, labels, weight=weights).item())


def test_class_loss__cosine_head__scales_logits_for_evaluation(outputs):
    assert torch.equal(LDAM().build(COUNTS, head="cosine").logits(outputs), 30.0 * outputs)


@pytest.mark.parametrize("progress", [0.0, 0.9])
@pytest.mark.parametrize("name", ["cross_entropy", "ldam", "focal"])
def test_class_loss__every_kind__has_the_gradient_of_finite_differences(outputs, labels, name, progress):
    loss = choose_member(DRW, name).build(COUNTS, head="cosine" if name == "ldam" else "linear")
    z = outputs[:4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, labels[:4], progress=progress), z)


def test_class_loss__made_ready_without_gradients__still_trains(outputs, labels):
    loss = choose_member(DRW, "ldam").build(COUNTS, head="cosine")
    with torch.inference_mode():
        loss(outputs, labels, progress=0.9)
    z = outputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(z, labels, progress=0.9).sum(), z)
    assert gradient.abs().max() > 0


def test_build__ldam_on_a_linear_head__is_refused():
    with pytest.raises(ConfigError, match=r"a cosine head with the loss ldam, got a linear one: pass --method\.head"):
        LDAM().build(COUNTS)


@pytest.mark.parametrize(("config", "what"), [(LDAM(), "the loss ldam"), (DRW, "class weights")])
def test_build__counts_unknown_or_zero__is_refused_where_they_are_needed(config, what):
    with pytest.raises(ConfigError, match=f"training images per class for {what}, got none"):
        config.build((), head="cosine")
    with pytest.raises(ConfigError, match=f"training images of every class for {what}, got none of class 3"):
        config.build((5, 5, 5, 0, 5, 5, 5, 5, 5, 5), head="cosine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, r"scale > 0"),
        ({"scale": math.inf}, r"scale > 0"),
        ({"beta": 1.0}, r"beta in \[0, 1\)"),
        ({"beta": math.nan}, r"beta in \[0, 1\)"),
        ({"reweight_after": 1.0}, r"reweight-after in \[0, 1\)"),
    ],
)
def test_config__value_out_of_range__is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        CrossEntropy(**options)


def test_config__value_of_one_loss_out_of_range__is_refused():
    with pytest.raises(ConfigError, match=r"max-margin in \[0, 2\], got 2\.5"):
        LDAM(max_margin=2.5)
    with pytest.raises(ConfigError, match="gamma >= 0, got -1"):
        Focal(gamma=-1.0)


@pytest.mark.parametrize("config", [LDAM(), Focal()])
def test_build__smoothing_of_a_loss_without_such_a_form__is_refused(config):
    with pytest.raises(ConfigError, match=r"smoothing 0 of labels, got 0.1: leave it out: .* has no smoothed form"):
        config.build(COUNTS, head="cosine" if config.needs_cosines else "linear", smoothing=0.1)
