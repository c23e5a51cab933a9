"""FixMatch: what its options do, what it never reads, and what it becomes when its own idea is switched off."""

import math
from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig, load_splits
from auxo.errors import ConfigError
from auxo.gates.uniform import UniformGate
from auxo.interfaces import TrainState, View
from auxo.methods.fixmatch import FixMatch, cifar10_released, recipe
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GatedPretextsConfig
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Normalisation

TASK = Classification(class_names=("a", "b", "c"), channels=3, height=28, width=28)
TASKS = ("flip", "lorot", "channel_shuffle")
PRETEXTS = GatedPretextsConfig(tasks=TASKS, gate=UniformGate.Config())
PLAIN = OptimizerConfig(lr=0.05, momentum=0.0, nesterov=False, weight_decay=0.0)


def runtime():
    config = RuntimeConfig(device="cpu", precision="float32", channels_last=False)
    return Runtime(config=config, device=torch.device("cpu"))


def make(config, backbone="lenet5", seed=0):
    method = config.build(Networks(BackboneConfig(name=backbone), TASK, seed=seed)).double().train()
    return method, TrainState(method.optimizers(), seed=seed)


def make_batches(labelled=4, unlabelled=8, seed=0, num_processes=1):
    generator = torch.Generator().manual_seed(seed)
    normalisation = Normalisation(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))

    def batch(count, labels):
        images = torch.rand(count, 3, 28, 28, generator=generator, dtype=torch.float64)
        return Batch(
            images, {"label": labels}, torch.arange(count), num_processes=num_processes, normalisation=normalisation
        )

    none = torch.full((unlabelled,), -1)
    labels = torch.randint(3, (labelled,), generator=generator)
    return {"train": batch(labelled, labels), "weak": batch(unlabelled, none), "strong": batch(unlabelled, none)}


def steps(config, count=2, backbone="lenet5", change=lambda batches: batches):
    """Take steps and return the state of the method and the last metrics."""
    method, state = make(config, backbone)
    for step in range(count):
        metrics = method.update(state, change(make_batches(seed=step)), runtime())
        state.step += 1
    return method.state_dict(), metrics


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, r"threshold in \[0, 1\], got 1.5"),
        ({"threshold": float("nan")}, r"threshold in \[0, 1\], got nan"),
        ({"unlabelled_weight": -1.0}, "unlabelled-weight >= 0, got -1.0"),
        ({"unlabelled_weight": math.inf}, "unlabelled-weight >= 0 and finite, got inf"),
        ({"ratio": 0}, "ratio >= 1, got 0"),
        ({"ema_decay": 1.0}, r"ema-decay in \[0, 1\), got 1.0"),
        ({"transform_pseudo_labels": True}, "pretexts for transform-pseudo-labels, got none"),
    ],
)
def test_config__option_out_of_range__is_refused_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        FixMatch.Config(**options)
    assert "\n" not in str(error.value)


def test_required_views__ratio__is_of_both_unlabelled_views():
    views = FixMatch.Config(ratio=3).required_views()
    strong = View("unlabelled", augment="strong", ratio=3)
    assert views == {"train": View(), "weak": View("unlabelled", ratio=3), "strong": strong}
    assert FixMatch.Config.tiny().required_views()["weak"].ratio == 1


@pytest.mark.parametrize("config", [FixMatch.Config(threshold=0.0), FixMatch.Config(threshold=0.0, pretexts=PRETEXTS)])
def test_update__labels_of_unlabelled_images__are_never_read(config):
    def scrambled(batches):
        labels = torch.randint(1000, (8,), generator=torch.Generator().manual_seed(9))
        others = {name: replace(batches[name], targets={"label": labels}) for name in ("weak", "strong")}
        return {**batches, **others}

    ours, theirs = steps(config), steps(config, change=scrambled)
    assert_equal(ours[0], theirs[0])
    assert_equal(dict(ours[1]), dict(theirs[1]))


def test_update__weak_views__get_no_gradient_and_strong_ones_do():
    method, state = make(FixMatch.Config(threshold=0.0, optimizer=PLAIN))
    batches = make_batches()
    for batch in batches.values():
        batch.images.requires_grad_()
    losses = []

    class Watch(Runtime):
        def step(self, optimizer, loss):
            losses.append(torch.autograd.grad(loss, [batch.images for batch in batches.values()], retain_graph=True))
            super().step(optimizer, loss)

    method.update(state, batches, Watch(config=runtime().config, device=torch.device("cpu")))
    ((on_labelled, on_weak, on_strong),) = losses
    assert on_weak.count_nonzero() == 0
    assert on_labelled.count_nonzero() > 0
    assert on_strong.count_nonzero() > 0


def test_update__no_answer_is_sure__is_supervised_training():
    ours, metrics = steps(FixMatch.Config(threshold=1.0, optimizer=PLAIN), count=3)
    theirs, _ = steps(Supervised.Config(optimizer=PLAIN), count=3)
    assert float(metrics["mask_rate"]) == 0
    assert float(metrics["unlabelled_loss"]) == 0
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-12, atol=1e-14)


