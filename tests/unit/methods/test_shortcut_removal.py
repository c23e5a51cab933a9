"""What a step of shortcut removal does, what it needs the column for, and what it refuses."""

from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError, DataError
from auxo.interfaces import AbstractImageReader, ImageExhibit, StageStart, TableExhibit, TextExhibit, TrainState
from auxo.layers.cell_weights import count_cells, independence_weights
from auxo.losses.invariance.mmd import MMD
from auxo.losses.invariance.none import NoPenalty
from auxo.losses.kernels.rbf import RBF
from auxo.methods.shortcut_removal import ShortcutRemoval, recipe
from auxo.optimizers import OptimizerConfig
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch

RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
PLAIN = OptimizerConfig(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant")
CONFIG = ShortcutRemoval.Config(column="place", optimizer=PLAIN, invariance=MMD.Config(weight=2.0))
CLASSES = torch.tensor([0, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1])
VALUES = torch.tensor([0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1])


class Images(AbstractImageReader):
    """Twelve images with a place each, read in one batch."""

    targets = MappingProxyType({})

    def __init__(self, split="train", *, classes=CLASSES, values=VALUES):
        self.split = split
        self.images = oriented_shapes(12, size=28, seed=1).images.float() / 127.5 - 1
        self.targets = MappingProxyType({"label": classes, "place": values})
        self.backbone = None

    def __len__(self):
        return 12

    def batch(self):
        return Batch(self.images, dict(self.targets), torch.arange(12))

    def read(self, function):
        with torch.no_grad():
            return function(self.batch())

    def features(self, network=None):
        return self.read(lambda batch: (network or self.backbone)(batch.images).pooled)

    def pixels(self, positions):
        return oriented_shapes(12, size=28, seed=1).images[positions]


def make(config=CONFIG, images=None, names=("sea", "land")):
    task = Classification(("a", "b"), channels=3, height=28, width=28)
    columns = {"place": Target("place", names), "mask": Target("mask", ("p", "q"), has_places=True)}
    method = config.build(Networks(BackboneConfig(), task, seed=0, columns=columns)).train()
    images = images or Images()
    images.backbone = method.backbone
    start = StageStart({"train": images}, 0, torch.device("cpu"))
    return method, TrainState(method.optimizers(), prepared=method.begin(start).tensors)


def loss_by_hand(method, *, alpha, sigma, is_weighted=True):
    """Weighted cross-entropy and discrepancy of the twelve images, image after image."""
    images = Images().images
    pooled = method.backbone(images).pooled
    logits = method.semantic(pooled)
    n = len(CLASSES)
    pairs = [*zip(CLASSES.tolist(), VALUES.tolist(), strict=True)]
    u = torch.ones(n)
    if is_weighted:
        for i, (y, v) in enumerate(pairs):
            of_class, of_value = sum(a == y for a, _ in pairs), sum(b == v for _, b in pairs)
            u[i] = of_class * of_value / (n * pairs.count((y, v)))
    total = sum(u[i] * functional.cross_entropy(logits[i : i + 1], CLASSES[i : i + 1]) for i in range(n)) / u.sum()
    kernel = torch.exp(-(pooled[:, None] - pooled[None]).square().sum(2) / (2 * sigma**2))
    a, b = u * (VALUES == 1), u * (VALUES == 0)
    difference = a / a.sum() - b / b.sum()
    return total + alpha * difference @ kernel @ difference


@pytest.mark.parametrize("is_weighted", [True, False])
def test_update__one_step__follows_the_gradient_of_the_formula(is_weighted):
    config = replace(CONFIG, weighting="product" if is_weighted else "none")
    method, state = make(config)
    parameters = [*method.parameters()]
    loss = loss_by_hand(method, alpha=2.0, sigma=10.0, is_weighted=is_weighted)
    expected = [p.detach() - 0.1 * g for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True)]
    metrics = method.update(state, {"train": Images().batch()}, RUNTIME)
    assert float(metrics["classification_loss"] + metrics["invariance_loss"]) == pytest.approx(float(loss.detach()))
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-4, atol=1e-6)


def test_update__alpha_0__is_weighted_training():
    ours, state = make(replace(CONFIG, invariance=MMD.Config(weight=0.0)))
    plain, other = make(replace(CONFIG, invariance=NoPenalty.Config()))
    for _ in range(3):
        ours.update(state, {"train": Images().batch()}, RUNTIME)
        plain.update(other, {"train": Images().batch()}, RUNTIME)
    for one, two in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, two)


def test_update__batch_of_one_value__has_no_penalty_and_trains():
    method, state = make()
    batch = Images(values=torch.zeros_like(VALUES)).batch()
    metrics = method.update(state, {"train": batch}, RUNTIME)
    assert float(metrics["invariance_loss"]) == 0
    assert float(metrics["classification_loss"]) > 0


