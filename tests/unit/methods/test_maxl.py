"""MAXL: what each level moves, its order of steps, its baselines, its trial step, and what is refused."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.data.splits import TrainSplit
from auxo.errors import ConfigError
from auxo.evaluation.images import ImageReader
from auxo.interfaces import StageStart, TrainState
from auxo.layers.sub_classes import SubClasses
from auxo.methods import maxl
from auxo.methods.maxl import MAXL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.labelling import encode_images
from auxo.recipes.maxl import cifar100_released, relabelled
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Column

TINY = replace(MAXL.Config.tiny(), monitor_every=0)
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


def make(config):
    names = ("arrow", "l", "t", "wedge")
    task = Classification(class_names=names, channels=3, height=28, width=28, class_counts=(6, 6, 6, 6))
    return config.build(Networks(BackboneConfig(), task, seed=0)).train()


def make_batch(**targets):
    source = oriented_shapes(12, size=28, seed=5)
    labels = source.columns["label"].values.clamp(max=3)
    return Batch(source.images.float() / 127.5 - 1, {"label": labels, **targets}, torch.arange(12))


def step(method, kind):
    """The names of the parameters that a step moves."""
    before = {name: value.detach().clone() for name, value in method.named_parameters()}
    state = TrainState(method.optimizers(), kind=kind)
    first = make_batch(sub_class=torch.arange(12) % 8)
    method.update(state, {"train": first, "second": make_batch(), "outer": make_batch()}, RUNTIME)
    return {name for name, value in method.named_parameters() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("way", ["forward", "second_order", "finite_difference", "first_order_released"])
def test_levels__each_step__leaves_the_other_level_to_the_bit(way):
    config = replace(TINY, hypergradient=way, alpha=0.5, optimizer=OptimizerConfig(lr=0.1))
    second = {name for name, _ in make(config).named_parameters() if name.startswith("generator")}
    first = {name for name, _ in make(config).named_parameters()} - second
    moved = step(make(config), "first")
    assert moved <= first
    assert {"semantic.outer.weight", "auxiliary.outer.weight", "backbone.convolution1.weight"} <= moved
    moved = step(make(config), "second")
    assert moved <= second
    assert {"generator.backbone.convolution1.weight", "generator.head.outer.weight"} <= moved


@pytest.mark.parametrize(("image_rewards", "is_taught"), [(False, True), (True, False)])
def test_image_rewards__images_of_a_class_that_are_alike__nothing_to_teach(image_rewards, is_taught):
    method = make(replace(TINY, image_rewards=image_rewards, alpha=0.5))
    batch = make_batch()
    alike = torch.stack([batch.images[int((batch.labels == label).nonzero()[0])] for label in batch.labels])
    state = TrainState(method.optimizers(), kind="second, monitored")
    told = method.update(state, {"second": replace(batch, images=alike)}, RUNTIME)
    assert (float(told["taught_gradient"]) > 1e-6) == is_taught
    told = method.update(state, {"second": batch}, RUNTIME)
    assert float(told["taught_gradient"]) > 1e-6


def test_plan__two_passes__a_whole_pass_of_each_level_in_turn():
    passes = {"train": 3, "second": 3}
    plans = [TINY.plan(number, passes) for number in range(8)]
    assert [plan.kind for plan in plans] == ["first"] * 3 + ["second"] * 3 + ["first"] * 2
    assert [dict(plan.batches) for plan in plans[2:7]] == [
        {"train": 2}, {"second": 0}, {"second": 1}, {"second": 2}, {"train": 3},
    ]  # fmt: skip
    assert TINY.steps_per_epoch(passes) == 6


def test_plan__interleaved__a_step_of_the_second_level_after_so_many_of_the_first():
    config = replace(TINY, passes="interleaved", generator_every=2, outer="meta")
    plans = [config.plan(number, {"train": 4, "second": 4, "outer": 2}) for number in range(6)]
    assert [plan.kind for plan in plans] == ["first", "first", "second"] * 2
    assert [dict(plan.batches) for plan in plans[2:6]] == [
        {"second": 0, "outer": 0}, {"train": 2}, {"train": 3}, {"second": 1, "outer": 1},
    ]  # fmt: skip
    assert plans[2].optimizers == ("generator",)
    assert config.steps_per_epoch({"train": 4}) == 6


@pytest.mark.parametrize(
    ("every", "length", "kinds"),
    [(4, 6, "ffffsff"), (2, 5, "ffsffsf"), (1, 2, "fsfs"), (9, 3, "fffs")],
)
def test_plan__interleaved__an_epoch_shows_all_images_once_whatever_the_turns(every, length, kinds):
    config, passes = replace(TINY, passes="interleaved", generator_every=every), {"train": length, "second": length}
    assert config.steps_per_epoch(passes) == len(kinds)
    plans = [config.plan(number, passes) for number in range(2 * len(kinds))]
    assert "".join(plan.kind[0] for plan in plans) == 2 * kinds
    assert [plan.batches["train"] for plan in plans if "train" in plan.batches] == [*range(2 * length)]
    assert [plan.batches["second"] for plan in plans if "second" in plan.batches] == [*range(2 * kinds.count("s"))]


def test_plan__monitored__every_so_many_steps_of_each_level():
    config = replace(TINY, passes="interleaved", generator_every=2, monitor_every=3)
    kinds = [config.plan(number, {"train": 4, "second": 4}).kind for number in range(9)]
    first, second = ["first, monitored", "first", "first"], ["second, monitored", "second", "second"]
    assert kinds == [*first[:2], second[0], first[2], first[0], second[1], *first[1:], second[2]]
    assert replace(config, labels="none", generator_every=1).plan(0, {"train": 4}).kind == "first"


@pytest.mark.parametrize("labels", ["generated", "uniform"])
def test_monitor__one_look__the_cosine_of_both_gradients_and_the_same_step(labels):
    method, plain, batch = make(replace(TINY, labels=labels)), make(replace(TINY, labels=labels)), make_batch()
    weights = [*method.backbone.parameters()]
    gradients = []
    for name in ("classification_loss", "auxiliary_loss"):
        gradients.append(
            torch.cat([slope.reshape(-1) for slope in torch.autograd.grad(losses_of(method, batch)[name], weights)])
        )
    found = method.update(TrainState(method.optimizers(), kind="first, monitored"), {"train": batch}, RUNTIME)
    plain.update(TrainState(plain.optimizers(), kind="first"), {"train": batch}, RUNTIME)
    cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0)
    torch.testing.assert_close(found["auxiliary_cosine"], cosine)
    assert 0.01 < abs(float(cosine)) < 0.99
    torch.testing.assert_close(found["primary_gradient"], gradients[0].norm())
    torch.testing.assert_close(found["auxiliary_gradient"], gradients[1].norm())
    assert all(
        torch.equal(value, tensor) for value, tensor in zip(method.parameters(), plain.parameters(), strict=True)
    )
    assert [exhibit.title for exhibit in method.exhibits({"train": read_images(method)[0]})][:2] == [
        "Agreement of gradients", "Cosines with the primary task",
    ]  # fmt: skip


def losses_of(method, batch):
    """Both losses of the first level, from the formulas."""
    pooled = method.backbone(batch.images).pooled
    log_p, log_a = (torch.log_softmax(head(pooled), 1) for head in (method.semantic, method.auxiliary))
    targets = method._label_images(batch).detach()
    return {
        "classification_loss": -((1 - log_p.exp()) ** 2 * log_p)[torch.arange(12), batch.labels].mean(),
        "auxiliary_loss": -(targets * (1 - log_a.exp()) ** 2 * log_a).sum(1).mean(),
    }


@pytest.mark.parametrize(("is_early", "expected"), [(False, [0.4, 0.4, 0.2]), (True, [0.4, 0.2, 0.2])])
def test_trial_step__rate_halves_at_an_epoch__that_of_the_epoch_or_as_released_of_the_next(is_early, expected):
    optimizer = OptimizerConfig(lr=0.4, milestones=(0.5,), decay=0.5, momentum=0.0, nesterov=False)
    method = make(replace(TINY, optimizer=optimizer, early_alpha=is_early))
    optimizers = method.optimizers()
    schedule = optimizer.build_schedule(optimizers["main"], num_epochs=4, steps_per_epoch=2)
    state, found = TrainState(optimizers, {"main": schedule}), []
    for _ in range(3):
        for _ in range(2):
            optimizers["main"].step()
            schedule.step()
        found.append(method._make_solver(state, method.backbone).rate)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("labels", ["uniform", "none", "frozen"])
def test_baselines__without_given_labels__train_in_steps_of_the_first_level_alone(labels):
    config = replace(TINY, labels=labels)
    assert config.plan(5, {"train": 3}).kind == "first"
    assert set(config.required_views()) == {"train"}
    moved = step(make(config), "first")
    assert "backbone.convolution1.weight" in moved
    assert not any(name.startswith("generator") for name in moved)


def test_baselines__uniform__is_label_smoothing_within_the_class():
    method, batch = make(replace(TINY, labels="uniform", gamma=0.0)), make_batch()
    logits = method.auxiliary(method.backbone(batch.images).pooled)
    blocks = torch.log_softmax(logits, dim=1).view(12, 4, 2)
    expected = -blocks[torch.arange(12), batch.labels].mean(dim=1).mean()
    metrics = method.update(TrainState(method.optimizers(), kind="first"), {"train": batch}, RUNTIME)
    torch.testing.assert_close(metrics["auxiliary_loss"], expected.detach())


@pytest.mark.parametrize("labels", ["random", "k_means", "column", "earlier", "shuffled"])
def test_baselines__given_labels__are_learned_as_they_are(labels):
    column = "fine" if labels == "column" else ""
    method = make(replace(TINY, labels=labels, column=column, gamma=0.0))
    batch = make_batch(sub_class=torch.arange(12) % 8)
    logits = method.auxiliary(method.backbone(batch.images).pooled)
    expected = torch.nn.functional.cross_entropy(logits, batch.targets["sub_class"])
    metrics = method.update(TrainState(method.optimizers(), kind="first"), {"train": batch}, RUNTIME)
    torch.testing.assert_close(metrics["auxiliary_loss"], expected.detach())
    assert method.config.learned_columns == ((column,) if column else ())


def test_focal_losses__exponent_zero__are_cross_entropy():
    method, batch = make(replace(TINY, labels="none", gamma=0.0)), make_batch()
    expected = torch.nn.functional.cross_entropy(method.predict(batch.images), batch.labels)
    metrics = method.update(TrainState(method.optimizers(), kind="first"), {"train": batch}, RUNTIME)
    torch.testing.assert_close(metrics["classification_loss"], expected.detach())


class Noisy(nn.Module):
    """A labelling network that draws random numbers."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, images, labels):
        found = self.inner(images + 0.5 * torch.randn(images.shape), labels)
        self.seen.append(found.detach())
        return found


