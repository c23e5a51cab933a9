"""Joint data-task generation: what each level moves, the order of steps, controls, any task, what is refused."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.data.splits import TrainSplit
from auxo.errors import ConfigError, ShapeError
from auxo.evaluation.images import ImageReader
from auxo.interfaces import TrainState
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GivenTasksConfig
from auxo.registry.outside import import_file
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import AbstractTask, Classification, Measure, Measured, Target
from auxo.types import Batch

TINY = DTGAuxL.Config.tiny()
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
CLASSES = Classification(("arrow", "l", "t", "wedge"), 3, 28, 28, class_counts=(6, 6, 6, 6))
OUTSIDE = Path(__file__).parents[2] / "outside"


@dataclass(frozen=True)
class Angle(AbstractTask):
    """A quantity of every image."""

    channels: int = 3
    height: int = 28
    width: int = 28

    primary = "error"
    targets = (Target("angle", ignore=-99),)
    num_outputs, chance = 1, None

    @classmethod
    def from_source(cls, source):
        return cls(*source.image_shape)

    def losses(self, outputs, targets):
        return (outputs[:, 0] - targets["angle"]).square() * (targets["angle"] != -99)

    def score(self, outputs, targets):
        return {"error": self.losses(outputs.detach(), targets)}

    def measure(self, scores, columns):
        return Measured({"error": Measure(float(scores["error"].mean()), higher_is_better=False)}, {})

    def answer_columns(self):
        return ("angle",)

    def answers(self, outputs):
        return []


def make(config, task=CLASSES, backbone="lenet5", **options):
    return config.build(Networks(BackboneConfig(name=backbone), task, seed=0, **options)).train()


def make_batch(first=0, count=12):
    source = oriented_shapes(24, size=28, seed=5)
    chosen = slice(first, first + count)
    labels = source.columns["label"].values[chosen].clamp(max=3)
    angle = torch.linspace(-2, 2, 24)[chosen]
    targets = {"label": labels, "angle": angle, "side": torch.arange(count) % 2}
    return Batch(source.images[chosen].float() / 127.5 - 1, targets, torch.arange(count))


def take_step(method, kind, batch=None, step=0):
    """The metrics, and the names of what the step moves, buffers among it."""
    before = {name: value.clone() for name, value in method.state_dict().items()}
    state = TrainState(method.optimizers(), kind=kind, step=step)
    metrics = method.update(state, {"train": batch or make_batch(), "upper": make_batch(12)}, RUNTIME)
    return metrics, {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}


def test_levels__each_step__leaves_the_other_level_and_running_statistics_to_the_bit():
    columns = {"side": Target("side", ("left", "right"))}
    method = make(replace(TINY, given=GivenTasksConfig(columns=("side",))), backbone="resnet8", columns=columns)
    phi = {name for name in method.state_dict() if name.startswith("generated.generator.")}
    _, moved = take_step(method, "lower")
    assert moved.isdisjoint(phi)
    parts = ("backbone.", "semantic.", "given.", "generated.own_head.")
    assert {part for part in parts if any(name.startswith(part) for name in moved)} == {*parts}
    _, moved = take_step(method, "upper")
    assert moved
    assert moved <= phi
    assert "generated.generator.strength" in moved


def test_plan__every_third_step__judges_the_generator_on_the_last_batch():
    config = replace(TINY, upper_every=2)
    plans = [config.plan(number, {"train": 5, "upper": 5}) for number in range(6)]
    assert [plan.kind for plan in plans] == ["lower", "lower", "upper"] * 2
    assert [dict(plan.batches) for plan in plans] == [
        {"train": 0}, {"train": 1}, {"train": 1, "upper": 0}, {"train": 2}, {"train": 3}, {"train": 3, "upper": 1},
    ]  # fmt: skip
    assert [plan.optimizers for plan in plans[1:3]] == [("main",), ("generator",)]
    assert config.steps_per_epoch({"train": 5, "upper": 5}) == 8


def test_views__upper_data__an_order_of_its_own_and_the_held_out_split_as_an_option():
    assert TINY.required_views()["upper"].stream != TINY.required_views()["train"].stream
    assert TINY.required_views()["upper"].split == "train"
    assert replace(TINY, upper="meta").required_views()["upper"].split == "meta"


@pytest.mark.parametrize("control", [{"weight": 0.0}, {"generator": "frozen"}, {"generator": "manifold_mixup"}])
def test_controls__without_a_learned_generator__train_in_lower_steps_alone(control):
    config = replace(TINY, **control)
    assert config.plan(5, {}).kind == "lower"
    assert config.plan(5, {}).batches == {"train": 5}
    assert [*config.required_views()] == ["train"]
    assert config.steps_per_epoch({"train": 7}) == 7
    method = make(config)
    _, moved = take_step(method, "lower")
    assert "backbone.convolution1.weight" in moved
    assert not any(name.startswith("generated.generator.") for name in moved)
    assert [*method.optimizers()] == ["main"]


def test_controls__weight_zero__supervised_training_bit_for_bit():
    ours = make(DTGAuxL.Config(weight=0.0), backbone="resnet8")
    plain = make(Supervised.Config(), backbone="resnet8")
    states = [TrainState(method.optimizers()) for method in (ours, plain)]
    for step in range(3):
        for method, state in zip((ours, plain), states, strict=True):
            state.step, state.kind = step, "lower"
            method.update(state, {"train": make_batch(2 * step)}, RUNTIME)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in ours.state_dict().items())


def test_controls__weight_zero_beside_given_tasks__equal_weights_bit_for_bit():
    columns = {"side": Target("side", ("left", "right"))}
    given = GivenTasksConfig(columns=("side",))
    ours, other = (make(DTGAuxL.Config(weight=0.0, given=given), columns=columns) for _ in range(2))
    take_step(ours, "lower")
    batch, optimizer = make_batch(), other.optimizers()["main"]
    pooled = other.backbone(batch.images).pooled
    losses = [(other.semantic, "label"), (other.given.column_heads[0], "side")]
    loss = sum(functional.cross_entropy(head(pooled), batch.targets[name]) for head, name in losses)
    loss.backward()
    optimizer.step()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in ours.state_dict().items())


def test_lower_step__weights__of_given_and_generated_tasks():
    columns = {"side": Target("side", ("left", "right"))}
    given = GivenTasksConfig(columns=("side",), pretexts=("rotation",))
    method = make(replace(TINY, weight=0.5, given=given, given_weight=2.0), columns=columns)
    metrics, _ = take_step(method, "lower")
    assert [*metrics] == ["primary_loss", "side_loss", "rotation_loss", "generated_loss"]
    found = method._add_losses({name: torch.tensor(10.0**k) for k, name in enumerate(metrics)})
    assert float(found) == 1 + 2 * (10 + 100) + 0.5 * 1000
    assert set(method.pretext_heads()) == {"rotation"}


def test_upper_step__norm__clipped_for_the_optimiser():
    norms = []

    class Watch(Runtime):
        def apply(self, optimizer, gradients, *, max_norm=None):
            super().apply(optimizer, gradients, max_norm=max_norm)
            grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norms.append(float(torch.cat([grad.flatten() for grad in grads]).norm()))

    method = make(replace(TINY, clip=1e-3))
    state = TrainState(method.optimizers(), kind="upper")
    runtime = Watch(config=RUNTIME.config, device=RUNTIME.device)
    method.update(state, {"train": make_batch(), "upper": make_batch(12)}, runtime)
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_shared_head__generated_items__learned_by_the_primary_head_alone():
    method = make(replace(TINY, shared_head=True))
    assert not any("own_head" in name for name in method.state_dict())
    features = method.backbone(make_batch().images)
    state = TrainState({})
    pairing = method._prepare_inputs(state, make_batch(), RUNTIME).pairing
    loss = method.generated(features, pairing, method.semantic).mean()
    (slope,) = torch.autograd.grad(loss, [method.semantic.weight])
    assert slope.abs().max() > 0
    with pytest.raises(ValueError, match="a head for generated items"):
        method.generated(features, pairing)


def test_series__scale__the_task_models_learning_rate_unless_it_is_given():
    for config, scale in ((replace(TINY, scale=None, optimizer=OptimizerConfig(lr=0.07)), 0.07), (TINY, 0.1)):
        method = make(config)
        linear = method._make_solver(TrainState(method.optimizers())).linear
        assert (linear.scale, linear.terms) == (scale, 4)


def test_upper_step__collapsed_labels_and_copied_features__seen_in_the_metrics():
    method = make(TINY)
    fresh, _ = take_step(method, "upper")
    generator = method.generated.generator
    torch.nn.init.constant_(generator.gate[3].bias, 30.0)  # every item is a copy of its image
    torch.nn.init.zeros_(generator.strength)
    torch.nn.init.zeros_(generator.labels[3].weight)
    generator.labels[3].bias.data = torch.tensor([50.0, 0.0, 0.0, 0.0])  # with the same label for all
    metrics, _ = take_step(method, "upper")
    assert metrics["generated_distance"] < 1e-5 < 0.01 < fresh["generated_distance"]
    assert metrics["generated_variance"] == pytest.approx(float(metrics["feature_variance"]), rel=1e-4)
    assert metrics["label_information"] < 1e-4 < 0.1 < fresh["label_information"]


def test_bf16__both_levels__finite_and_second_derivatives_in_full_precision():
    runtime = replace(RUNTIME, autocast_dtype=torch.bfloat16)
    method, exact = make(TINY), make(TINY)
    state = TrainState(method.optimizers(), kind="upper")
    batches = {"train": make_batch(), "upper": make_batch(12)}
    metrics = method.update(state, batches, runtime)
    assert all(torch.isfinite(value) for value in metrics.values())
    same, _ = take_step(exact, "upper")
    assert torch.equal(metrics["implicit_gradient"], same["implicit_gradient"])
    state.kind = "lower"
    assert all(torch.isfinite(value) for value in method.update(state, batches, runtime).values())


@pytest.mark.parametrize("options", [{}, {"generate": "features"}, {"generate": "labels"}])
def test_any_task__a_quantity__generated_and_judged_with_squared_error(options):
    method = make(replace(TINY, **options), Angle())
    metrics, moved = take_step(method, "lower")
    assert "generated.own_head.weight" in moved
    assert metrics["generated_loss"] > 0
    metrics, moved = take_step(method, "upper")
    assert metrics["implicit_gradient"] > 0
    assert moved
    assert metrics["label_information"] == 0


def make_pixels(config):
    file = import_file(OUTSIDE / "pixels.py")
    source = file.make_source("p", 12, seed=0)
    task, backbone = file.PixelClasses.from_source(source), f"{OUTSIDE / 'net.py'}:TinyNet"
    images = source.images.float() / 127.5 - 1
    mask = source.fetch_targets(torch.arange(12))["mask"]
    return make(config, task, backbone), Batch(images, {"mask": mask}, torch.arange(12))


@pytest.mark.parametrize("options", [{}, {"generator": "manifold_mixup"}, {"shared_head": True}, {"sub_classes": (2,)}])
def test_any_task__a_class_for_every_pixel__generated_cell_by_cell(options):
    config = replace(TINY, **options)
    method, batch = make_pixels(config)
    assert method.predict(batch.images).shape == (12, 3, 16, 16)
    metrics, moved = take_step(method, "lower", batch)
    assert "semantic.layer.weight" in moved
    assert ("generated.own_head.weight" in moved) != config.shared_head
    if config.has_upper_level:
        state = TrainState(method.optimizers(), kind="upper")
        metrics = method.update(state, {"train": batch, "upper": batch}, RUNTIME)
        assert metrics["implicit_gradient"] > 0
        assert metrics["label_information"] > 0


def test_any_task__pixels_that_say_nothing__do_not_enter_the_generated_loss():
    method, batch = make_pixels(replace(TINY, generator="manifold_mixup"))
    hidden = replace(batch, targets={"mask": torch.full_like(batch.targets["mask"], 255)})
    metrics, _ = take_step(method, "lower", hidden)
    assert metrics["generated_loss"] == 0


def test_refused__a_batch_of_one_image__in_one_line():
    with pytest.raises(ShapeError, match="two images or more to compare, got 1"):
        take_step(make(TINY), "lower", make_batch(0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": "manifold_mixup", "generate": "labels"}, "manifold_mixup, got generate labels"),
        ({"generator": "manifold_mixup", "sub_classes": (2,)}, "manifold_mixup, got sub-classes"),
        ({"generate": "features", "sub_classes": (2,)}, "sub-classes with labels that are generated"),
        ({"anchor_range": (2.0, 1.0)}, "anchor-range with the least distance first"),
        ({"regularizer": -1.0}, "regularizer >= 0"),
        (
            {"given": GivenTasksConfig(columns=("upper",))},
            "given of tasks with other names than metrics have, got upper",
        ),
    ],
)
def test_refused__options_that_contradict_each_other__in_one_line(options, message):
    with pytest.raises(ConfigError, match=message):
        DTGAuxL.Config(**options)


def test_refused__sub_classes_of_a_quantity__in_one_line():
    with pytest.raises(ConfigError, match="a task of one target with classes for sub-classes, got Angle"):
        make(replace(TINY, sub_classes=(2,)), Angle())


def test_refused__sub_classes_for_the_primary_head__in_one_line():
    with pytest.raises(ConfigError, match="the outputs of a shared head, got sub-classes"):
        make(replace(TINY, sub_classes=(2,), shared_head=True))


def test_refused__a_map_that_the_backbone_has_not__in_one_line():
    with pytest.raises(ConfigError, match="a map 'coarse' of the backbone"):
        make_pixels(replace(TINY, map_name="coarse"))


def read_images(method, count=24):
    source = oriented_shapes(count, size=28, seed=5)
    pipeline = InputPipeline.from_source(source, augment="none")
    return ImageReader(method, TrainSplit(source), pipeline=pipeline, runtime=RUNTIME, batch_size=10)


def test_exhibits__of_classes__a_text_and_where_the_labels_lie():
    method = make(TINY)
    text, table = method.exhibits({"train": read_images(method)})
    numbers = [float(value) for value in re.findall(r"\d+\.\d+(?:e-?\d+)?", text.text)]
    assert len(numbers) == 5
    assert [row[0] for row in table.rows] == list(CLASSES.class_names)
    shares = [sum(float(value) for value in row[2:]) for row in table.rows if row[1]]
    assert shares
    assert all(share == pytest.approx(1, abs=0.02) for share in shares)


@pytest.mark.parametrize("options", [{"weight": 0.0}, {"sub_classes": (2,)}])
def test_exhibits__nothing_generated_or_sub_classes__nothing_or_the_text_alone(options):
    method = make(replace(TINY, **options))
    assert len(method.exhibits({"train": read_images(method)})) == len(options.get("sub_classes", ()))