def test_update__weights__are_of_the_whole_split_and_not_of_the_batch():
    config = replace(CONFIG, invariance=NoPenalty.Config())
    method, state = make(config)
    keep = torch.arange(5)
    whole = Images().batch()
    part = Batch(whole.images[keep], {name: values[keep] for name, values in whole.targets.items()}, keep)
    with torch.no_grad():
        losses = functional.cross_entropy(method.predict(part.images), CLASSES[keep], reduction="none")
    table = independence_weights(count_cells(CLASSES, VALUES, shape=(2, 2))).float()
    u = table[CLASSES[keep], VALUES[keep]]
    metrics = method.update(state, {"train": part}, RUNTIME)
    assert float(metrics["classification_loss"]) == pytest.approx(float((u * losses).sum() / u.sum()))


def test_update__released_loss__is_the_plain_sum_whatever_the_weights():
    released = replace(CONFIG, invariance=MMD.Config(weight=2.0, loss_scale="sum_unweighted"))
    method, state = make(released)
    with torch.no_grad():
        expected = functional.cross_entropy(method.predict(Images().images), CLASSES, reduction="sum")
    metrics = method.update(state, {"train": Images().batch()}, RUNTIME)
    assert float(metrics["classification_loss"]) == pytest.approx(float(expected))


def test_predict__batch_without_the_column__gives_the_same_logits():
    method, _ = make()
    method.eval()
    images = Images().images
    with torch.no_grad():
        assert torch.equal(method.predict(images), method.semantic(method.backbone(images).pooled))
    assert "cell_weights" not in dict(method.named_buffers())


def test_begin__weightings__are_tables_of_the_training_split():
    counts = count_cells(CLASSES, VALUES, shape=(2, 2))
    for weighting, expected in (
        ("product", independence_weights(counts)),
        ("inverse", independence_weights(counts, "inverse")),
        ("stratified", torch.ones(2, 2)),
        ("none", torch.ones(2, 2)),
    ):
        _, state = make(replace(CONFIG, weighting=weighting))
        assert torch.allclose(state.prepared["cell_weights"], expected.float())
    _, state = make(replace(CONFIG, clip_weights=1.2))
    assert torch.allclose(state.prepared["cell_weights"], independence_weights(counts).clamp(max=1.2).float())


def test_required_views__stratified__shows_cells_equally_often():
    order = replace(CONFIG, weighting="stratified").required_views()["train"].order
    targets = {"label": torch.tensor([0] * 9 + [1] * 3), "place": torch.tensor([0] * 8 + [1] + [0] + [1] * 2)}
    shown = order.positions(targets, count=12, seed=0, number=0)
    cells = 2 * targets["label"][shown] + targets["place"][shown]
    assert cells.bincount().tolist() == [3, 3, 3, 3]
    assert CONFIG.required_views()["train"].order is None


@pytest.mark.parametrize("weighting", ["product", "inverse", "stratified"])
def test_begin__cell_without_images__is_named(weighting):
    values = torch.where(CLASSES == 1, 1, VALUES)
    with pytest.raises(DataError, match=r"every class with every place, got none of 'b' with 'sea' among 12: add some"):
        make(replace(CONFIG, weighting=weighting), Images(values=values))
    method, state = make(replace(CONFIG, weighting="none"), Images(values=values))
    assert torch.isfinite(method.update(state, {"train": Images(values=values).batch()}, RUNTIME)["invariance_loss"])


def test_init__column_that_cannot_be_used__is_named():
    with pytest.raises(
        DataError, match="a column of two values or more, one for each image, got place with only 'sea'"
    ):
        make(names=("sea",))
    with pytest.raises(DataError, match="got mask with places: name another"):
        make(replace(CONFIG, column="mask"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"column": ""}, "a further column that is not to be used, got ''"),
        ({"column": "label"}, "got 'label': name another with --method.column"),
        (
            {"weighting": "none", "clip_weights": 5.0},
            "clip-weights with weighting product or inverse, got clip-weights 5",
        ),
    ],
)
def test_config__options_that_do_not_go_together__are_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        replace(CONFIG, **changes)


def test_exhibits__of_a_run__tell_cells_and_what_features_tell():
    method, _ = make(replace(CONFIG, invariance=MMD.Config(kernel=RBF(sigma=None))))
    method.eval()
    train, val = Images(), Images("val")
    for images in (train, val):
        images.backbone = method.backbone
    text, shown, cells, told = method.exhibits({"train": train, "val": val})
    names = [f"{'ab'[y]} / {('sea', 'land')[v]}" for y, v in zip(CLASSES.tolist(), VALUES.tolist(), strict=True)]
    places = [i for name in ("a / sea", "a / land", "b / sea", "b / land") for i in range(12) if names[i] == name]
    assert isinstance(shown, ImageExhibit)
    assert list(shown.captions) == [names[i] for i in places]
    assert torch.equal(shown.images, train.pixels(torch.tensor(places)))
    assert isinstance(text, TextExhibit)
    assert isinstance(cells, TableExhibit)
    counts = count_cells(CLASSES, VALUES, shape=(2, 2))
    assert [row[:3] for row in cells.rows] == [
        (name, value, int(counts[y, v])) for y, name in enumerate("ab") for v, value in enumerate(("sea", "land"))
    ]
    assert {name for name, _ in told.rows} == {"weighted_nll/place", "discrepancy/place", "independence/place"}


def test_recipe__default__needs_no_data_root_and_uses_the_column_of_its_scenario():
    config = recipe()
    assert (config.data.scenario, config.stages[0].method.column) == ("coloured_digits", "colour")
