"""Files of an explanation: rows that fit the model's answers, and drawings of them."""

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data import InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError, NonFiniteError
from auxo.explain import ExplainConfig, Subject, explain, grad_cam
from auxo.explain.attention import _locate_evidence, enlarge_map
from auxo.explain.figures import MAX_CLASSES, Attention, _place_of_name, draw_attention, draw_points
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target

RIGHT, WRONG = (0, 114, 178), (213, 94, 0)


@pytest.fixture
def subject(build_method):
    """An untrained network on 24 small images of four classes, four at a time."""
    source = oriented_shapes(24, size=16, seed=0)
    method = build_method("resnet8", 16)
    method.semantic = torch.nn.Linear(64, 4)
    task = method.task
    model = TrainedModel(method, InputPipeline.from_source(source), task, {}, Path("model"), "classification")
    runtime = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
    return Subject(model=model, source=source, run="a run", split="test", runtime=runtime, batch_size=4)


def rows_of(content):
    return [json.loads(line) for line in content.splitlines()]


def pixels_of(png):
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def has_colour(png, colour):
    return bool((pixels_of(png) == np.array(colour)).all(-1).any())


@dataclass(frozen=True)
class ByKind(Classification):
    """Classes that the column ``kind`` tells."""

    @property
    def targets(self):
        return (Target("kind", self.class_names),)


def test_explain__classes_of_another_column__are_shown_as_labels_are(subject):
    config = ExplainConfig(per_class=1, perplexity=3.0)
    expected = explain(subject, config)
    subject.model.method.task = ByKind(("a", "b", "c", "d"), 3, 16, 16)
    other = replace(subject, source=subject.source.with_columns({"kind": subject.source.columns["label"]}))
    assert explain(other, config) == expected


@pytest.fixture
def without_maps(subject, monkeypatch):
    """The subject with a backbone that gives no maps, of which Grad-CAM cannot be drawn."""
    backbone = subject.model.method.backbone
    plain = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda images: plain(images)._replace(maps={}))
    return subject


def test_explain__one_part_fails__the_other_is_there_with_the_error(without_maps):
    found = explain(without_maps, ExplainConfig(per_class=1))
    assert set(found.files) == {"tsne.jsonl", "tsne.png"}
    assert ["a backbone that gives maps" in str(failure) for failure in found.failures] == [True]


@pytest.mark.parametrize("options", [{"layer": "stage3"}, {"perplexity": 24.0}])
def test_explain__part_whose_option_was_given_fails__is_refused(without_maps, options):
    with pytest.raises(ConfigError, match="gives maps" if "layer" in options else "perplexity"):
        explain(without_maps, ExplainConfig(per_class=1, **options))


@dataclass(frozen=True)
class Depth(Classification):
    """A quantity for every pixel."""

    @property
    def targets(self):
        return (Target("depth", has_places=True),)


def test_explain__task_without_classes__is_refused_in_one_line(subject):
    subject.model.method.task = Depth(("a", "b", "c", "d"), 3, 16, 16)
    with pytest.raises(ConfigError, match="explanations, or one whose answers are drawn, got Depth") as caught:
        explain(subject, ExplainConfig())
    assert "\n" not in str(caught.value)


def test_explain__grad_cam_rows__are_the_maps_of_the_formula(subject):
    found = explain(subject, ExplainConfig(per_class=2, explained="label"))
    settings, *rows = rows_of(found.files["gradcam.jsonl"])
    assert settings == {
        "kind": "settings",
        "run": "a run",
        "split": "test",
        "layer": "stage3",
        "map_size": [4, 4],
        "class": "label",
        "seed": 0,
    }
    assert len(rows) == 8
    assert [row["label"] for row in rows] == [name for name in subject.source.vocabulary["label"] for _ in range(2)]
    indices = torch.tensor([row["index"] for row in rows])
    labels = subject.source.columns["label"].values[indices]
    images = torch.cat([part.images for part in subject.inputs(indices)])
    maps = grad_cam(subject.model.method, images, layer="stage3", classes=labels)
    probs = subject.model.method.predict(images).softmax(1).detach()
    for row, attention, label, prob in zip(rows, maps, labels.tolist(), probs, strict=True):
        assert row["explained"] == row["label"] == subject.source.vocabulary["label"][label]
        assert row["predicted"] == subject.source.vocabulary["label"][int(prob.argmax())]
        assert row["probability"] == pytest.approx(float(prob[label]), rel=1e-4)
        assert row["largest"] == pytest.approx(float(attention.max()), rel=1e-4)
        scaled = attention / attention.max() if attention.any() else attention
        np.testing.assert_allclose(np.array(row["attention"]), scaled.numpy(), atol=1e-4)
        assert row["image"] == subject.source.describe(row["index"])


