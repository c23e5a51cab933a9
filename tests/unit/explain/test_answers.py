"""Images beside their answers: which are shown, in what colours, and where the evidence for a class lies."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, PlaceMap
from auxo.errors import ConfigError, DataError, NonFiniteError
from auxo.explain import ExplainConfig, Subject, explain, grad_cam, lay_over, observe, rank_answers, show_answers
from auxo.explain.answers import find_evidence, score_images
from auxo.methods.segmenter import Segmenter
from auxo.runs import Networks
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Segmentation

NAMES = ("dark", "bright")


def build_subject(count=10):
    """A model that takes pixels for bright ones by its first weights, and images of which more and more is bright."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(count, 16, 24, dtype=torch.uint8)
    for number in range(count):
        masks[number, :, : 2 + number] = 1
    masks[:, 0, 0] = 255
    pixels = torch.where(masks.bool(), 220, 30)[:, None].expand(-1, 3, -1, -1) + torch.randint(
        20, (count, 3, 16, 24), generator=generator
    )
    source = InMemorySource("halves", pixels.to(torch.uint8), maps={"mask": PlaceMap(masks, NAMES, 255)})
    task = Segmentation.from_source(source)
    method = Segmenter.Config().build(Networks(BackboneConfig(name="conv4"), task, seed=0)).eval()
    model = TrainedModel(method, InputPipeline.from_source(source), task, {}, Path("model"), "segmentation")
    return Subject(model, source, "run", "test", Runtime(RuntimeConfig(), torch.device("cpu")), 4)


@pytest.fixture(scope="module")
def subject():
    return build_subject()


@pytest.fixture(scope="module")
def scores(subject):
    return score_images(subject)


def test_score_images__batches__are_the_scores_of_the_task(subject, scores):
    indices = torch.arange(10)
    with torch.no_grad():
        outputs = subject.model.method.predict(subject.reader.inputs(subject.source.fetch(indices)))
    expected = subject.model.task.score(outputs, subject.source.fetch_targets(indices))
    assert torch.equal(scores["confusion"], expected["confusion"].double())


@pytest.mark.parametrize(("asked", "shown"), [(2, (2, 2, 2)), (3, (3, 3, 3)), (9, (3, 3, 3))])
def test_rank_answers__images__are_worst_middle_and_best_once_each(subject, scores, asked, shown):
    ranked = rank_answers(subject, scores, num_images=asked)
    values = subject.model.task.rank_images(scores)
    assert tuple(len(each.indices) for each in ranked) == shown
    assert [each.kind for each in ranked] == ["worst", "middle", "best"]
    own = [values[each.indices] for each in ranked]
    assert own[0].max() <= own[1].min() <= own[1].max() <= own[2].min()
    assert float(own[0][0]) == float(values.min())
    assert float(own[2][0]) == float(values.max())


def test_rank_answers__image_of_which_no_pixel_is_known__is_left_out():
    subject = build_subject(4)
    subject.source.maps["mask"].values[1] = 255
    ranked = rank_answers(subject, score_images(subject), num_images=2)
    assert sorted(index for each in ranked for index in each.indices.tolist()) == [0, 2, 3]
    assert len(show_answers(subject, ranked, score_images(subject))) == 3


def test_rank_answers__no_pixel_of_the_set_is_known__is_refused():
    subject = build_subject(4)
    subject.source.maps["mask"].values[:] = 255
    with pytest.raises(DataError, match="an image of test with a right answer"):
        rank_answers(subject, score_images(subject), num_images=2)


@pytest.mark.parametrize("count", [1, 2])
def test_rank_answers__fewer_images_than_kinds__shows_each_once(count):
    subject = build_subject(count)
    ranked = rank_answers(subject, score_images(subject), num_images=3)
    assert sorted(index for each in ranked for index in each.indices.tolist()) == list(range(count))


