"""Segmentation alone: what a step does to which weights, and what each option is for."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError
from auxo.interfaces import TrainState, View
from auxo.layers.decoders.linear import Linear
from auxo.layers.decoders.unet import UNet
from auxo.losses import PixelLossConfig
from auxo.methods.segmenter import Segmenter
from auxo.optimizers import OptimizerConfig
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Segmentation
from auxo.types import MASK, Batch

TASK = Segmentation(("sky", "road", "tree"), 3, 16, 12, pixel_counts=(60, 30, 10))
RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
PLAIN = OptimizerConfig(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant")


def make(config, *, backbone="conv4", task=TASK):
    method = config.build(Networks(BackboneConfig(name=backbone), task, seed=0)).train()
    return method, TrainState(method.optimizers())


def draw_batch(count=4):
    generator = torch.Generator().manual_seed(1)
    masks = torch.randint(3, (count, 16, 12), generator=generator).to(torch.uint8)
    masks[:, :2] = 255
    return Batch(torch.randn(count, 3, 16, 12, generator=generator), {MASK: masks}, torch.arange(count))


def test_update__one_step__is_a_gradient_step_on_the_mean_cross_entropy_of_known_pixels():
    method, state = make(Segmenter.Config(optimizer=PLAIN))
    batch = draw_batch()
    features = method.decoder(method.backbone(batch.images).maps)
    logits = functional.interpolate(method.classifier(features), size=(16, 12), mode="bilinear")
    masks = batch.targets[MASK].long()
    expected = functional.cross_entropy(logits, masks, ignore_index=255)
    before = {name: value.detach().clone() for name, value in method.named_parameters()}
    gradients = torch.autograd.grad(expected, [*method.parameters()])
    metrics = method.update(state, {"train": batch}, RUNTIME)
    assert metrics["segmentation_loss"].item() == pytest.approx(expected.item(), abs=1e-6)
    for (name, value), gradient in zip(method.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(value.detach(), before[name] - 0.1 * gradient, atol=1e-5, rtol=1e-4)


def test_update__rates_of_parts__scale_the_steps():
    config = Segmenter.Config(optimizer=PLAIN, backbone_rate=0.1, decoder_rate=0.5, classifier_rate=10.0)
    starts = {}
    for name, chosen in (("whole", Segmenter.Config(optimizer=PLAIN)), ("parts", config)):
        method, state = make(chosen)
        before = {key: value.detach().clone() for key, value in method.named_parameters()}
        method.update(state, {"train": draw_batch()}, RUNTIME)
        starts[name] = {key: value.detach() - before[key] for key, value in method.named_parameters()}
    rates = {"backbone": 0.1, "decoder": 0.5, "classifier": 10.0}
    for key, step in starts["whole"].items():
        torch.testing.assert_close(starts["parts"][key], rates[key.partition(".")[0]] * step, atol=1e-6, rtol=1e-2)


def test_optimizers__rate_of_a_part__scales_the_rate_that_a_cosine_ends_at():
    optimizer = OptimizerConfig(lr=0.2, minimum_lr=0.02, schedule="cosine")
    config = Segmenter.Config(optimizer=optimizer, backbone_rate=0.1)
    optimizers = make(config)[1].optimizers
    ends = {}
    for name, each in optimizers.items():
        schedule = config.schedule(name).build_schedule(each, num_epochs=2)
        first = schedule.get_last_lr()[0]
        for _ in range(2):
            each.step()
            schedule.step()
        ends[name] = (first, schedule.get_last_lr()[0])
    assert ends["backbone"] == pytest.approx((0.02, 0.002))
    assert ends["decoder"] == pytest.approx((0.2, 0.02))


def test_update__classes_and_dice__are_those_of_the_pixel_loss():
    config = Segmenter.Config(loss=PixelLossConfig(class_weights="inverse_frequency", dice=2.0))
    method, state = make(config)
    batch = draw_batch()
    with torch.no_grad():
        logits = method.head_logits(batch.images)["semantic"]
    expected = config.loss.build(TASK.class_names, pixel_counts=TASK.pixel_counts)(
        logits, batch.targets[MASK], runtime=RUNTIME
    )
    found = method.update(state, {"train": batch}, RUNTIME)["segmentation_loss"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    plain, state = make(Segmenter.Config())
    assert plain.update(state, {"train": batch}, RUNTIME)["segmentation_loss"].item() != pytest.approx(found.item())


@pytest.mark.parametrize("size", [(16, 12), (33, 21), (8, 8)])
def test_head_logits__any_size__have_a_logit_of_every_class_for_every_pixel(size):
    method, _ = make(Segmenter.Config())
    with torch.inference_mode():
        logits = method.eval().head_logits(torch.rand(2, 3, *size))
    assert [*logits] == ["semantic"]
    assert logits["semantic"].shape == (2, 3, *size)


def test_required_views__retint__is_the_views_augmentation():
    assert Segmenter.Config().required_views() == {"train": View()}
    assert Segmenter.Config(retint=True).required_views() == {"train": View(augment="retint")}


def test_frozen_parameters__maps_that_the_decoder_does_not_read__are_those_behind_it():
    method, _ = make(Segmenter.Config(decoder=Linear.Config(map="stage1")))
    frozen = method.frozen_parameters()
    assert {name.split(".")[1] for name in frozen} == {"stage2", "stage3"}
    assert make(Segmenter.Config(decoder=UNet.Config()))[0].frozen_parameters() == {}
    assert method.training


def test_build__task_or_backbone_that_has_no_pixels__is_refused_in_one_line():
    classes = Classification(("a", "b"), 3, 28, 28)
    with pytest.raises(ConfigError, match="the task Segmentation, got Classification"):
        make(Segmenter.Config(), task=classes)
    with pytest.raises(ConfigError, match="a task that Segmenter serves, Segmentation, got Classification"):
        Segmenter.Config().check_task(Classification)
    with pytest.raises(ConfigError, match="maps that lie over the whole image"):
        make(Segmenter.Config(), backbone="lenet5", task=replace(TASK, height=28, width=28))