def test_explain__predicted_class__is_the_one_explained(subject):
    _, *rows = rows_of(explain(subject, ExplainConfig(per_class=1)).files["gradcam.jsonl"])
    assert all(row["explained"] == row["predicted"] for row in rows)


def test_explain__t_sne_rows__are_one_per_picture(subject):
    found = explain(subject, ExplainConfig(per_class=1, num_points=20, perplexity=5.0))
    settings, *rows = rows_of(found.files["tsne.jsonl"])
    assert settings["num_images"] == len(rows) == 20
    assert settings["num_features"] == 64
    assert settings["perplexity"] == 5
    assert settings["divergence"] >= 0
    assert len({row["index"] for row in rows}) == 20
    for row in rows:
        assert (
            row["label"]
            == subject.source.vocabulary["label"][int(subject.source.columns["label"].values[row["index"]])]
        )
        assert np.isfinite([row["x"], row["y"]]).all()
    assert found.notes == ["Grad-CAM: 4 images, layer stage3 (4x4)", "t-SNE: 20 images, perplexity 5"]


def test_explain__same_seed__equal_files_and_other_seed_other_pictures(subject, tmp_path):
    first, second, other = (explain(subject, ExplainConfig(per_class=1, seed=seed)) for seed in (0, 0, 1))
    assert first.files == second.files
    assert first.files["gradcam.jsonl"] != other.files["gradcam.jsonl"]
    first.write(tmp_path / "deep" / "folder")
    for name, content in first.files.items():
        data = content.encode() if isinstance(content, str) else content
        assert (tmp_path / "deep" / "folder" / name).read_bytes() == data


def test_explain__some_classes__shows_those(subject):
    found = explain(subject, ExplainConfig(per_class=2, classes=("wedge", "arrow")))
    for name in ("gradcam.jsonl", "tsne.jsonl"):
        _, *rows = rows_of(found.files[name])
        assert {row["label"] for row in rows} == {"wedge", "arrow"}


def test_explain__diverged_weights__are_refused(subject):
    with torch.no_grad():
        subject.model.method.semantic.bias[0] = torch.nan
    with pytest.raises(NonFiniteError, match="finite logits on test"):
        explain(subject, ExplainConfig())


def test_explain__model_without_a_class_head__has_the_points_alone(subject):
    whole = explain(subject, ExplainConfig(num_points=20))
    subject.model.method.head_names = ()
    found = explain(replace(subject), ExplainConfig(num_points=20))
    assert list(found.files) == ["tsne.jsonl", "tsne.png"]
    assert found.notes == ["Grad-CAM: left out, for a run has no class head", "t-SNE: 20 images, perplexity 6.33333"]
    (_, *rows), (_, *expected) = rows_of(found.files["tsne.jsonl"]), rows_of(whole.files["tsne.jsonl"])
    assert rows == [{**row, "predicted": None} for row in expected]


def test_enlarged__map_of_the_middle__leaves_the_rim_empty():
    attention = torch.ones(5, 5)
    found = enlarge_map(attention, (20, 19), (28, 28))
    assert found.shape == (28, 28)
    assert found.sum() == 20 * 19
    assert found[4:24, 4:23].all()


def test_places__attention_in_a_corner__has_its_peak_there_and_no_share_in_the_centre():
    attention = torch.zeros(8, 12)
    attention[1, 10] = 2
    assert _locate_evidence(attention) == {"peak": [1, 10], "centre_share": 0}


def test_places__even_attention__has_a_quarter_in_the_centre():
    assert _locate_evidence(torch.ones(8, 12))["centre_share"] == 0.25


def test_places__no_attention__has_no_place():
    assert _locate_evidence(torch.zeros(8, 8)) == {"peak": None, "centre_share": None}


@pytest.mark.parametrize(("predicted", "colour", "other"), [("a", RIGHT, WRONG), ("b", WRONG, RIGHT)])
def test_draw_attention__answer__decides_the_colour_of_the_frame(predicted, colour, other):
    shown = Attention(np.zeros((1, 8, 8), dtype=np.uint8), np.zeros((8, 8), dtype=np.float32), "a", predicted)
    picture = draw_attention([[shown, shown]], title="", caption="")
    assert has_colour(picture, colour)
    assert not has_colour(picture, other)


def test_draw_attention__map_of_the_middle__leaves_the_rim_as_it_is_inside_a_dotted_line():
    pixels, attention = np.full((3, 20, 20), 200, np.uint8), np.zeros((20, 20), np.float32)
    whole, part = (Attention(pixels, attention, "a", "a", covered) for covered in (None, (10, 10)))
    assert (whole.is_partly_covered, part.is_partly_covered) == (False, True)
    assert not Attention(pixels, attention, "a", "a", (20, 20)).is_partly_covered
    all_dark, partly_dark = (pixels_of(draw_attention([[shown]], title="", caption="")) for shown in (whole, part))
    area = (all_dark == 200).all(-1).sum()  # of the image itself, to the left
    assert 0.7 < (all_dark != partly_dark).any(-1).sum() / area < 0.85


