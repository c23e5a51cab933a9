"""auxo's G-SSL against the plain rendering of its steps, in float64."""

from copy import deepcopy

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.gates import GateConfig
from auxo.gates.uniform import UniformGate
from auxo.interfaces import TrainState
from auxo.methods.gssl import GSSL
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member
from auxo.pretexts import GatedPretextsConfig
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch

from .gssl_plain import sgd_step, total_loss

ALL = ("flip", "lorot", "channel_shuffle")
FORMS = {"A": "mean_of_softmax", "B": "softmax_of_mean"}
STEPS = 2
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}


def gated(tasks, name, form="A", **options):
    gate = find_member(GateConfig, name)(form=FORMS[form], **options)
    return GatedPretextsConfig(tasks=tasks, gate=gate, weight=0.1)


def case(tasks, gate, form="A", ratio=0.1, **options):
    """The plain rendering's arguments."""
    return {"tasks": tasks, "gate": gate, "form": form, "ratio": ratio, **options}


UNGUARDED = {"entropy": 0.0, "normalise_losses": False}
CASES = {
    "frozen A": (gated(ALL, "frozen", "A"), case(ALL, "frozen", "A")),
    "frozen B": (gated(ALL, "frozen", "B", init="kaiming"), case(ALL, "frozen", "B")),
    "frozen B, two tasks": (gated(ALL[:2], "frozen", "B"), case(ALL[:2], "frozen", "B")),
    "learned A": (gated(ALL, "learned", "A", **UNGUARDED), case(ALL, "learned", "A")),
    "learned B": (gated(ALL, "learned", "B", **UNGUARDED), case(ALL, "learned", "B")),
    "learned A, guarded": (
        gated(ALL, "learned", "A", entropy=0.2),
        case(ALL, "learned", "A", entropy=0.2, by_guessing=True),
    ),
    "Nomoe": (
        GatedPretextsConfig(gate=UniformGate.Config(), normalise_weights=False),
        case(ALL, "sum"),
    ),
    "LoRot": (GatedPretextsConfig(tasks=("lorot",), gate=UniformGate.Config()), case(("lorot",), "one")),
    "nothing": (GatedPretextsConfig(tasks=()), case((), "sum", ratio=0.0)),
}


def make(pretexts):
    task = Classification(class_names=("arrow", "l", "t", "wedge"), channels=3, height=12, width=12)
    config = GSSL.Config(pretexts=pretexts, optimizer=OptimizerConfig(**SGD))
    method = config.build(Networks(BackboneConfig(name="resnet8").build(task, seed=0), task, seed=1)).double().train()
    return method, TrainState(method.optimizers(), seed=5)


def plain_parts(method):
    """Copies of the network and of the layers, and all their parameters by the method's names."""
    backbone = deepcopy(method.backbone)
    parameters = {f"backbone.{name}": parameter for name, parameter in backbone.named_parameters()}
    parts = {"backbone": backbone}
    layers = {"class": method.semantic, **dict(method.pretexts.heads.items())}
    if hasattr(method.pretexts.gate, "layer"):
        layers["gate"] = method.pretexts.gate.layer
    places = {"class": "semantic", "gate": "pretexts.gate.layer"}
    for name, layer in layers.items():
        parts[name] = {key: value.detach().clone().requires_grad_() for key, value in layer.named_parameters()}
        place = places.get(name, f"pretexts.heads.{name}")
        parameters |= {f"{place}.{key}": value for key, value in parts[name].items()}
    return parts, parameters


def drawn(state, batch, tasks):
    """Quadrants, turns, flips and orders of this step, in the order in which auxo draws them."""
    draws = state.draws("pretexts", batch)
    count = len(batch)
    codes = {"quadrant": draws.integers(4, count).tolist() if tasks else [0] * count}
    sizes = {"flip": 2, "lorot": 4, "channel_shuffle": 6}
    for name, size in sizes.items():
        codes[name] = draws.integers(size, count).tolist() if name in tasks else [0] * count
    return codes["quadrant"], codes["lorot"], codes["flip"], codes["channel_shuffle"]


@pytest.mark.parametrize("name", CASES)
def test_steps__of_every_variant__weights_and_losses_of_the_plain_rendering(name):
    pretexts, arguments = CASES[name]
    method, state = make(pretexts)
    parts, parameters = plain_parts(method)
    buffers = {}
    source = oriented_shapes(6 * STEPS, size=12, seed=2)
    runtime = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
    for step in range(STEPS):
        chosen = slice(6 * step, 6 * step + 6)
        images = source.images[chosen].double() / 127.5 - 1
        labels = source.columns["label"].values[chosen].clamp(max=3)
        batch = Batch(images, {"label": labels}, torch.arange(6))
        loss = total_loss(parts, images, labels.tolist(), drawn(state, batch, arguments["tasks"]), **arguments)
        sgd_step(parameters, loss, buffers, **SGD)
        metrics = method.update(state, {"train": batch}, runtime)
        state.step += 1
        ours = metrics["classification_loss"] + arguments["ratio"] * metrics.get("gated_loss", 0.0)
        assert ours.item() == pytest.approx(loss.item(), rel=1e-10)
    trained = dict(method.named_parameters())
    assert trained.keys() == parameters.keys()
    for key, parameter in parameters.items():
        torch.testing.assert_close(
            trained[key], parameter, rtol=1e-9, atol=1e-11, msg=lambda text, k=key: f"{k}: {text}"
        )
    for key, buffer in parts["backbone"].named_buffers():
        torch.testing.assert_close(method.backbone.get_buffer(key), buffer, rtol=1e-9, atol=1e-11)
