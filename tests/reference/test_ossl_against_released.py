"""auxo's OSSL, joint rotation and supervised training against an independent rendering of the released code."""

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import AbstractBackbone, TrainState
from auxo.methods.joint_training import JointTraining
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.rotation import Rotation
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Features

from .ossl_released import DenseNet, ReleasedTrainer, ThreeHeads, nesterov_numpy, rotate_one_by_one

NUM_STEPS = 4
CLASSES = 5
HEADS = {"semantic": "fc1", "auxiliary": "fc2", "pretext.head": "fc_ss"}
OPTIMIZERS = {"primary": "optimizer_a", "auxiliary": "optimizer_b", "main": "optimizer_a"}
FLAGS = {
    "ossl": (OSSL.Config(), {"rot": True, "two_classifiers": True}),
    "two_classifiers": (OSSL.Config(rotation="off"), {"rot": False, "two_classifiers": True}),
    "rotation": (JointTraining.Config(pretext=Rotation()), {"rot": True, "two_classifiers": False}),
    "supervised": (Supervised.Config(), {"rot": False, "two_classifiers": False}),
}


class SmallDenseNet(AbstractBackbone):
    """The rendering's network with one layer in each block, as a backbone of auxo."""

    def __init__(self):
        super().__init__()
        self.network = DenseNet(growth=4, blocks_per_stage=1)
        self.num_features = self.network.num_features

    def forward(self, images):
        return Features(self.network(images), {})


def task():
    return Classification(class_names=tuple("abcde"), channels=3, height=32, width=32)


def three_heads():
    backbone = DenseNet(growth=4, blocks_per_stage=1)
    return ThreeHeads(backbone, backbone.num_features, CLASSES).double()


def batches():
    generator = torch.Generator().manual_seed(7)
    for _ in range(NUM_STEPS):
        images = torch.randn(6, 3, 32, 32, generator=generator, dtype=torch.float64)
        labels = torch.randint(CLASSES, (6,), generator=generator)
        yield Batch(images, {"label": labels}, torch.arange(6))


def released_name(name):
    """The rendering's name of one of auxo's weights or buffers."""
    part, _, rest = name.rpartition(".")
    return f"{HEADS[part]}.{rest}" if part in HEADS else name.replace("backbone.network.", "backbone.")


def run_both(config, flags):
    """Train both from the same weights on the same batches; return them with all losses."""
    torch.manual_seed(3)
    method = config.build(Networks(SmallDenseNet(), task(), seed=3)).double().train()
    network = three_heads()
    weights = {released_name(name): tensor for name, tensor in method.state_dict().items()}
    unmatched = network.load_state_dict(weights, strict=False)  # heads that a baseline of auxo has not
    assert not unmatched.unexpected_keys
    assert {name.partition(".")[0] for name in unmatched.missing_keys} <= {"fc2", "fc_ss"}
    trainer = ReleasedTrainer(network, **flags)
    state = TrainState(method.optimizers(), seed=3)
    runtime = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
    losses = []
    for batch in batches():
        metrics = method.update(state, {"train": batch}, runtime)
        state.step += 1
        losses.append((metrics, trainer.step(batch.images, batch.labels)))
    return method, state, trainer, losses


@pytest.fixture(scope="module", params=FLAGS, ids=list(FLAGS))
def runs(request):
    return run_both(*FLAGS[request.param])


def assert_close(actual, expected, name):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12, msg=lambda text: f"{name}: {text}")


def test_update__four_steps__weights_and_batch_norm_equal_the_released_step(runs):
    method, _, trainer, _ = runs
    released = trainer.network.state_dict()
    ours = method.state_dict()
    assert any(name.endswith("running_var") for name in ours)
    for name, tensor in ours.items():
        assert_close(tensor, released[released_name(name)], name)