def test_draw_attention__more_classes__is_a_larger_picture_in_two_columns():
    shown = Attention(np.full((3, 8, 8), 9, dtype=np.uint8), np.ones((8, 8), dtype=np.float32), "a", "a")
    five, six, wide = (
        pixels_of(draw_attention(rows, title="", caption="")).shape
        for rows in ([[shown]] * 5, [[shown]] * 6, [[shown] * 3] * 6)
    )
    assert six[0] < five[0]
    assert six[1] < wide[1]


def draw_one(number, names, *, is_right=True):
    """Draw a single point of a class."""
    return draw_points(np.zeros((1, 2)), np.array([number]), np.array([is_right]), names, title="t", caption="c")


def test_draw_points__every_class__has_its_own_colour_and_marker():
    names = ["same"] * MAX_CLASSES  # so that nothing but the point and its mark in the legend can differ
    drawn = [draw_one(number, names) for number in (0, 1, 6, 7, 8, 14, MAX_CLASSES - 1)]
    assert len(set(drawn)) == len(drawn)
    assert [has_colour(picture, RIGHT) for picture in drawn] == [True, False, False, True, False, True, False]


def test_draw_points__wrong_answer__has_another_rim():
    right, wrong = (draw_one(1, ["a", "b"], is_right=is_right) for is_right in (True, False))
    assert has_colour(right, WRONG)
    assert has_colour(wrong, WRONG)
    assert right != wrong


@pytest.mark.parametrize("drawing", ["attention", "points"])
def test_draw__long_title_and_names__stay_inside_the_picture(drawing):
    points = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    words = ["ood/corrupted-imagenette", "wrn_28_2_fixmatch", "run-of-the-second-week-" * 5]
    long, short = (
        pixels_of(
            draw_attention(
                [[Attention(np.zeros((1, 8, 8), np.uint8), np.zeros((8, 8), np.float32), "a", "a")]], **texts
            )
            if drawing == "attention"
            else draw_points(
                points, np.array([0, 0, 1]), np.ones(3, bool), ["a", "Staffordshire bullterriers"], **texts
            )
        )
        for texts in ({"title": " ".join(words * 2), "caption": ""}, {"title": "t", "caption": ""})
    )
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0]
    rim = np.concatenate([long[:, :6], long[:, -6:]], axis=1)
    assert (rim == 255).all()


def test_draw_points__no_class_head__has_no_rims_and_no_word_of_them():
    picture = draw_points(np.zeros((1, 2)), np.array([1]), None, ["a", "b"], title="t", caption="c")
    assert has_colour(picture, WRONG)
    assert picture not in (draw_one(1, ["a", "b"]), draw_one(1, ["a", "b"], is_right=False))


def test_draw_points__class_that_others_outnumber__is_explained_below():
    points = np.random.default_rng(0).normal(size=(200, 2))
    mixed, apart = np.arange(200) % 10, np.zeros(200, dtype=np.int64)
    names = list("abcdefghij")
    heights = [
        pixels_of(draw_points(points, labels, np.ones(200, bool), names, title="t", caption="c")).shape[0]
        for labels in (mixed, apart)
    ]
    assert heights[0] > heights[1]


def test_draw_points__class_without_points__is_left_out():
    picture = draw_one(0, ["a", "none of it"])
    assert picture == draw_one(0, ["a"])
    assert has_colour(picture, RIGHT)
    assert not has_colour(picture, WRONG)


def test_explain__rare_class__may_have_no_point(subject):
    whole = subject.source
    places = torch.cat([(whole.columns["label"].values == label).nonzero().flatten() for label in range(4)])
    uneven = whole.subset(places[[*range(6), *range(6, 12), *range(12, 18), 18]], "uneven")
    found = explain(replace(subject, source=uneven), ExplainConfig(per_class=1, num_points=4))
    _, *rows = rows_of(found.files["tsne.jsonl"])
    assert len(rows) == 4
    assert len({row["label"] for row in rows}) == 3


def test_place_of_name__class_with_a_group__is_in_the_group():
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(30, 2)) * 20, generator.normal(size=(20, 2)) * 0.1 + 50])
    place = _place_of_name(points, np.arange(50) >= 20)
    assert np.linalg.norm(place - 50) < 1


def test_place_of_name__class_among_more_of_others__has_none():
    points = np.random.default_rng(0).normal(size=(200, 2))
    assert _place_of_name(points, np.arange(200) % 10 == 0) is None


def test_place_of_name__one_point__is_there():
    points = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert _place_of_name(points, np.array([False, True])).tolist() == [3, 4]
