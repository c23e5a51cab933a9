import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data import (
    DataConfig,
    InputPipeline,
    OODSplit,
    StreamingSource,
    TestSplit,
    TrainSplit,
    ValSplit,
    read_source,
)
from auxo.data.fake import SHAPES, oriented_shapes
from auxo.errors import ConfigError, DataError, NonFiniteError, ShapeError
from auxo.evaluation import Reader
from auxo.interfaces import PretextBatch, PretextHead
from auxo.methods.gssl import GSSL
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.pretexts.rotation import Rotation
from auxo.runs import Networks
from auxo.runs.results import EvaluationRow
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from auxo.tasks import Classification, Part, wilson_interval

from .processes import in_processes

TASK = Classification(SHAPES, channels=3, height=28, width=28)
SOURCE = oriented_shapes(50, size=28, seed=0)
SPLIT = TestSplit(SOURCE)
PIPELINE = InputPipeline.from_source(SOURCE)
MAIN_PROCESS = os.getpid()


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with open_runtime(RuntimeConfig(device="cpu", precision="float32")) as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path, write_picture: Callable[..., None]) -> StreamingSource:
    """The images of the split as files."""
    for number, (image, label) in enumerate(zip(SOURCE.images, SOURCE.columns["label"].values.tolist(), strict=True)):
        write_picture(tmp_path / "photos" / SHAPES[label] / f"{number:03d}.png", image)
    source = read_source(str(tmp_path / "photos"), DataConfig(storage="stream"))
    assert isinstance(source, StreamingSource)
    return source


def ossl(backbone: str = "lenet5") -> OSSL:
    return OSSL.Config().build(Networks(BackboneConfig(name=backbone), TASK, seed=0))


def reader_of(method: nn.Module, runtime: Runtime, *, batch_size: int = 16, workers: int = 0) -> Reader:
    return Reader(method=method, pipeline=PIPELINE, runtime=runtime, batch_size=batch_size, workers=workers)


def rows_of(
    method: nn.Module, runtime: Runtime, *, split: TestSplit = SPLIT, batch_size: int = 16
) -> list[EvaluationRow]:
    return reader_of(method, runtime, batch_size=batch_size).evaluate(split)


def per_class(row: EvaluationRow) -> tuple[float | None, ...]:
    """The primary measure on every class or answer."""
    (parts,) = row.parts.values()
    return tuple(part.value for part in parts.values())


def test_evaluate__pretexts_of_many_variants__takes_four_passes_an_image_and_all_answers(runtime: Runtime) -> None:
    method = GSSL.Config().build(Networks(BackboneConfig(name="lenet5"), TASK, seed=0))
    rows = {row.head: row for row in rows_of(method, runtime) if row.kind == "pretext"}
    images = {"flip": 50 / 6, "lorot": 50 / 12, "channel_shuffle": 50 / 18}
    variants = {"flip": 8, "lorot": 16, "channel_shuffle": 24}
    assert {name: row.n for name, row in rows.items()} == {n: ceil(images[n]) * variants[n] for n in images}
    assert all(None not in per_class(row) for row in rows.values())
    again = {row.head: row for row in rows_of(method, runtime, batch_size=7) if row.kind == "pretext"}
    assert {name: (row.n, row.main.value) for name, row in again.items()} == {
        name: (row.n, row.main.value) for name, row in rows.items()
    }


def test_evaluate__two_class_heads_and_rotation__gives_four_rows_in_order(runtime: Runtime) -> None:
    rows = rows_of(ossl(), runtime)
    assert [(row.head, row.kind, row.n) for row in rows] == [
        ("semantic", "task", 50),
        ("auxiliary", "task", 50),
        ("mean", "task", 50),
        ("rotation", "pretext", 200),
    ]
    for row in rows:
        assert row.split == "test"
        assert (row.main.low, row.main.high) == wilson_interval(round(row.main.value * row.n), row.n)
        assert len(per_class(row)) == 4
        assert ("ece" in row.measures) == (row.kind == "task")
        assert row.chance == 0.25