@pytest.mark.parametrize("kind", ["second", "second, monitored"])
def test_second_level__network_with_random_layers_and_batch_norm__is_read_twice_alike_and_learns_of_it_once(kind):
    method = make(replace(TINY, image_rewards=True))
    method.generator = Noisy(method.generator)
    counts = [buffer for name, buffer in method.generator.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts
    method.update(TrainState(method.optimizers(), kind=kind), {"second": make_batch()}, RUNTIME)
    first, again = method.generator.seen
    assert torch.equal(first, again)
    assert {int(count) for count in counts} == {1}


def test_second_level__monitored__moves_the_same_and_tells_the_parts_of_the_gradient():
    methods = [make(replace(TINY, alpha=0.5)) for _ in range(2)]
    told = [
        method.update(TrainState(method.optimizers(), kind=kind), {"second": make_batch()}, RUNTIME)
        for method, kind in zip(methods, ("second", "second, monitored"), strict=True)
    ]
    assert set(told[1]) - set(told[0]) == {"taught_gradient", "entropy_gradient"}
    assert all(float(told[1][name]) > 0 for name in ("taught_gradient", "entropy_gradient"))
    weights = zip(*(method.parameters() for method in methods), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_generator__in_evaluation_mode__leaves_its_mode_as_it_was():
    method = make(replace(TINY, generator_mode="eval"))
    seen = []
    method.generator.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    step(method, "first")
    step(method, "second")
    assert seen == [False, True, True]  # the second level reads it twice
    assert method.generator.training


def test_released__vgg16_for_twenty_classes__published_numbers_of_parameters():
    task = Classification(tuple(map(str, range(20))), 3, 32, 32, class_counts=(1,) * 20)
    networks = Networks(BackboneConfig(name="vgg16"), task, seed=0)
    method = cifar100_released().stages[0].method.build(networks)
    second = sum(p.numel() for name, p in method.named_parameters() if name.startswith("generator"))
    total = sum(p.numel() for p in method.parameters())
    assert (total - second, second) == (15_310_008, 15_037_092)
    alone = sum(p.numel() for name, p in method.named_parameters() if name.startswith(("backbone", "semantic")))
    assert alone == 14_996_052


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "column"}, "column with labels column"),
        ({"column": "fine"}, "column with labels column"),
        ({"generator_every": 2}, "generator-every with passes interleaved"),
        (
            {"clusters_of": "backbone"},
            "clusters-of with labels k_means, got clusters-of backbone with labels generated",
        ),
        ({"alpha": 0.0}, "alpha"),
    ],
)
def test_options__that_contradict_each_other__refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MAXL.Config(**options)


