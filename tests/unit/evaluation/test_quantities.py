"""A task of quantities: a stack of maps for each image, an error in metres that no class and no percent know."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, TestSplit
from auxo.errors import ConfigError
from auxo.evaluation import Reader, build_corruption_table, build_table, evaluate_under_corruptions
from auxo.interfaces import AbstractMethod, MethodConfig
from auxo.runs import Compute, Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import AbstractTask, Answer, Measure, Measured, Target

SIZE = 16


@dataclass(frozen=True)
class Depth(AbstractTask):
    """The mean of two maps; its error has the name of a measure of classes."""

    channels: int = 3
    height: int = SIZE
    width: int = SIZE
    primary: ClassVar[str] = "ece"

    @classmethod
    def from_source(cls, source):
        return cls(*source.image_shape)

    @property
    def targets(self):
        return (Target("depth", has_places=True),)

    @property
    def num_outputs(self):
        return 1

    @property
    def chance(self):
        return 3.2

    def losses(self, outputs, targets):
        return (outputs.flatten(1).mean(1) - targets["depth"].mean((1, 2, 3))).abs()

    def score(self, outputs, targets):
        assert targets["depth"].ndim == 4
        return {"error": self.losses(outputs.detach(), targets)}

    def measure(self, scores, columns):
        error = Measure(float(scores["error"].mean()), unit="m", higher_is_better=False)
        return Measured({"ece": error, "worst": error._replace(has_mean=False)}, {})

    def image_values(self, scores):
        return scores["error"]

    def answer_columns(self):
        return ("depth",)

    def answers(self, outputs):
        return [Answer((f"{value:.3f}",)) for value in outputs[:, 0].tolist()]


class OneNumber(AbstractMethod):
    """Predicts a number for each image by one layer."""

    def __init__(self, networks):
        super().__init__(MethodConfig(), networks)
        self.layer = torch.nn.Linear(self.backbone.num_features, 1)

    def optimizers(self):
        return {"main": torch.optim.SGD(self.parameters(), lr=0.1)}

    def update(self, state, batches, runtime):
        batch = batches["train"]
        loss = self.task.losses(self.head_logits(batch.images)["semantic"], batch.targets).mean()
        runtime.step(state.optimizers["main"], loss)
        return {"loss": loss.detach()}

    def head_logits(self, images):
        return {"semantic": self.layer(self.backbone(images).pooled)}


class Stacks(InMemorySource):
    """A stack of two maps for each image, as a source of one's own may give."""

    def fetch_targets(self, indices):
        return {**super().fetch_targets(indices), "depth": 5 * torch.ones(len(indices), 2, SIZE, SIZE)}

    def subset(self, indices, name):
        return Stacks(name, self.images[indices])


@pytest.fixture
def split():
    return TestSplit(Stacks("depths", torch.randint(0, 256, (6, 3, SIZE, SIZE), dtype=torch.uint8)))


@pytest.fixture
def reader(split):
    task = Depth()
    method = OneNumber(Networks(BackboneConfig(name="densenet40_12"), task, seed=0))
    pipeline = InputPipeline.from_source(split.source)
    runtime = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
    return Reader(method=method, pipeline=pipeline, runtime=runtime, batch_size=4)


def test_evaluate_under_corruptions__error_in_metres__has_means_and_intervals_of_its_own(reader, split):
    rows = evaluate_under_corruptions(reader, split, seed=0, kinds=("fog", "contrast"), severities=(1, 5))
    by_name = {row.split: row for row in rows}
    members = [by_name[f"corruption/{kind}/{severity}"] for kind in ("fog", "contrast") for severity in (1, 5)]
    mean = by_name["corruption/mean"]
    assert mean.main.value == pytest.approx(sum(row.main.value for row in members) / 4)
    assert mean.main.low < mean.main.value < mean.main.high
    assert mean.main.unit == "m"
    assert set(mean.measures) == {"ece"}
    assert set(members[0].measures) == {"ece", "worst"}
    caption = build_corruption_table(rows).caption
    assert caption.startswith("ECE in m (lower is better) of semantic")


def test_tallies__targets_that_are_stacks__have_room_in_a_process_without_images(reader, split):
    (tally,) = reader.tallies(split)["semantic"]
    assert {name: values.shape for name, values in tally.merge().items()} == {"error": (6,)}


def test_evaluate__primary_measure_that_the_task_does_not_return__is_refused(reader, split):
    class Misnamed(Depth):
        primary = "absent"

    reader.method.task = Misnamed()
    with pytest.raises(ConfigError, match="the primary measure 'absent' of Misnamed, got ece, worst"):
        reader.evaluate(split)


def test_build_table__measure_without_intervals__speaks_of_none(reader, split):
    caption = build_table(reader.evaluate(split), selection=None, compute=Compute(1.0, 6)).caption
    assert caption.startswith(
        "ECE in m (lower is better), the spread over seeds is not known. Guessing would reach: sem"
    )
    assert "interval" not in caption
