"""G-SSL: its loss, its gate under an optimiser, its controls, attacks, and the released settings."""

import math
from dataclasses import replace
from inspect import isfunction

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError
from auxo.gates import GateConfig
from auxo.gates.learned import LearnedGate
from auxo.gates.uniform import UniformGate
from auxo.interfaces import AbstractBackbone, TrainState
from auxo.losses import LDAM, CrossEntropy
from auxo.losses.attacks import PGDConfig
from auxo.methods import gssl
from auxo.methods.gssl import GSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member
from auxo.pretexts import GatedPretextsConfig
from auxo.random import global_seed
from auxo.runs import Networks
from auxo.tasks import Classification
from auxo.types import Batch, Features, Normalisation

RECIPES = [
    name
    for name, item in vars(gssl).items()
    if isfunction(item) and item.__module__ == gssl.__name__ and name[0] != "_"
]
UNIFORM = UniformGate.Config()
FAST = OptimizerConfig(lr=0.05, weight_decay=1e-2)


def gated(name="learned", **options):
    return GSSL.Config(pretexts=GatedPretextsConfig(gate=find_member(GateConfig, name)(), **options), optimizer=FAST)


def normalised(batches):
    """The training batch with what an attack needs to know: inputs in [-1, 1] are pixels in [0, 1]."""
    half = torch.full((3, 1, 1), 0.5, dtype=torch.float64)
    return {**batches, "train": replace(batches["train"], normalisation=Normalisation(half, half))}


# the gate under an optimiser


def test_gate__learned__moves_and_weights_drift(build, take_steps):
    method, state = build(gated())
    before = method.pretexts.gate.layer.weight.detach().clone()
    take_steps(method, state, 3)
    assert not torch.equal(method.pretexts.gate.layer.weight, before)
    assert method.frozen_parameters() == {}


def test_gate__frozen__keeps_every_bit_under_weight_decay(build, take_steps):
    method, state = build(gated("frozen"))
    before = {name: tensor.clone() for name, tensor in method.pretexts.gate.state_dict().items()}
    take_steps(method, state, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.pretexts.gate.state_dict().items())
    assert set(method.frozen_parameters()) == {"pretexts.gate.layer.weight", "pretexts.gate.layer.bias"}


def test_metrics__of_a_step__are_the_losses_and_the_weights(build, take_steps):
    method, state = build(gated())
    metrics = take_steps(method, state, 1)
    names = ("flip", "lorot", "channel_shuffle")
    assert set(metrics) == {
        "classification_loss",
        "gated_loss",
        *(f"{name}_loss" for name in names),
        *(f"gate_{name}" for name in names),
    }
    assert sum(metrics[f"gate_{name}"] for name in names) == pytest.approx(1)


# controls


def test_transform_only__three_steps__bit_identical_to_supervised_on_the_same_images(build, batches, runtime):
    control, state = build(GSSL.Config(pretexts=GatedPretextsConfig(gate=UNIFORM, weight=0.0), optimizer=FAST))
    plain, plain_state = build(Supervised.Config(optimizer=FAST))
    batch = batches["train"]
    for _ in range(3):
        made = control.pretexts.make(batch.images, draws=state.draws("pretexts", batch))
        control.update(state, batches, runtime)
        plain.update(plain_state, {"train": replace(batch, images=made.inputs)}, runtime)
        state.step += 1
        plain_state.step += 1
    weights = control.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in plain.state_dict().items())
    assert control.pretext_heads() == {}


def test_no_tasks__three_steps__bit_identical_to_supervised(build, take_steps):
    vanilla, state = build(GSSL.Config(pretexts=GatedPretextsConfig(tasks=()), optimizer=FAST))
    plain, plain_state = build(Supervised.Config(optimizer=FAST))
    take_steps(vanilla, state, 3)
    take_steps(plain, plain_state, 3)
    weights = vanilla.state_dict()
    assert weights.keys() == plain.state_dict().keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in plain.state_dict().items())


def test_cover_all__uniform__is_the_mean_of_the_class_loss_and_the_weighted_others(build, batches, runtime):
    method, state = build(replace(gated("uniform"), covers="all"))
    metrics = method.update(state, batches, runtime)
    parts = [metrics[f"{name}_loss"] for name in ("flip", "lorot", "channel_shuffle")]
    expected = (metrics["classification_loss"] + 0.1 * sum(parts)) / 4
    torch.testing.assert_close(metrics["gated_loss"], expected)
    assert metrics["gate_class"].item() == pytest.approx(1 / 4)