def test_update__four_steps__momentum_equals_that_of_the_released_optimisers(runs):
    method, state, trainer, _ = runs
    released = dict(trainer.network.named_parameters())
    names = {parameter: name for name, parameter in method.named_parameters()}
    for key, optimizer in state.optimizers.items():
        twin = getattr(trainer, OPTIMIZERS[key])
        expected = {p: s["momentum_buffer"] for p, s in twin.state.items() if s.get("momentum_buffer") is not None}
        assert len(expected) == len(optimizer.state)
        for parameter, entry in optimizer.state.items():
            name = names[parameter]
            assert_close(entry["momentum_buffer"], expected[released[released_name(name)]], name)


def test_update__four_steps__losses_equal_the_released_ones(runs):
    for metrics, released in runs[3]:
        assert metrics["classification_loss"].item() == pytest.approx(released.semantic, abs=1e-12)
        metrics = {"rotation_loss" if name == "pretext_loss" else name: value for name, value in metrics.items()}
        for name, value in (("rotation_loss", released.rotation), ("auxiliary_loss", released.auxiliary)):
            assert (name in metrics) == (value is not None)
            if value is not None:
                assert metrics[name].item() == pytest.approx(value, abs=1e-12)


def test_update__four_steps__weights_have_moved(runs):
    method = runs[0]
    torch.manual_seed(3)
    fresh = SmallDenseNet().double()
    moved = [not torch.equal(p, q) for p, q in zip(method.backbone.parameters(), fresh.parameters(), strict=True)]
    assert all(moved)


def test_released_step_b__gradient__equals_that_of_the_auxiliary_loss():
    torch.manual_seed(5)
    network = three_heads()
    trainer = ReleasedTrainer(network, rot=True, two_classifiers=True)
    batch = next(batches())
    auxiliary, released = trainer.auxiliary_losses(batch.images, batch.labels)
    assert released.item() < auxiliary.item()
    weights = list(network.parameters())
    plain = torch.autograd.grad(auxiliary, weights, retain_graph=True, allow_unused=True)
    whole = torch.autograd.grad(released, weights, allow_unused=True)
    untouched = {*network.fc1.parameters(), *network.fc_ss.parameters()}
    for weight, one, other in zip(weights, plain, whole, strict=True):
        assert (one is None) == (other is None) == (weight in untouched)
        assert one is None or torch.equal(one, other)


def test_rotation__expand__equals_the_loop_over_images():
    batch = next(batches())
    made = Rotation().make_all(batch.images)
    images, turns = rotate_one_by_one(batch.images)
    assert torch.equal(made.inputs, images)
    assert torch.equal(made.targets, turns)


def test_densenet40_12__same_weights__equals_the_rendered_network():
    ours = BackboneConfig(name="densenet40_12").build(task(), seed=0).double()
    rendered = DenseNet().double()
    names = dict(zip(ours.state_dict(), rendered.state_dict(), strict=True))  # both list their layers in order
    rendered.load_state_dict({names[name]: tensor for name, tensor in ours.state_dict().items()})
    images = next(batches()).images[:2]
    assert ours.num_features == rendered.num_features == 456
    assert_close(ours(images).pooled, rendered(images), "features")
    for name, tensor in ours.state_dict().items():
        assert_close(tensor, rendered.state_dict()[names[name]], name)


def test_densenet40_12__three_heads__has_the_published_number_of_parameters():
    network = ThreeHeads(DenseNet(), 456, 10)
    assert sum(p.numel() for p in network.parameters()) == 1_065_696


def test_sgd__list_of_gradients__follows_nesterov_with_coupled_decay():
    config = OptimizerConfig(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    generator = torch.Generator().manual_seed(1)
    start, *gradients = torch.randn(6, 7, generator=generator, dtype=torch.float64)
    weights = nn.Parameter(start.clone())
    optimizer = config.build([weights])
    for gradient in gradients:
        weights.grad = gradient.clone()
        optimizer.step()
    arrays = [gradient.numpy() for gradient in gradients]
    expected, velocity = nesterov_numpy(start.numpy(), arrays, lr=0.1, momentum=0.9, weight_decay=0.01)
    assert_close(weights.detach(), torch.from_numpy(expected), "weights")
    assert_close(optimizer.state[weights]["momentum_buffer"], torch.from_numpy(velocity), "momentum")
