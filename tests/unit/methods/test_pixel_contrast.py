"""Pixels brought together by auxiliary labels: the labels of a stage, its steps, and what a labeller may use."""

from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, PlaceMap
from auxo.data.splits import TrainSplit, UnlabelledSplit
from auxo.data.textures import TEXTURES, draw_scenes
from auxo.errors import ConfigError, OptionError
from auxo.evaluation.images import ImageReader
from auxo.interfaces import ImageExhibit, PretextLoss, StageStart, TrainState, View
from auxo.methods.pixel_contrast import PixelContrast
from auxo.methods.segmenter import Segmenter
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import embedding_std
from auxo.pretexts._pixel_method import colour_labels
from auxo.pretexts.labellers.image_id import ImageId
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.random import Random
from auxo.pretexts.pixels import PixelSampling
from auxo.pretexts.pixels.contrast import Contrast
from auxo.pretexts.pixels.cross_entropy import CrossEntropy
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Segmentation
from auxo.types import MASK, Batch

SIDE = 16
RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
TASK = Segmentation(TEXTURES, 3, SIDE, SIDE)
PLAIN = OptimizerConfig(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant")
QUICK = Contrast.Config(outputs=8)


def make(config):
    method = config.build(Networks(BackboneConfig(name="conv4"), TASK, seed=0)).train()
    return method, TrainState(method.optimizers())


@pytest.fixture(scope="module")
def scenes():
    drawn = draw_scenes(12, seed=0, name="train", side=SIDE)
    return InMemorySource("scenes", drawn.images, maps={MASK: PlaceMap(drawn.masks, TEXTURES, 255)})


def start_stage(method, scenes, *, num_labelled=None):
    """The start of a stage, of which some images have masks, or all."""
    splits = [TrainSplit(scenes if num_labelled is None else scenes.subset(torch.arange(num_labelled), "few"))]
    if num_labelled is not None:
        splits.append(UnlabelledSplit(scenes))
    pipeline = InputPipeline.from_source(scenes)
    readers = {
        split.name: ImageReader(method, split, pipeline=pipeline, runtime=RUNTIME, batch_size=5) for split in splits
    }
    return StageStart(readers, 3, torch.device("cpu"))


def make_batch(count=4):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(SIDE).div(4, rounding_mode="floor").expand(count, SIDE, SIDE).to(torch.int16).clone()
    labels[:, :3] = -1
    masks = torch.randint(len(TEXTURES), (count, SIDE, SIDE), generator=generator).to(torch.uint8)
    images = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return Batch(images, {"pixel_labels": labels, MASK: masks}, torch.arange(count))


@pytest.mark.parametrize(("num_labelled", "split"), [(None, "train"), (4, "unlabelled")])
def test_begin__all_images__have_the_labellers_labels_with_nothing_outside(scenes, num_labelled, split):
    method, _ = make(PixelContrast.Config(labeller=Random.Config(clusters=5)))
    start = start_stage(method, scenes, num_labelled=num_labelled)
    prepared = method.begin(start)
    labels = prepared.targets[split]["pixel_labels"]
    assert [*prepared.targets] == [split]
    assert labels.shape == (12, SIDE, SIDE)
    assert prepared.fills == {"pixel_labels": -1}
    expected = method.config.labeller.make(start.images[split], start, method.label_tools())
    assert torch.equal(labels, expected)
    assert torch.equal(prepared.tensors["shown_labels"], labels[torch.linspace(0, 11, 8).long()])


def test_begin__labelled_images_alone__have_the_labels(scenes):
    config = PixelContrast.Config(labeller=Oracle.Config(), images="labelled")
    method, _ = make(config)
    prepared = method.begin(start_stage(method, scenes, num_labelled=4))
    assert torch.equal(prepared.targets["train"]["pixel_labels"].int(), scenes.maps[MASK].values[:4].int())
    assert config.required_views() == {"first": View("train", augment="retint")}


def test_begin__labels_of_fewer_pixels_than_are_asked_for__are_refused(scenes):
    sampling = PixelSampling(min_pixels=65)
    method, _ = make(PixelContrast.Config(labeller=Oracle.Config(), objective=replace(QUICK, sampling=sampling)))
    with pytest.raises(
        OptionError, match=r"method.objective.sampling.min-pixels <= 52, .* at the 8x8 features, got 65: lower it"
    ):
        method.begin(start_stage(method, scenes))


def test_required_views__by_default__are_all_images_with_tints_drawn_anew():
    assert PixelContrast.Config().required_views() == {"first": View("images", augment="retint")}
    assert PixelContrast.Config(retint=False).required_views() == {"first": View("images")}


@pytest.mark.parametrize("objective", [QUICK, CrossEntropy.Config()])
def test_update__one_step__is_a_gradient_step_on_the_objective_of_the_decoders_features(objective):
    method, state = make(PixelContrast.Config(optimizer=PLAIN, objective=objective))
    batch = make_batch()
    features = method.decoder(method.backbone(batch.images).maps)
    draws = state.draws("pixels", batch)
    labels = batch.targets["pixel_labels"]
    expected = method.objective(features, labels, batch=batch, draws=draws, runtime=RUNTIME).loss
    before = {name: value.detach().clone() for name, value in method.named_parameters()}
    gradients = torch.autograd.grad(expected, [*method.parameters()])
    metrics = method.update(state, {"first": batch}, RUNTIME)
    assert metrics["pixel_loss"].item() == pytest.approx(expected.item(), abs=1e-6)
    for (name, value), gradient in zip(method.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(value.detach(), before[name] - 0.1 * gradient, atol=1e-5, rtol=1e-4)


def test_measure_objective__many_embeddings__are_measured_by_a_few_of_the_whole_batch():
    method, _ = make(PixelContrast.Config(objective=QUICK))
    rows = torch.eye(2).repeat_interleave(500, 0)
    found = method.measure_objective(PretextLoss(torch.tensor(2.0), rows))
    assert found["pixel_loss"] == 2
    assert found["embedding_std"].item() == pytest.approx(embedding_std(rows).item(), abs=0.01)
    assert found["effective_rank"].item() == pytest.approx(1, abs=1e-4)
    spread = method.measure_objective(PretextLoss(torch.tensor(2.0), torch.eye(500)))
    assert 100 < spread["effective_rank"] < 128
    assert [*method.measure_objective(PretextLoss(torch.tensor(2.0)))] == ["pixel_loss"]


def test_predict__no_head__is_refused():
    method, _ = make(PixelContrast.Config())
    with pytest.raises(ConfigError, match="a head that predicts"):
        method.predict(torch.rand(1, 3, SIDE, SIDE))


def test_build__labels_that_images_do_not_share__are_refused_by_cross_entropy():
    with pytest.raises(ConfigError, match="labels that images share for the objective cross_entropy"):
        make(PixelContrast.Config(labeller=ImageId.Config(), objective=CrossEntropy.Config()))


def test_label_tools__new_segmenter__has_the_methods_weights_and_a_classifier_of_its_own():
    method, _ = make(PixelContrast.Config())
    with torch.no_grad():
        method.backbone.stage1[0].weight.mul_(2)
    tools = method.label_tools()
    first, second = tools.new_segmenter(), tools.new_segmenter()
    for part in ("backbone", "decoder"):
        own = getattr(method, part).state_dict()
        for network in (first, second):
            copied = getattr(network, part).state_dict()
            assert all(torch.equal(value, own[name]) for name, value in copied.items())
            assert not {id(value) for value in getattr(network, part).parameters()} & set(map(id, method.parameters()))
    assert first(torch.rand(2, 3, SIDE, SIDE)).logits.shape == (2, len(TEXTURES), SIDE // 2, SIDE // 2)
    assert tools.encoder is method.backbone
    assert (tools.num_classes, tools.height, tools.width) == (len(TEXTURES), SIDE, SIDE)


def test_exhibits__after_a_step__show_images_over_their_labels_also_when_a_run_goes_on(scenes):
    method, state = make(PixelContrast.Config(labeller=Random.Config(clusters=3), objective=QUICK))
    assert method.exhibits({}) == ()
    prepared = method.begin(start_stage(method, scenes))
    resumed, state = make(method.config)
    state.prepared = prepared.tensors
    resumed.update(state, {"first": make_batch()}, RUNTIME)
    (shown,) = resumed.exhibits({})
    assert isinstance(shown, ImageExhibit)
    assert torch.equal(shown.images[:8], scenes.images[torch.linspace(0, 11, 8).long()])
    assert torch.equal(shown.images[8:], colour_labels(prepared.tensors["shown_labels"]))
    assert (len(shown.captions), shown.columns) == (16, 8)


def test_colour_labels__labels__have_a_colour_each_and_grey_without():
    labels = torch.tensor([[[0, 1, -1], [1, 299, -1]]])
    found = colour_labels(labels)[0].movedim(0, -1)
    assert torch.equal(found[0, 1], found[1, 0])
    assert found[0, 2].tolist() == found[1, 2].tolist() == [128, 128, 128]
    assert len({tuple(colour) for colour in found.view(-1, 3).tolist()}) == 4
    assert (colour_labels(torch.full((1, 2, 2), -1)) == 128).all()


def test_joint_training__after_its_epochs__adds_the_weighted_objective_of_all_images():
    config = Segmenter.Config(optimizer=PLAIN, auxiliary_weight=0.3, auxiliary_after_epochs=2, objective=QUICK)
    plans = [config.plan(step, {"train": 2, "images": 9}) for step in range(5)]
    assert [plan.kind for plan in plans] == ["alone"] * 4 + ["joint"]
    assert [*plans[3].batches] == ["train"]
    assert plans[4].batches == {"train": 4, "images": 4}
    batch, other = make_batch(), replace(make_batch(), images=-make_batch().images)
    steps = {}
    for kind in ("alone", "joint", "whole"):
        method, state = make(config)
        state.kind = kind
        before = method.backbone.stage1[0].weight.detach().clone()
        if kind == "whole":
            logits = method.head_logits(batch.images)["semantic"]
            classes = method.pixel_loss(logits, batch.targets[MASK], runtime=RUNTIME)
            auxiliary = method.auxiliary_loss(state, other, RUNTIME).loss
            (gradient,) = torch.autograd.grad(classes + 0.3 * auxiliary, method.backbone.stage1[0].weight)
            steps[kind] = -0.1 * gradient
            continue
        metrics = method.update(state, {"train": batch, "images": other}, RUNTIME)
        assert ("pixel_loss" in metrics) == (kind == "joint")
        steps[kind] = method.backbone.stage1[0].weight.detach() - before
    torch.testing.assert_close(steps["joint"], steps["whole"], atol=1e-5, rtol=1e-3)
    assert not torch.allclose(steps["alone"], steps["joint"], atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"labeller": Random.Config()}, {"objective": CrossEntropy.Config()}, {"auxiliary_after_epochs": 3}]
)
def test_segmenter__options_of_auxiliary_labels_without_a_weight__are_refused(options):
    with pytest.raises(OptionError, match=rf"{next(iter(options)).replace('_', '-')} .*auxiliary-weight, such as 0.5"):
        Segmenter.Config(**options)
    assert Segmenter.Config(**options, auxiliary_weight=0.1).uses_labels
