"""What a method tells of each image in numbers."""

from pathlib import Path

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.explain import Subject
from auxo.explain.config import ExplainConfig
from auxo.explain.values import tell_values
from auxo.methods.multi_pretext import MultiPretext
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification

SOURCE = oriented_shapes(24, size=16, seed=0)
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


def make_subject(config):
    task = Classification(SOURCE.vocabulary["label"], 3, 16, 16, class_counts=(6, 6, 6, 6))
    method = config.build(Networks(BackboneConfig(name="resnet8"), task, seed=0)).eval()
    model = TrainedModel(method, InputPipeline.from_source(SOURCE), task, {}, Path("model"), "classification")
    return Subject(model=model, source=SOURCE, run="tiny", split="test", runtime=RUNTIME, batch_size=10)


def test_values__of_every_image__and_their_means_by_class():
    subject = make_subject(MultiPretext.Config.tiny())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        keys = subject.model.method.fusion.scores[0].keys.weight
        keys.copy_(torch.randn(keys.shape, generator=generator))
    told = tell_values(subject, [0, 1, 2, 3], ExplainConfig())
    classes, images = told.rows[:4], told.rows[4:]
    (inputs,) = subject.inputs(torch.tensor([0]))
    expected = subject.model.method.image_values(inputs.images)["attention_first"].item()
    assert images[0]["attention_first"] == pytest.approx(expected, abs=1e-6)
    assert [row["index"] for row in images] == list(range(24))
    labels = SOURCE.columns["label"]
    for number, row in enumerate(classes):
        own = [image for image in images if image["label"] == labels.names[number]]
        assert (row["label"], row["count"]) == (labels.names[number], len(own))
        mean = sum(image["attention_first"] for image in own) / len(own)
        assert row["attention_first"] == pytest.approx(mean, abs=1e-6)
    assert "means over 24 images" in told.note


def test_values__of_a_method_that_tells_none__are_none():
    assert tell_values(make_subject(Supervised.Config()), [0, 1], ExplainConfig()) is None