def test_cover_all__class_weights__are_those_of_the_class_loss(task, batches, runtime):
    weighted = CrossEntropy(class_weights="effective_number", beta=0.9, reweight_after=0.0)
    config = replace(gated("uniform"), covers="all", class_loss=weighted)
    task = replace(task, class_counts=(40, 20, 10, 5))
    method = config.build(Networks(BackboneConfig(), task, seed=0)).double()
    metrics = method.update(TrainState(method.optimizers(), seed=0), batches, runtime)
    parts = [metrics[f"{name}_loss"] for name in ("flip", "lorot", "channel_shuffle")]
    expected = (metrics["classification_loss"] + 0.1 * sum(parts)) / 4
    torch.testing.assert_close(metrics["gated_loss"], expected)


def test_cover_all__uniform__moves_the_class_head_along_a_quarter_of_its_gradient(build, batches, runtime):
    optimizer = OptimizerConfig(lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0)
    moves = []
    for covers in ("pretexts", "all"):
        method, state = build(replace(gated("uniform"), covers=covers, optimizer=optimizer))
        before = method.semantic.weight.detach().clone()
        method.update(state, batches, runtime)
        moves.append(method.semantic.weight.detach() - before)
    assert moves[0].norm() > 1e-3
    torch.testing.assert_close(moves[1], moves[0] / 4)


# evaluation


def test_head_logits__of_images__see_them_as_they_are(build, batches):
    method, _ = build(gated())
    method.eval()
    images = batches["train"].images
    expected = method.semantic(method.backbone(images).pooled)
    assert torch.equal(method.head_logits(images)["semantic"], expected)
    assert list(method.pretext_heads()) == ["flip", "lorot", "channel_shuffle"]


def test_head__cosine__is_that_of_the_class_and_of_every_pretext_and_scaled_for_the_class_alone(build, batches):
    method, _ = build(replace(gated(), head="cosine"))
    pooled = method.backbone(batches["train"].images).pooled
    assert method.head_logits(batches["train"].images)["semantic"].abs().max() > 1.5
    assert all(head(pooled).abs().max() <= 1 + 1e-9 for head in method.pretexts.heads.values())


# attacks

ATTACK = PGDConfig(steps=3, epsilon=8 / 255)


def under_attack(**options):
    config = gated(shuffle_space="pixels")
    return replace(config, attack=ATTACK, **options)


@pytest.fixture
def seen(monkeypatch):
    """The inputs of every pass through a backbone, in order."""
    passes = []

    def watch(method):
        method.backbone.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0].detach().clone()))
        return passes

    return watch


def test_attack__before_a_step__stays_in_the_ball_and_raises_the_loss(build, batches, runtime, seen):
    method, state = build(under_attack())
    passes = seen(method)
    batch = normalised(batches)["train"]
    made = method.pretexts.make(batch.images, draws=state.draws("pretexts", batch), normalisation=batch.normalisation)
    attacked = method.update(state, {"train": batch}, runtime)
    assert len(passes) == ATTACK.steps + 1
    change = (passes[-1] - made.inputs) / 2
    assert change.abs().max() <= ATTACK.epsilon + 1e-9
    assert change.abs().max() > ATTACK.epsilon / 2
    clean, clean_state = build(gated(shuffle_space="pixels"))
    plain = clean.update(clean_state, {"train": batch}, runtime)
    assert attacked["classification_loss"] > plain["classification_loss"]


def test_attack__weight_of_the_pretexts__matters_only_where_it_raises_their_losses(build, batches, runtime, seen):
    for attack_pretexts in (True, False):
        last = []
        for weight in (0.1, 5.0):
            config = under_attack(attack_pretexts=attack_pretexts)
            method, state = build(replace(config, pretexts=replace(config.pretexts, weight=weight)))
            passes = seen(method)
            method.update(state, normalised(batches), runtime)
            last.append(passes[-1])
        assert torch.equal(*last) is not attack_pretexts


@pytest.mark.parametrize(("literal", "forwards"), [(False, 1), (True, 1 + ATTACK.steps)])
def test_attack__batch_norm__tracks_the_attack_only_where_released_code_does(
    build, batches, runtime, literal, forwards
):
    method, state = build(replace(under_attack(), attack=replace(ATTACK, literal=literal)))
    method.update(state, normalised(batches), runtime)
    counts = {int(m.num_batches_tracked) for m in method.modules() if isinstance(m, nn.BatchNorm2d)}
    assert counts == {forwards}


def test_attack__of_a_batch_that_does_not_say_how_it_was_normalised__is_refused(build, batches, runtime):
    method, state = build(replace(under_attack(), pretexts=GatedPretextsConfig(tasks=())))
    with pytest.raises(ConfigError, match="how it was normalised"):
        method.update(state, batches, runtime)


# options and recipes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": ATTACK}, "shuffle-space pixels"),
        ({"class_loss": LDAM()}, "cosine"),
    ],
)
def test_config__options_that_do_not_fit__are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        GSSL.Config(**options)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__of_every_name__builds(name):
    config = getattr(gssl, name)()
    (stage,) = config.stages
    task = Classification(
        class_names=tuple("0123456789"), channels=3, height=32, width=32, class_counts=tuple(range(100, 0, -10))
    )
    method = stage.method.build(Networks(BackboneConfig(), task, seed=0))
    assert method.optimizers()["main"].param_groups


