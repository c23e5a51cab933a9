"""Accuracy under attack by foolbox: strength, the ball, and what is left alone."""

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, TestSplit
from auxo.data.fake import SHAPES, oriented_shapes
from auxo.errors import ConfigError, DataError, NonFiniteError
from auxo.evaluation import AttackConfig, Reader, adversarial_images, evaluate_under_attack
from auxo.evaluation.attacks.deepfool import DeepFool
from auxo.evaluation.attacks.fmn import FMN
from auxo.evaluation.attacks.momentum import Momentum
from auxo.evaluation.attacks.noise import Noise
from auxo.evaluation.attacks.pgd import PGD
from auxo.evaluation.attacks.pgd_margin import PGDMargin
from auxo.interfaces import AbstractBackbone
from auxo.losses.attacks import PGDConfig, projected_gradient_descent
from auxo.methods.supervised import Supervised
from auxo.options import list_members
from auxo.random import Draws, named_generator
from auxo.runs import Networks
from auxo.runs.results import EvaluationRow
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from auxo.tasks import Classification, wilson_interval
from auxo.types import Column, Features, Normalisation

SOURCE = oriented_shapes(24, size=28, seed=1)
TASK = Classification(SHAPES, channels=3, height=28, width=28)
PIPELINE = InputPipeline.from_source(SOURCE)
NORMALISATION = Normalisation(PIPELINE.mean.view(-1, 1, 1), PIPELINE.std.view(-1, 1, 1))
EPSILON = 0.15
WEAK = PGD(step_size=0.04, steps=8)
ATTACKS = (WEAK, PGDMargin(step_size=0.04, steps=8), Momentum(step_size=0.04, steps=8), FMN(), DeepFool(), Noise())


@pytest.fixture(scope="module", autouse=True)
def foolbox() -> object:
    return pytest.importorskip("foolbox", exc_type=ImportError, reason="foolbox is not installed (extra auxo[robust])")


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with open_runtime(RuntimeConfig(device="cpu", precision="float32")) as opened:
        yield opened


@pytest.fixture(scope="module")
def trained() -> Supervised:
    """A LeNet-5 that tells nearly all shapes apart, in training mode."""
    method = Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    train = oriented_shapes(96, size=28, seed=0)
    inputs = NORMALISATION.to_inputs(train.images.float() / 255)
    optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy(method.predict(inputs), train.columns["label"].values).backward()
        optimizer.step()
    optimizer.zero_grad()
    return method


class InPixels(nn.Module):
    """A method from pixels to logits."""

    def __init__(self, method: Supervised) -> None:
        super().__init__()
        self.method = method

    def forward(self, pixels: Tensor) -> Tensor:
        return self.method.predict(NORMALISATION.to_inputs(pixels))


def rows_of(method: Supervised, runtime: Runtime, *attacks: AttackConfig, seed: int = 0) -> list[EvaluationRow]:
    reader = reader_of(method, runtime)
    return evaluate_under_attack(reader, TestSplit(SOURCE), attacks=attacks, epsilon=EPSILON, seed=seed)


def is_no_better(one: EvaluationRow, other: EvaluationRow) -> bool:
    return one.main.value <= other.main.value and one.measures["nll"].value >= other.measures["nll"].value


def reader_of(method: Supervised, runtime: Runtime, *, batch_size: int = 24) -> Reader:
    return Reader(method=method, pipeline=PIPELINE, runtime=runtime, batch_size=batch_size)


def test_attacks__of_auxo__are_all_tried_here() -> None:
    assert {attack.name for attack in ATTACKS} == set(list_members(AttackConfig))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_adversarial_images__any_attack__lie_in_the_ball_and_the_range(
    attack: AttackConfig, trained: Supervised
) -> None:
    pixels = SOURCE.images.float() / 255
    pixels[:, :, :4], pixels[:, :, -4:] = 0.0, 1.0
    before = pixels.clone()
    labels = SOURCE.columns["label"].values
    found = adversarial_images(InPixels(trained).eval(), pixels, labels, attack, epsilon=EPSILON, seed=0)
    assert torch.equal(pixels, before)
    assert (found - pixels).abs().max() <= EPSILON + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert attack == Noise() or not torch.equal(found, pixels)  # noise that misled nobody is not kept
    trained.zero_grad()
    trained.train()