def test_update__pretexts__are_measured_on_the_images_of_all_three_views():
    config = FixMatch.Config(unlabelled_weight=0.0, pretexts=PRETEXTS, optimizer=PLAIN)
    method, state = make(config)
    batches = make_batches()
    metrics = method.update(state, batches, runtime())
    fresh, _ = make(config)
    losses = []
    for name, batch in batches.items():
        draws = state.draws(f"pretexts/{name}", batch)
        made = fresh.pretexts.make(batch.images, draws=draws, normalisation=batch.normalisation)
        features = fresh.backbone(made.inputs).pooled
        losses.append(fresh.pretexts.losses(features, made.targets, runtime=runtime()).detach())
    expected = torch.cat(losses).mean(0)
    ours = torch.stack([metrics[f"{name}_loss"] for name in fresh.pretexts.parts])
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_update__weak_views_as_they_are__give_the_pseudo_labels_unless_told_otherwise():
    """Only the answers to weak views differ, so with threshold 0 everything but the unlabelled loss is equal."""
    options = {"threshold": 0.0, "pretexts": PRETEXTS, "optimizer": PLAIN}
    _, clean = steps(FixMatch.Config(**options), count=1, backbone="resnet8")
    _, released = steps(FixMatch.Config(**options, transform_pseudo_labels=True), count=1, backbone="resnet8")
    assert clean.keys() == released.keys()
    differing = {name for name in clean if not torch.equal(clean[name], released[name])}
    assert differing <= {"unlabelled_loss"}

    batches = make_batches()
    method, state = make(FixMatch.Config(**options), "resnet8")
    with torch.no_grad():
        labels = method.semantic(method.backbone(batches["weak"].images).pooled).argmax(1)
        method, state = make(FixMatch.Config(**options), "resnet8")
        inputs = [
            method.pretexts.make(
                batch.images, draws=state.draws(f"pretexts/{name}", batch), normalisation=batch.normalisation
            ).inputs
            for name, batch in batches.items()
        ]
        strong = method.semantic(method.backbone(torch.cat(inputs)).pooled)[-8:]
    expected = torch.nn.functional.cross_entropy(strong, labels)
    torch.testing.assert_close(clean["unlabelled_loss"], expected, rtol=1e-10, atol=1e-12)


def test_update__pass_over_weak_views_as_they_are__leaves_running_statistics_alone():
    method, state = make(FixMatch.Config(pretexts=PRETEXTS), "resnet8")
    method.update(state, make_batches(), runtime())
    counts = [b for name, b in method.backbone.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(count) for count in counts} == {1}


def test_averaged__off__predicts_with_the_trained_weights():
    method, state = make(FixMatch.Config(ema_decay=0.0))
    method.update(state, make_batches(), runtime())
    method.eval()
    images = make_batches()["train"].images
    with torch.no_grad():
        assert torch.equal(method.predict(images), method.semantic(method.backbone(images).pooled))
    assert method.averaged is None
    assert method.frozen_parameters() == {}
    assert not any(name.startswith("averaged") for name in method.state_dict())


def test_averaged__first_step__is_the_trained_weights_wherever_they_began():
    """Weights that an earlier stage left in the trained network must not be averaged with random ones."""
    method, state = make(FixMatch.Config())
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.add_(1.0)
    method.update(state, make_batches(), runtime())
    final = method.state_dict()
    assert all(torch.equal(final[f"averaged.{name}"], final[name]) for name in final if not name.startswith("averaged"))


def test_pretext_heads__averaged__are_measured_on_the_averaged_network():
    method, state = make(FixMatch.Config(pretexts=PRETEXTS))
    for step in range(3):
        method.update(state, make_batches(seed=step), runtime())
        state.step += 1
    method.eval()
    images = make_batches()["train"].images
    heads = method.pretext_heads()
    assert set(heads) == set(TASKS)
    with torch.no_grad():
        for name, head in heads.items():
            expected = method.averaged.pretexts.heads[name](method.averaged.backbone(images).pooled)
            assert torch.equal(head.answer(images), expected)
    assert make(FixMatch.Config())[0].pretext_heads() == {}


def test_recipe__digits__has_250_labels_and_no_flips():
    config = recipe()
    assert config.data.augment == "crop"
    splits = load_splits(config.data, seed=0)
    assert splits.train.source.columns["label"].values.bincount().tolist() == [25] * 10
    assert len(splits.unlabelled.source) == 4000
    assert config.stages[0].method == FixMatch.Config(optimizer=config.stages[0].method.optimizer)


def test_cifar10_released__recipe__has_the_numbers_of_the_release():
    config = cifar10_released()
    (stage,) = config.stages
    method, optimizer = stage.method, stage.method.optimizer
    assert (stage.batch_size, method.ratio, method.threshold, method.unlabelled_weight) == (64, 7, 0.95, 1.0)
    assert (method.ema_decay, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.999, 0.03, 0.9, 5e-4)
    assert (optimizer.schedule, optimizer.moves, optimizer.decay_norms, optimizer.nesterov) == (
        "fixmatch",
        "step",
        False,
        True,
    )
    assert config.data == DataConfig(scenario="cifar10", num_labelled=4000, augment="crop_flip")
    assert 2**20 <= stage.epochs * math.ceil(4000 / 64) < 2**20 + 63
    assert config.backbone.name == "wrn_28_2_fixmatch"