def test_sub_classes__that_do_not_fit_the_classes__refused():
    with pytest.raises(ConfigError, match="one number of sub-classes for all, or one for each of 4 classes"):
        make(replace(TINY, sub_classes=(2, 3)))
    assert isinstance(make(replace(TINY, sub_classes=(2, 3, 1, 1))).sub_classes, SubClasses)


@pytest.mark.parametrize("labels", ["earlier", "shuffled"])
def test_labels_of_an_earlier_network__without_one__refused(labels):
    config = relabelled()
    first, second = config.stages
    assert second.transfers[0].to == "generator"
    wanting = replace(second, method=replace(second.method, labels=labels), transfers=())
    says = "the generator of an earlier stage for maxl, got none in stage learn: take a recipe that trains it first"
    with pytest.raises(ConfigError, match=says):
        replace(config, stages=(first, wanting))


def read_images(method):
    source = oriented_shapes(24, size=28, seed=5)
    pipeline = InputPipeline.from_source(source, augment="none")
    return ImageReader(method, TrainSplit(source), pipeline=pipeline, runtime=RUNTIME, batch_size=10), source


def test_exhibits__after_a_stage__images_of_each_sub_class_and_their_numbers():
    method = make(TINY)
    reader, source = read_images(method)
    text, grid, table = method.exhibits({"train": reader})
    assert [row[0] for row in table.rows] == list(method.task.class_names)
    counts = torch.tensor([row[1:] for row in table.rows]).flatten()
    assert counts.view(4, 2).sum(1).tolist() == source.columns["label"].values.bincount().tolist()
    assert "(0.69 where it says nothing)" in text.text
    assert len(grid.images) == len(grid.captions) == int(counts[:6].clamp(max=10).sum())
    assert (grid.images[0] == source.images).flatten(1).all(1).any()
    assert make(replace(TINY, labels="uniform")).exhibits({"train": reader}) == ()


