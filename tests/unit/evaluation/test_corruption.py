"""Accuracy under corruptions: which rows, what they mean, and that noise does not depend on how images are shared."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, TestSplit, ValSplit
from auxo.data.corruptions import KINDS, SEVERITIES, corrupt
from auxo.data.fake import SHAPES, oriented_shapes
from auxo.errors import ConfigError, DataError
from auxo.evaluation import Reader, build_corruption_table, evaluate_under_corruptions
from auxo.evaluation.corruption import _draw_blocks
from auxo.methods.ossl import OSSL
from auxo.runs import Networks
from auxo.runs.results import EvaluationRow
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from auxo.tasks import Classification
from auxo.types import Column

TASK = Classification(SHAPES, channels=3, height=28, width=28)
SOURCE = oriented_shapes(32, size=28, seed=0)
PIPELINE = InputPipeline.from_source(SOURCE)
FEW = {"kinds": ("fog", "contrast"), "severities": (1, 5)}


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with open_runtime(RuntimeConfig(device="cpu", precision="float32")) as opened:
        yield opened


@pytest.fixture(scope="module")
def method() -> OSSL:
    """An untrained network, whose answers change with the image."""
    return OSSL.Config().build(Networks(BackboneConfig(name="lenet5"), TASK, seed=3))


def rows_of(
    method: OSSL, runtime: Runtime, *, source: InMemorySource = SOURCE, **options: object
) -> list[EvaluationRow]:
    given = {"seed": 0, **FEW} | options
    reader = reader_of(method, runtime, batch_size=given.pop("batch_size", 12))
    return evaluate_under_corruptions(reader, TestSplit(source), **given)


def reader_of(method: OSSL, runtime: Runtime, *, batch_size: int = 12) -> Reader:
    return Reader(method=method, pipeline=PIPELINE, runtime=runtime, batch_size=batch_size)


def per_class(row: EvaluationRow) -> tuple[float | None, ...]:
    """The primary measure on every class or answer."""
    (parts,) = row.parts.values()
    return tuple(part.value for part in parts.values())


def test_evaluate_under_corruptions__two_kinds__gives_rows_in_order(method: OSSL, runtime: Runtime) -> None:
    rows = rows_of(method, runtime)
    assert list(dict.fromkeys(row.split for row in rows)) == [
        "test",
        "corruption/fog/1",
        "corruption/fog/5",
        "corruption/contrast/1",
        "corruption/contrast/5",
        "corruption/fog/mean",
        "corruption/contrast/mean",
        "corruption/mean/1",
        "corruption/mean/5",
        "corruption/mean",
    ]
    assert [row.head for row in rows] == ["semantic", "auxiliary", "mean"] * 10
    assert {row.kind for row in rows} == {"task"}
    assert [row.n for row in rows[::3]] == [32] * 5 + [64] * 4 + [128]


def test_evaluate_under_corruptions__all_of_them__are_75_sets_and_their_means(method: OSSL, runtime: Runtime) -> None:
    few = SOURCE.subset(torch.arange(4), "few")
    rows = rows_of(method, runtime, source=few, kinds=KINDS, severities=SEVERITIES)
    names = [row.split for row in rows[::3]]
    assert len(set(names)) == len(names) == 1 + 75 + 15 + 5 + 1


def test_evaluate_under_corruptions__clean_rows__are_those_of_evaluate(method: OSSL, runtime: Runtime) -> None:
    plain = reader_of(method, runtime).evaluate(TestSplit(SOURCE))
    assert rows_of(method, runtime)[:3] == plain[:3]


def test_evaluate_under_corruptions__corruption_without_draws__equals_a_set_corrupted_beforehand(
    method: OSSL, runtime: Runtime
) -> None:
    spoiled = corrupt(SOURCE.images, "contrast", 5, seed=9)
    source = InMemorySource("spoiled", spoiled, {"label": Column(SOURCE.columns["label"].values, SHAPES)})
    plain = reader_of(method, runtime).evaluate(ValSplit(source))[:3]
    rows = [row for row in rows_of(method, runtime) if row.split == "corruption/contrast/5"]
    assert rows == [replace(row, split="corruption/contrast/5") for row in plain]
    assert rows[0] != replace(rows_of(method, runtime)[0], split="corruption/contrast/5")


def test_evaluate_under_corruptions__means__are_means_of_the_sets(method: OSSL, runtime: Runtime) -> None:
    rows = {row.split: row for row in rows_of(method, runtime) if row.head == "semantic"}
    for name, members in {
        "fog/mean": ("fog/1", "fog/5"),
        "mean/5": ("fog/5", "contrast/5"),
        "mean": ("fog/1", "fog/5", "contrast/1", "contrast/5"),
    }.items():
        mean, parts = rows[f"corruption/{name}"], [rows[f"corruption/{member}"] for member in members]
        assert mean.main.value == pytest.approx(sum(part.main.value for part in parts) / len(parts), abs=1e-7)
        assert mean.measures["nll"].value == pytest.approx(
            sum(part.measures["nll"].value for part in parts) / len(parts)
        )
        assert per_class(mean)[1] == pytest.approx(sum(per_class(part)[1] or 0.0 for part in parts) / len(parts))
        assert "ece" not in mean.measures
        assert mean.main.low <= mean.main.value <= mean.main.high


def test_evaluate_under_corruptions__copies_that_agree__do_not_narrow_the_interval(
    method: OSSL, runtime: Runtime
) -> None:
    constant = OSSL.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    with torch.no_grad():
        for head in (constant.semantic, constant.auxiliary):
            head.weight.zero_()
            head.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    rows = {row.split: row for row in rows_of(constant, runtime) if row.head == "semantic"}
    whole, clean = rows["corruption/mean"], rows["test"]
    assert (whole.main.low, whole.main.high) == pytest.approx((clean.main.low, clean.main.high), abs=0.005)
    assert whole.n == 4 * clean.n


def test_evaluate_under_corruptions__batch_size__does_not_change_the_noise(method: OSSL, runtime: Runtime) -> None:
    for first, second in zip(rows_of(method, runtime), rows_of(method, runtime, batch_size=32), strict=True):
        assert (first.main.value, per_class(first)) == (second.main.value, per_class(second))
        assert first.measures["nll"].value == pytest.approx(second.measures["nll"].value, rel=1e-5)


def test_evaluate_under_corruptions__images_of_two_blocks__have_noise_of_their_own(runtime: Runtime) -> None:
    same = SOURCE.subset(torch.zeros(400, dtype=torch.int64), "one image, 400 times")
    method = OSSL.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    seen: list[torch.Tensor] = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    rows_of(method, runtime, source=same, kinds=("gaussian_noise",), severities=(5,), batch_size=200)
    blocks = [images for images in seen if len(images) == 200]  # others ask which heads there are
    clean, noisy = blocks[::2], blocks[1::2]
    assert torch.equal(*clean)
    assert not torch.equal(*noisy)
    assert not torch.equal(noisy[0][0], noisy[0][1])


def test_evaluate_under_corruptions__seed__decides_the_noise(method: OSSL, runtime: Runtime) -> None:
    once = rows_of(method, runtime)
    torch.manual_seed(5)
    assert rows_of(method, runtime) == once
    assert rows_of(method, runtime, seed=1)[:3] == once[:3]
    assert rows_of(method, runtime, seed=1)[3:6] != once[3:6]


def test_evaluate_under_corruptions__method__is_left_untouched(method: OSSL, runtime: Runtime) -> None:
    method.train()
    weights = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    rows_of(method, runtime)
    assert all(module.training for module in method.modules())
    assert all(torch.equal(weights[name], tensor) for name, tensor in method.state_dict().items())


def test_draw_blocks__processes__share_the_blocks_of_one(method: OSSL, runtime: Runtime) -> None:
    split = TestSplit(oriented_shapes(450, size=8, seed=0))
    reader = reader_of(method, runtime)
    whole = dict(_draw_blocks(split, reader))
    shared = {}
    for rank in range(4):
        one_of_four = replace(runtime, rank=rank, num_processes=4)
        shared |= dict(_draw_blocks(split, replace(reader, runtime=one_of_four)))
    assert sorted(shared) == sorted(whole) == [0, 1, 2]
    for number, block in whole.items():
        assert torch.equal(block.indices, torch.arange(200 * number, min(200 * number + 200, 450)))
        assert torch.equal(block.images, split.source.images[block.indices])
        for name in ("images", "labels", "indices"):
            assert torch.equal(getattr(shared[number], name), getattr(block, name))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"kinds": ("fogg",)}, "got 'fogg': did you mean fog"), ({"severities": (6,)}, "severity from 1")],
)
def test_evaluate_under_corruptions__unknown_ones__are_refused(
    options: dict[str, object], words: str, method: OSSL, runtime: Runtime
) -> None:
    with pytest.raises(ConfigError, match=words):
        rows_of(method, runtime, **options)


def test_evaluate_under_corruptions__empty_split__is_refused(method: OSSL, runtime: Runtime) -> None:
    with pytest.raises(DataError, match="images in test"):
        rows_of(method, runtime, source=SOURCE.subset(torch.empty(0, dtype=torch.int64), "nothing"))


def test_build_corruption_table__rows__are_kinds_by_severities_with_means(method: OSSL, runtime: Runtime) -> None:
    rows = rows_of(method, runtime)
    table = build_corruption_table(rows)
    assert table.columns == ("corruption", "1", "5", "mean")
    assert [line[0] for line in table.lines] == ["fog", "contrast", "mean"]
    by_split = {row.split: row for row in rows if row.head == "semantic"}
    assert table.lines[1][2] == f"{100 * by_split['corruption/contrast/5'].main.value:.1f}"
    assert table.lines[2][1] == f"{100 * by_split['corruption/mean/1'].main.value:.1f}"
    whole = by_split["corruption/mean"]
    assert (
        table.lines[2][3] == f"{100 * whole.main.value:.1f} [{100 * whole.main.low:.1f}, {100 * whole.main.high:.1f}]"
    )
    assert "32 images of test" in table.caption


def test_build_corruption_table__other_rows__are_refused(method: OSSL, runtime: Runtime) -> None:
    with pytest.raises(DataError, match="rows of corruptions"):
        build_corruption_table(rows_of(method, runtime)[:3])