def test_adversarial_images__the_librarys_pgd__is_as_strong_as_ours(trained: Supervised) -> None:
    pixels, labels = SOURCE.images.float() / 255, SOURCE.columns["label"].values
    network = InPixels(trained).eval()
    theirs = adversarial_images(network, pixels, labels, WEAK, epsilon=EPSILON, seed=0)
    inputs = projected_gradient_descent(
        NORMALISATION.to_inputs(pixels),
        NORMALISATION,
        lambda inputs: cross_entropy(trained.predict(inputs), labels, reduction="sum"),
        PGDConfig(steps=WEAK.steps, epsilon=EPSILON, step_size=WEAK.step_size),
        draws=Draws(named_generator(0, "attack")),
    )
    with torch.no_grad():
        clean = cross_entropy(network(pixels), labels).item()
        by_them = cross_entropy(network(theirs), labels).item()
        by_us = cross_entropy(trained.predict(inputs), labels).item()
    assert by_us > 3 * clean
    assert by_us == pytest.approx(by_them, rel=0.02)
    trained.zero_grad()
    trained.train()


def test_evaluate_under_attack__every_attack__has_a_row_no_better_than_clean_and_the_worst_is_last(
    trained: Supervised, runtime: Runtime
) -> None:
    rows = rows_of(trained, runtime, *ATTACKS)
    assert [row.split for row in rows] == ["test", *(f"test/{attack.name}" for attack in ATTACKS), "test/all_attacks"]
    assert {(row.head, row.kind, row.n) for row in rows} == {("semantic", "task", 24)}
    clean, *attacked, worst = rows
    (plain,) = reader_of(trained, runtime).evaluate(TestSplit(SOURCE))
    assert clean == plain
    assert clean.main.value >= 0.9
    assert all(is_no_better(row, clean) for row in attacked)
    assert all(is_no_better(worst, row) for row in attacked)
    by_name = dict(zip([attack.name for attack in ATTACKS], attacked, strict=True))
    assert by_name["pgd"].main.value < clean.main.value - 0.2
    assert by_name["noise"].main.value >= by_name["pgd"].main.value
    for row in rows:
        assert (row.main.low, row.main.high) == wilson_interval(round(row.main.value * row.n), row.n)


class Flat(AbstractBackbone):
    """The pixels themselves as features."""

    num_features = 3 * 28 * 28

    def forward(self, images: Tensor) -> Features:
        return Features(images.flatten(1), {})