def test_recipes__of_the_release__differ_by_tasks_gate_and_total_weight():
    pretexts = {name: getattr(gssl, name)().stages[0].method.pretexts for name in RECIPES}
    assert set(pretexts["moe1flip"].tasks) == {"lorot", "flip"}
    assert set(pretexts["moe1sc"].tasks) == {"lorot", "channel_shuffle"}
    assert pretexts["lorot"].tasks == ("lorot",)
    assert (pretexts["nomoe"].gate.name, pretexts["nomoe"].normalise_weights) == ("uniform", False)
    assert {name for name, options in pretexts.items() if options.weight == 0} == {"transform_only"}
    assert {options.weight for options in pretexts.values()} == {0.0, 0.1}


@pytest.mark.parametrize(
    ("name", "side", "num_classes", "base", "extra"),
    [
        ("cifar10_long_tailed", 32, 10, 464_154, 1_755),
        ("cifar10_adversarial", 32, 10, 2_243_546, 3_483),
        ("tiny_imagenet", 64, 200, 11_271_432, 13_851),
    ],
)
def test_recipes__of_published_settings__have_the_releases_number_of_parameters(name, side, num_classes, base, extra):
    config = getattr(gssl, name)()
    classes = tuple(map(str, range(num_classes)))
    task = Classification(class_names=classes, channels=3, height=side, width=side, class_counts=(5,) * num_classes)
    backbone = config.backbone.build(task, seed=0)
    linear = replace(config.stages[0].method, head="linear", class_loss=CrossEntropy())
    method = linear.build(Networks(backbone, task, seed=0))
    plain = Supervised.Config().build(Networks(backbone, task, seed=0))
    assert sum(p.numel() for p in plain.parameters()) == base
    assert sum(p.numel() for p in method.parameters()) == base + extra


def test_long_tailed_schedule__200_epochs__published_rates():
    stage = gssl.cifar10_long_tailed().stages[0]
    optimizer = stage.method.optimizer.build([nn.Parameter(torch.zeros(1))])
    schedule = stage.method.optimizer.build_schedule(optimizer, num_epochs=stage.epochs)
    rates = []
    for _ in range(stage.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    published = {0: 0.02, 4: 0.1, 159: 0.1, 160: 1e-3, 179: 1e-3, 180: 1e-5, 199: 1e-5}
    assert {epoch: rates[epoch] for epoch in published} == pytest.approx(published, rel=1e-9)


# on small data


class Perceptron(AbstractBackbone):
    """Two layers on the pixels, which learn one image's 192 changes in a second or two."""

    def __init__(self):
        super().__init__()
        self.num_features = 64
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())

    def forward(self, images):
        return Features(self.layers(images), {})


def train_on_one_picture(gate, runtime, steps):
    """The last ten steps' mean metrics of training on noisy copies of an image, half of them darker."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 8, 8, generator=generator) + 0.1 * torch.randn(128, 3, 8, 8, generator=generator)
    labels = torch.arange(128) % 2
    images[labels == 1] *= 0.5
    with global_seed(0):
        backbone = Perceptron()
    config = GSSL.Config(
        pretexts=GatedPretextsConfig(gate=gate, weight=1.0), optimizer=OptimizerConfig(name="adamw", lr=3e-3)
    )
    task = Classification(class_names=("bright", "dark"), channels=3, height=8, width=8)
    method = config.build(Networks(backbone, task, seed=0))
    state = TrainState(method.optimizers(), seed=0)
    rows = []
    for _ in range(steps):
        rows.append(method.update(state, {"train": Batch(images, {"label": labels}, torch.arange(128))}, runtime))
        state.step += 1
    return {name: torch.stack([row[name] for row in rows[-10:]]).mean().item() for name in rows[0]}


def test_training__noisy_copies_of_one_picture__brings_every_pretext_below_chance(runtime):
    metrics = train_on_one_picture(UNIFORM, runtime, steps=100)
    for name, chance in {"flip": 2, "lorot": 16, "channel_shuffle": 6}.items():
        assert metrics[f"{name}_loss"] < 0.95 * math.log(chance), name


def test_training__learned_gate_without_its_guard__chooses_the_easiest_task_alone(runtime):
    metrics = train_on_one_picture(LearnedGate.Config(entropy=0.0, normalise_losses=False), runtime, steps=50)
    assert metrics["gate_flip"] > 0.99


def test_training__learned_gate_with_its_guard__keeps_every_task(runtime):
    metrics = train_on_one_picture(LearnedGate.Config(), runtime, steps=50)
    assert min(metrics[f"gate_{name}"] for name in ("flip", "lorot", "channel_shuffle")) > 0.15
    assert metrics["gate_flip"] > 1 / 3
