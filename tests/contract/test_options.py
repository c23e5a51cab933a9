"""Every option of what is chosen by a name reaches it: another value changes what is computed."""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import nn

import auxo
from auxo.adaptation import AdaptationConfig
from auxo.backbones import BackboneConfig
from auxo.bilevel import HessianOperator
from auxo.errors import OptionError
from auxo.evaluation import AttackConfig, adversarial_images
from auxo.gates import GateConfig
from auxo.gates.combinations import CombinationConfig
from auxo.gates.combinations.nonlinear import NonlinearCombination
from auxo.interfaces import AbstractImageReader, PretextConfig
from auxo.layers.decoders import DecoderConfig
from auxo.losses import ClassLossConfig, cross_entropy_losses
from auxo.losses.invariance import InvarianceConfig, JoinedRows
from auxo.losses.kernels import KernelConfig
from auxo.options import FamilyOptions, Options, Range, family_of, find_member, find_range, list_members
from auxo.pretexts.fusions import EncoderShapes, FusionConfig, FusionStep
from auxo.pretexts.labellers import LabellerConfig
from auxo.pretexts.pixels import PixelObjectiveConfig
from auxo.random import Draws, named_generator
from auxo.runs.independence import IndependenceTestConfig
from auxo.solvers import LowerLevel, SolverConfig
from auxo.tasks import Classification
from auxo.types import Batch

from .adaptation_options import use_adaptation
from .gate_world import NUM_FEATURES, NUM_OUTPUTS, World
from .pixel_options import COLUMNS, RUNTIME, use_decoder, use_labeller, use_objective


def seeded():
    return torch.Generator().manual_seed(0)


def use_gate(config):
    """First weights, loss and weights of three tasks, over steps of three epochs."""
    cases = [(config, None), (config, 0)]  # the first is the primary task, or none is
    if hasattr(config, "monotone"):
        cases.append((replace(config, network=NonlinearCombination.Config(low=-1.0)), None))
    return [tensor for case in cases for tensor in train_gate(*case)]