def linear_method() -> Supervised:
    """Two classes by a hyperplane through the middle of the images of :func:`grey_source`."""
    task = Classification(("dark", "bright"), channels=3, height=28, width=28)
    method = Supervised.Config().build(Networks(Flat(), task, seed=0))
    weights = torch.randn(Flat.num_features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        method.semantic.weight.copy_(torch.stack([-weights, weights]))
        middle = NORMALISATION.to_inputs(torch.full((1, 3, 28, 28), 127 / 255)).flatten(1)
        method.semantic.bias.copy_(torch.stack([middle @ weights, -middle @ weights]).flatten())
    return method


def grey_source(method: Supervised) -> InMemorySource:
    """Greys between 107 and 147, so that no attack meets the ends of the range, labelled as the method tells them."""
    images = torch.randint(107, 148, (60, 3, 28, 28), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    with torch.no_grad():
        labels = method.predict(NORMALISATION.to_inputs(images.float() / 255)).argmax(1)
    return InMemorySource("greys", images, {"label": Column(labels, ("dark", "bright"))})


def test_evaluate_under_attack__linear_network__has_the_robust_accuracy_of_the_closed_form(runtime: Runtime) -> None:
    method = linear_method()
    source = grey_source(method)
    weights = (method.semantic.weight[1] - method.semantic.weight[0]).detach().view(3, 28, 28) / NORMALISATION.std
    with torch.no_grad():
        logits = method.predict(NORMALISATION.to_inputs(source.images.float() / 255))
    distances = (logits[:, 1] - logits[:, 0]).abs() / weights.abs().sum()  # in the maximum norm, in pixels
    epsilon = float(distances.sort().values[29:31].mean())
    attacks = [kind(step_size=epsilon / 4, steps=12) for kind in (PGD, PGDMargin, Momentum)]
    reader = reader_of(method, runtime, batch_size=25)
    rows = evaluate_under_attack(reader, TestSplit(source), attacks=attacks, epsilon=epsilon, seed=0)
    assert rows[0].main.value == 1.0
    assert [row.main.value for row in rows[1:]] == [0.5] * 4


def test_evaluate_under_attack__method_and_generators__are_left_alone(trained: Supervised, runtime: Runtime) -> None:
    trained.semantic.bias.requires_grad_(False)
    trained.backbone.eval()
    modes = [module.training for module in trained.modules()]
    asked = [parameter.requires_grad for parameter in trained.parameters()]
    weights = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    torch.manual_seed(0)
    rows_of(trained, runtime, replace(WEAK, steps=2), Noise())
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert [module.training for module in trained.modules()] == modes
    assert [parameter.requires_grad for parameter in trained.parameters()] == asked
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert all(torch.equal(weights[name], tensor) for name, tensor in trained.state_dict().items())
    trained.semantic.bias.requires_grad_(True)
    trained.train()


def test_evaluate_under_attack__one_seed__gives_the_same_rows(trained: Supervised, runtime: Runtime) -> None:
    config = replace(WEAK, steps=2, restarts=2)
    once = rows_of(trained, runtime, config)
    torch.manual_seed(5)
    assert rows_of(trained, runtime, config) == once
    assert rows_of(trained, runtime, config, seed=1) != once


def test_evaluate_under_attack__more_restarts__are_no_weaker(trained: Supervised, runtime: Runtime) -> None:
    one = replace(WEAK, steps=2)
    first, more = (rows_of(trained, runtime, replace(one, restarts=restarts))[1] for restarts in (1, 4))
    assert more.main.value <= first.main.value
    assert more.measures["nll"].value > first.measures["nll"].value


def test_evaluate_under_attack__flat_network__gives_clean_numbers_under_every_attack(runtime: Runtime) -> None:
    method = Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    with torch.no_grad():
        method.semantic.weight.zero_()
        method.semantic.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    rows = rows_of(method, runtime, PGD(steps=2), PGDMargin(steps=2), FMN(), DeepFool())
    assert {row.main.value for row in rows} == {0.25}
    assert {round(row.measures["nll"].value, 5) for row in rows} == {round(rows[0].measures["nll"].value, 5)}


def test_evaluate_under_attack__weights_that_are_no_numbers__are_refused(runtime: Runtime) -> None:
    method = Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    with torch.no_grad():
        method.semantic.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="semantic on test"):
        rows_of(method, runtime, replace(WEAK, steps=1))


def test_evaluate_under_attack__empty_split__is_refused(trained: Supervised, runtime: Runtime) -> None:
    empty = TestSplit(SOURCE.subset(torch.empty(0, dtype=torch.int64), "nothing"))
    with pytest.raises(DataError, match="images in test"):
        evaluate_under_attack(reader_of(trained, runtime), empty, attacks=[WEAK], seed=0)


def test_evaluate_under_attack__foolbox_missing__gives_the_install_hint(
    trained: Supervised, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(ConfigError, match=r"package foolbox for attacks.*pip install 'auxo\[robust\]'"):
        rows_of(trained, runtime, WEAK)


@pytest.mark.parametrize("epsilon", [0.0, 8.0])
def test_evaluate_under_attack__no_such_ball_or_no_attack__is_refused(
    epsilon: float, trained: Supervised, runtime: Runtime
) -> None:
    reader = reader_of(trained, runtime)
    with pytest.raises(ConfigError, match=r"epsilon in \(0, 1\], in units of the range of pixels"):
        evaluate_under_attack(reader, TestSplit(SOURCE), attacks=[WEAK], epsilon=epsilon, seed=0)
    with pytest.raises(ConfigError, match="one attack or more, got none"):
        evaluate_under_attack(reader, TestSplit(SOURCE), attacks=[], seed=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "steps >= 1"),
        ({"step_size": 0.0}, r"step-size in \(0, 1\]"),
        ({"restarts": 0}, "restarts >= 1"),
    ],
)
def test_config__out_of_range__is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PGD(**values)