def test_show_answers__image__has_truth_answer_and_doubt(subject, scores):
    shown = show_answers(subject, rank_answers(subject, scores, num_images=1), scores)
    (first, *_) = shown
    mask = subject.source.maps["mask"].values[first.index]
    palette = subject.model.task.palette
    assert np.array_equal(first.truth[mask == 0], np.broadcast_to(palette[0], first.truth[mask == 0].shape))
    assert first.truth[0, 0].tolist() == [255, 255, 255]
    with torch.no_grad():
        inputs = subject.reader.inputs(subject.source.fetch(torch.tensor([first.index])))
        probs = subject.model.method.predict(inputs).softmax(1)[0].double()
    entropy = -(probs * probs.log()).sum(0) / np.log(2)
    assert np.allclose(first.doubt, entropy.numpy(), atol=1e-5)
    given = probs.argmax(0)
    assert np.array_equal(first.answer, np.array(palette, dtype=np.uint8)[given.numpy()])
    known = mask != 255
    both, either = ((given == 1) & (mask == 1)).sum(), ((((given == 1) | (mask == 1)) & known).sum())
    assert first.parts.get("bright", 0.0) == pytest.approx(float(both / either))
    truth, _ = lay_over(first)
    expected = 0.4 * first.pixels[:, 5, 20].astype(float) + 0.6 * np.array(palette[0])
    assert np.abs(truth[5, 20] - expected).max() <= 0.5 + 1e-4


def test_find_evidence__class_that_is_named__is_explained_by_the_gradient_of_its_region(subject, scores):
    shown = show_answers(subject, rank_answers(subject, scores, num_images=1), scores)
    largest = []
    for name in NAMES:
        (found,) = find_evidence(subject, shown[:1], layer="stage2", classes=(name,))
        assert found.explained == name
        inputs = subject.reader.inputs(subject.source.fetch(torch.tensor([found.index])))
        raw = grad_cam(subject.model.method, inputs, layer="stage2", classes=torch.tensor([NAMES.index(name)]))
        expected = functional.interpolate(raw[:, None] / raw.max().clamp(min=1e-30), (16, 24), mode="bilinear")[0, 0]
        assert np.allclose(found.evidence, expected.numpy(), atol=1e-6)
        largest.append(float(found.evidence.max()))
    assert max(largest) > 0.5  # one class may have no evidence, but not both
    (own,) = find_evidence(subject, shown[:1], layer=None)
    assert own.parts[own.explained] == min(own.parts.values())


def test_explain__segmentation__writes_a_drawing_and_rows(subject):
    found = explain(subject, ExplainConfig(per_class=1))
    assert sorted(found.files) == ["answers.jsonl", "answers.png"]
    settings, *rows = map(json.loads, found.files["answers.jsonl"].splitlines())
    assert (settings["measure"], len(rows)) == ("mIoU", 3)
    assert {"index", "image", "shown", "mIoU", "parts", "doubt", "explained"} <= rows[0].keys()
    assert rows[0]["mIoU"] <= rows[1]["mIoU"] <= rows[2]["mIoU"]
    with Image.open(io.BytesIO(found.files["answers.png"])) as image:
        assert min(image.size) > 300
    assert "answers: 3 of 10 images" in found.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perplexity": 3.0}, "--perplexity with a task of one class per image"),
        ({"seed": 3}, "--seed with a task of one class per image"),
        ({"explained": "label"}, "--class with a task of one class per image"),
        ({"classes": ("brigt",)}, "did you mean bright"),
        ({"layer": "stage9"}, "a layer that the backbone gives the maps of"),
    ],
)
def test_explain__options_that_say_nothing_of_pixels__are_refused(subject, options, message):
    with pytest.raises(ConfigError, match=message):
        explain(subject, ExplainConfig(**options))


def test_explain__weights_that_have_diverged__are_refused():
    subject = build_subject()
    with torch.no_grad():
        subject.model.method.classifier.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="finite outputs on test"):
        explain(subject, ExplainConfig())


def test_grad_cam__logits_of_pixels__is_the_formula_for_the_mean_of_the_region(subject):
    method, images = subject.model.method, subject.reader.inputs(subject.source.fetch(torch.tensor([3])))
    found = grad_cam(method, images, layer="stage2", classes=torch.tensor([1]))[0]
    logits, features = observe(method, images)
    maps = features.maps["stage2"]
    region = logits[:, 1][logits.argmax(1) == 1]
    (gradient,) = torch.autograd.grad(region.mean(), maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu()[0]
    assert torch.allclose(found, expected, atol=1e-6)
    assert float(expected.detach().max()) > 0


def test_grad_cam__class_that_no_pixel_is_given__has_no_evidence(subject):
    method, images = subject.model.method, subject.reader.inputs(subject.source.fetch(torch.tensor([3])))
    with torch.no_grad():
        biased = method.classifier.bias.clone()
        method.classifier.bias += torch.tensor([100.0, 0.0])
        found = grad_cam(method, images, layer="stage2", classes=torch.tensor([1]))
        method.classifier.bias.copy_(biased)
    assert not found.any()