def test_evaluate__one_class_head__has_no_mean(runtime: Runtime) -> None:
    method = Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    (row,) = rows_of(method, runtime)
    assert row.kind == "task"


def test_evaluate__logits_of_the_whole_set__give_the_same_numbers(runtime: Runtime) -> None:
    method = ossl().eval()
    pixels = SOURCE.fetch(torch.arange(50)).float() / 255
    images = (pixels - PIPELINE.mean.view(-1, 1, 1)) / PIPELINE.std.view(-1, 1, 1)
    with torch.no_grad():
        logits = method.head_logits(images)
        logits["mean"] = (logits["semantic"] + logits["auxiliary"]) / 2
        rotated = torch.cat([torch.rot90(images, turns, (2, 3)) for turns in range(4)])
        logits["rotation"] = method.pretext_heads()["rotation"].answer(rotated)
    answers = dict.fromkeys(logits, SOURCE.columns["label"].values) | {
        "rotation": torch.arange(4).repeat_interleave(50)
    }
    for row in rows_of(method, runtime):
        hits = logits[row.head].argmax(1) == answers[row.head]
        assert row.main.value == hits.double().mean().item()
        expected = nn.functional.cross_entropy(logits[row.head].double(), answers[row.head]).item()
        assert row.measures["nll"].value == pytest.approx(expected, rel=1e-5)


def test_evaluate__constant_predictor__scores_a_quarter_on_rotation(runtime: Runtime) -> None:
    method = ossl()
    with torch.no_grad():
        method.pretext.head.weight.zero_()
        method.pretext.head.bias.copy_(torch.tensor([0.0, 0.0, 3.0, 0.0]))
    row = rows_of(method, runtime)[-1]
    assert (row.head, row.n, row.main.value) == ("rotation", 200, 0.25)
    assert per_class(row) == (0.0, 0.0, 1.0, 0.0)


def test_evaluate__batch_size__does_not_change_the_rows(runtime: Runtime) -> None:
    method = ossl("resnet8")
    whole, pieces = rows_of(method, runtime, batch_size=64), rows_of(method, runtime, batch_size=7)
    for first, second in zip(whole, pieces, strict=True):
        assert (first.n, first.main.value, per_class(first)) == (second.n, second.main.value, per_class(second))
        assert first.measures["nll"].value == pytest.approx(second.measures["nll"].value, rel=1e-5)


def test_evaluate__method__is_left_untouched(runtime: Runtime) -> None:
    method = ossl("resnet8").train()
    method.backbone.norm.eval()
    modes = [module.training for module in method.modules()]
    weights = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    torch.manual_seed(0)
    rows_of(method, runtime)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert [module.training for module in method.modules()] == modes
    assert True in modes
    assert False in modes
    assert all(torch.equal(weights[name], tensor) for name, tensor in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
    images = torch.rand(4, 3, 28, 28)
    assert method.head_logits(images)["semantic"].requires_grad


def test_evaluate__error_inside__still_restores_the_modes(runtime: Runtime) -> None:
    method = ossl().train()
    with torch.no_grad():
        method.semantic.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="finite logits of semantic on test"):
        rows_of(method, runtime)
    assert all(module.training for module in method.modules())


@pytest.mark.parametrize(
    ("split", "name"),
    [(TrainSplit(SOURCE), "train"), (ValSplit(SOURCE), "val"), (OODSplit(SOURCE), "ood/oriented-shapes")],
)
def test_evaluate__any_split__is_named_in_every_row(
    split: TrainSplit | ValSplit | OODSplit, name: str, runtime: Runtime
) -> None:
    rows = reader_of(ossl(), runtime).evaluate(split)
    assert {row.split for row in rows} == {name}