def train_gate(config, primary):
    """The gate's first state, and its answers while the weights that the losses share learn by them."""
    world = World()
    if config.view is not None:
        world.show(config.view)
    gate = config.build(num_features=NUM_FEATURES, num_outputs=NUM_OUTPUTS, seed=0)
    seen = [tensor.clone() for tensor in gate.state_dict().values()]
    for number in range(6):
        found = world.answer(world.train)
        result = gate(
            found.losses, found.features, world.step(found.primary, number=number, epoch=number // 2, primary=primary)
        )
        seen += [result.loss, result.weights]
        gradients = torch.autograd.grad(result.loss, [*world.shared.values()])
        with torch.no_grad():
            for value, gradient in zip(world.shared.values(), gradients, strict=True):
                value.sub_(0.1 * gradient)
    return seen


def use_combination(config):
    """First weights and values of a combination of maps of losses, or of their means, and what is added."""
    network = config.build(num_tasks=3, seed=0)
    losses = torch.rand(5, 3, 8, 8, generator=seeded())
    values = network(losses if network.reads_places else losses.mean((2, 3)))
    return [*network.parameters(), values, torch.tensor(network.adds_primary)]


def use_loss(config):
    """Losses of a cosine head's outputs and what is predicted, early and late in a stage; with class weights, too."""
    outputs = torch.rand(12, 3, generator=seeded()) * 2 - 1
    labels = torch.arange(12) % 3
    made = []
    for each in (config, replace(config, class_weights="effective_number")):  # two options belong to class weights
        loss = each.build((5000, 500, 50), head="cosine")
        made += [loss.logits(outputs), *(loss(outputs, labels, progress=progress) for progress in (0.1, 0.5, 0.9))]
    return made


def use_solver(config):
    """The response of a quadratic with eigenvalues from 0.1 to 100."""
    basis = torch.linalg.qr(torch.randn(12, 12, generator=seeded(), dtype=torch.float64)).Q
    matrix = basis @ torch.diag(torch.logspace(-1, 2, 12, dtype=torch.float64)) @ basis.T
    point = {"w": torch.zeros(12, dtype=torch.float64)}
    hessian = HessianOperator(lambda params: params["w"] @ matrix @ params["w"] / 2, point)
    gradients = torch.randn(3, 12, generator=seeded(), dtype=torch.float64)
    vector = torch.randn(12, generator=seeded(), dtype=torch.float64)
    return [torch.as_tensor(part) for part in config.respond(vector, LowerLevel(0.5, gradients, lambda: hessian))]


def use_attack(config):
    """The images that it makes of some, and how often it is made."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 4)).eval()
    pixels = torch.rand(4, 3, 8, 8, generator=seeded())
    found = adversarial_images(network, pixels, torch.arange(4), config, epsilon=0.1, seed=0)
    return [found, torch.tensor(config.num_starts)]


def use_pretext(config):
    """Weights after the followers have moved, and the loss of a batch of each of its views."""
    channels = getattr(config, "channels", 3)
    task = Classification(("a", "b"), channels=channels, height=24, width=24)
    backbone = BackboneConfig(name="resnet8").build(task, seed=0)
    pretext = config.build(backbone, seed=0)
    with torch.no_grad():
        backbone.convolution.weight.mul_(2)  # for what follows it
    generator = seeded()
    views = {name: torch.randn(6, channels, 24, 24, generator=generator) for name in config.augmentations}
    batches = {name: Batch(images, {}, torch.arange(6)) for name, images in views.items()}
    inputs = pretext.prepare(batches, draws=lambda stream, _: Draws(named_generator(0, stream)), runtime=RUNTIME)
    pretext.follow(backbone, progress=0.5)
    weights = torch.cat([tensor.detach().flatten().float() for tensor in pretext.state_dict().values()])
    return [weights, pretext(backbone, inputs).loss]


def use_fusion(config):
    """Weights, what is chosen by training images, what is said of some, and the further losses, after a shake."""
    generator = seeded()
    shapes = EncoderShapes(("one", "two", "other"), ((6, 4), (8, 4), (6, 4)), 3, 5, seed=0)
    fusion = config.build(shapes)
    labels = torch.arange(30) % 3
    parts = [torch.randn(30, total, generator=generator) + 0.3 * labels[:, None] for total in shapes.totals]
    own = torch.randn(30, 5, generator=generator)
    made = [*fusion.prepare(parts, labels, generator=generator).values()]
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    fused = fusion(parts, own)
    losses = fusion.further_losses(fused, FusionStep(parts, own, Batch(own[:, :, None, None], {}, labels), RUNTIME))
    made += [*fusion.state_dict().values(), fused.logits, *fused.learning, *losses.values()]
    return made if fused.weights is None else [*made, fused.weights]


def use_kernel(config):
    """The kernel of some rows."""
    return [config.compare(torch.randn(6, 3, generator=seeded()))]


def use_invariance(config):
    """Both terms of a batch in which one cell has no image, early and late in a stage."""
    generator = seeded()
    embedding, logits = (torch.randn(12, size, generator=generator) for size in (3, 2))
    classes, values = torch.arange(12) % 2, torch.arange(12) % 3
    values = torch.where((classes == 1) & (values == 2), 0, values)
    weights = torch.rand(12, generator=generator) + 0.5
    losses = cross_entropy_losses(logits, classes)
    rows = JoinedRows(losses, weights, embedding, logits, classes, values)
    invariance = config.build(num_classes=2, num_values=3)
    return [*invariance(rows._replace(progress=0.0)), *invariance(rows._replace(progress=0.9))]


class Known(AbstractImageReader):
    """Images of which the features are known."""

    split = "val"
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(5))
    targets = MappingProxyType(
        {
            "label": torch.arange(60) % 2,
            **{name: torch.randint(2, (60,), generator=torch.Generator().manual_seed(size)) for name, size in COLUMNS},
        }
    )

    def __len__(self):
        return 60

    def read(self, function):
        return function(Batch(self.rows[:, :, None, None], {}, torch.arange(60)))

    def features(self, network=None):
        del network
        return self.rows + 0.5 * self.targets["one"][:, None]

    def pixels(self, positions):
        raise AssertionError("a test of features asks for no pixels")


def use_test(config):
    """What is measured, and whether it counts as independence."""
    config = config if config.column else replace(config, column="one")
    found = config.measure(lambda images: images[:, :2, 0, 0], Known())
    return [torch.tensor([each.value for each in found.values()]), torch.tensor(config.significance)]


FAMILIES = {
    LabellerConfig: use_labeller,
    FusionConfig: use_fusion,
    DecoderConfig: use_decoder,
    PixelObjectiveConfig: use_objective,
    KernelConfig: use_kernel,
    InvarianceConfig: use_invariance,
    IndependenceTestConfig: use_test,
    PretextConfig: use_pretext,
    GateConfig: use_gate,
    CombinationConfig: use_combination,
    ClassLossConfig: use_loss,
    SolverConfig: use_solver,
    AttackConfig: use_attack,
    AdaptationConfig: use_adaptation,
}


def has_package(name):
    return importlib.util.find_spec(name) is not None


def other_values(hint, value) -> Iterator[object]:
    """Yield values that an option may have instead."""
    if isinstance(value, FamilyOptions):
        family = family_of(type(value))
        names = reversed(list_members(family))  # the first combination takes other losses
        yield from (find_member(family, name)() for name in names if name != value.name)
        return
    if isinstance(value, Options):
        hints = get_type_hints(type(value), include_extras=True)
        for item in fields(value):
            inner = other_values(hints[item.name], getattr(value, item.name))
            yield from (replace(value, **{item.name: other}) for other in inner)
        return
    limits = find_range(hint) or Range()
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(hint) is tuple:  # of names, or of sizes
        yield from (value[:count] for count in range(1, len(value)))
        yield from ((*value, size if isinstance(size, int) else 2 * size) for size in value)
    elif get_origin(hint) in (Union, UnionType):
        has_parts = any(get_args(part)[:1] == (float,) for part in get_args(hint))  # of a number with a range
        yield None if value is not None else 3.0 if has_parts else 3
    elif hint is str:
        yield COLUMNS[1][0]
    elif hint is bool:
        yield not value
    elif hint is str:
        yield "other"
    elif get_origin(hint) is Literal:
        yield from (other for other in get_args(hint) if other != value)
    elif hint in (int, float):
        candidates = (value * 2, value / 2, value * 100, value / 100, value + 1, value - 1, 1 - value)
        yield from (hint(other) for other in candidates if other != value and hint(other) in limits)


def list_cases():
    for family in FAMILIES:
        for name in list_members(family):
            member = find_member(family, name)
            for item in fields(member):
                if item.init:
                    yield pytest.param(family, name, item.name, id=f"{family.family}-{name}-{item.name}")


@pytest.mark.parametrize(("family", "name", "option"), [*list_cases()])
def test_option__of_every_member_of_a_family__reaches_it(family, name, option):
    needed = {"torchjd": "torchjd", "evaluation.attacks": "foolbox"}
    for key in {name, family.family} & needed.keys():
        if not has_package(needed[key]):
            pytest.skip(f"needs {needed[key]}")
    kind, use = find_member(family, name), FAMILIES[family]
    before = use(kind())
    hint = get_type_hints(kind, include_extras=True)[option]
    tried = []
    for value in other_values(hint, getattr(kind(), option)):
        if value == "cagrad" and not has_package("cvxpy"):
            continue
        try:
            changed = kind(**{option: value})
        except OptionError:  # it does not go with another option's default
            continue
        tried.append(value)
        after = use(changed)
        if len(before) != len(after) or any(
            not torch.equal(one, other) for one, other in zip(before, after, strict=True)
        ):
            return
    pytest.fail(f"{option} of {name} changes nothing at {tried}")


def test_families__of_auxo__are_all_asked():
    sources = [path.read_text(encoding="utf-8") for path in Path(auxo.__file__).parent.rglob("*.py")]
    declared = {
        line.split('"')[1] for text in sources for line in text.splitlines() if line.startswith('    family = "')
    }
    assert declared == {family.family for family in FAMILIES}
    assert all(issubclass(family, FamilyOptions) for family in FAMILIES)


def test_checks__of_a_dataclass_of_options__begin_or_go_on_with_those_of_ranges():
    for module in pkgutil.walk_packages(auxo.__path__, "auxo."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting, seen = [Options], set()
    while waiting:
        kind = waiting.pop()
        waiting += [each for each in kind.__subclasses__() if each not in seen]
        seen.add(kind)
        own = vars(kind).get("__post_init__")
        is_shape = own is not None and own.__name__ == "<lambda>"  # of the command line, from an earlier test
        if own is not None and not is_shape and kind is not Options and kind.__module__.startswith("auxo."):
            assert "super().__post_init__()" in inspect.getsource(own), f"{kind.__qualname__} leaves ranges unchecked"