@pytest.fixture
def quick_autoencoder(monkeypatch):
    monkeypatch.setattr(maxl, "encode_images", partial(encode_images, steps=5))


def test_begin__clusters_of_autoencoder_or_backbone__are_others(quick_autoencoder):
    found = []
    for clusters_of in ("autoencoder", "backbone"):
        method = make(replace(TINY, labels="k_means", clusters_of=clusters_of))
        reader, source = read_images(method)
        start = StageStart({"train": reader}, seed=1, device=torch.device("cpu"))
        found.append(method.begin(start).targets["train"]["sub_class"])
    expected = method.sub_classes.cluster(reader.features(method.backbone), source.columns["label"].values, seed=1)
    classes = source.columns["label"].values
    assert torch.equal(found[1], method.sub_classes.place(classes, expected))
    assert not torch.equal(found[0], found[1])


def test_begin__labels_of_an_earlier_network__its_most_likely_ones_or_those_shuffled_within_each_class():
    made = {}
    for labels in ("earlier", "shuffled"):
        method = make(replace(TINY, labels=labels))
        reader, source = read_images(method)
        start = StageStart({"train": reader}, seed=1, device=torch.device("cpu"))
        made[labels] = method.begin(start).targets["train"]["sub_class"]
        assert not step(method, "first") & set(method.frozen_parameters())
        assert {f"generator.{name}" for name, _ in method.generator.named_parameters()} == set(
            method.frozen_parameters()
        )
    classes, reader = source.columns["label"].values, read_images(method)[0]
    likely = reader.read(lambda batch: method.generator(batch.images, batch.labels)).argmax(1)
    assert torch.equal(made["earlier"], likely)
    assert not torch.equal(made["shuffled"], likely)
    for number in range(4):
        own = classes == number
        assert torch.equal(made["shuffled"][own].sort().values, likely[own].sort().values)


@pytest.mark.parametrize("labels", ["random", "k_means", "column"])
def test_begin__labels_that_are_given__a_sub_class_of_its_class_for_every_image(labels, quick_autoencoder):
    method = make(replace(TINY, labels=labels, column="half" if labels == "column" else ""))
    reader, source = read_images(method)
    classes = source.columns["label"].values
    if labels == "column":
        half = Column(2 * classes + torch.arange(24) // 12, tuple(map(str, range(8))))
        source.columns = {**source.columns, "half": half}
    start = StageStart({"train": reader}, seed=1, device=torch.device("cpu"))
    found = method.begin(start).targets["train"]["sub_class"]
    torch.rand(3)  # what the global generator does elsewhere is nothing to it
    assert torch.equal(found, method.begin(start).targets["train"]["sub_class"])
    assert (found // 2 == classes).all()
    assert found.bincount(minlength=8).min() > 0
    if labels == "column":
        assert torch.equal(found, source.columns["half"].values)