def test_evaluate__class_without_images__has_no_accuracy(runtime: Runtime) -> None:
    part = TestSplit(SOURCE.subset((SOURCE.columns["label"].values != 2).nonzero().flatten(), "part"))
    rows = [row for row in rows_of(ossl(), runtime, split=part) if row.kind == "task"]
    assert [row.head for row in rows] == ["semantic", "auxiliary", "mean"]
    assert all(per_class(row)[2] is None and per_class(row)[1] is not None for row in rows)


def test_evaluate__empty_split__is_refused(runtime: Runtime) -> None:
    empty = SOURCE.subset(torch.empty(0, dtype=torch.int64), "nothing")
    with pytest.raises(DataError, match="images in test"):
        rows_of(ossl(), runtime, split=TestSplit(empty))


class _Pixels(Rotation):
    """A pretext whose answers are numbers, not classes."""

    def make_all(self, images: torch.Tensor) -> PretextBatch:
        return PretextBatch(images, images.mean((1, 2, 3)), torch.arange(len(images)))


class _WithPixels(OSSL):
    def pretext_heads(self) -> dict[str, PretextHead]:
        return {"pixels": PretextHead(_Pixels(), lambda images: self.pretext.head(self.backbone(images).pooled))}


def test_evaluate__pretext_without_classes__is_refused(runtime: Runtime) -> None:
    method = _WithPixels(OSSL.Config(), Networks(BackboneConfig(), TASK, seed=0))
    with pytest.raises(ShapeError, match=r"float32 of shape .* from _Pixels"):
        rows_of(method, runtime)


def test_evaluate__one_of_two_heads_called_mean__is_refused(runtime: Runtime) -> None:
    method = ossl()
    method.head_names = ("a", "mean")
    with pytest.raises(ConfigError, match="heads of other names than 'mean'"):
        rows_of(method, runtime)


def test_evaluate__heads_other_than_the_method_says__are_refused(runtime: Runtime) -> None:
    method = ossl()
    method.head_names = ("semantic",)
    with pytest.raises(ConfigError, match="head_names in OSSL, semantic, got semantic, auxiliary"):
        rows_of(method, runtime)


class InWorkers(StreamingSource):
    """A source that refuses to decode in the process that made it."""

    def fetch(self, indices: torch.Tensor) -> torch.Tensor:
        assert os.getpid() != MAIN_PROCESS
        return super().fetch(indices)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later, with workers
def test_evaluate__streaming_set_with_workers__is_decoded_there_to_the_same_rows(
    runtime: Runtime, pictures: StreamingSource
) -> None:
    method = ossl()
    there = InWorkers(pictures.name, pictures.encoded, pictures.columns)
    rows = reader_of(method, runtime).evaluate(TestSplit(pictures))
    assert reader_of(method, runtime, workers=2).evaluate(TestSplit(there)) == rows


def test_to_record__rows__survive_json(runtime: Runtime) -> None:
    rows = rows_of(ossl(), runtime)
    rows[0] = replace(rows[0], parts={"class": {"a": Part(3, 0.5), "b": Part(0, None)}}, notes=("few",))
    records = [json.loads(json.dumps(row.to_record(), allow_nan=False)) for row in rows]
    assert records[0]["parts"] == {"class": {"a": [3, 0.5], "b": [0, None]}}
    assert [EvaluationRow.from_record(record) for record in records] == rows


@pytest.mark.slow
def test_evaluate__two_processes__equal_one_even_if_one_has_no_image(tmp_path: Path, runtime: Runtime) -> None:
    sizes = [27, 1]
    splits = [TestSplit(oriented_shapes(size, size=28, seed=1)) for size in sizes]
    expected = [row.to_record() for split in splits for row in rows_of(ossl(), runtime, split=split)]
    first, second = in_processes("evaluate_in_one_process.py", tmp_path, *sizes)
    assert first == second
    for found, whole in zip(first, expected, strict=True):
        measures, others = found.pop("measures"), whole.pop("measures")
        assert found == whole
        assert measures["accuracy"] == others["accuracy"]
        for name, measure in others.items():
            assert measures[name]["value"] == pytest.approx(measure["value"], rel=1e-5, abs=1e-5)
