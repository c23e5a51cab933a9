"""Given auxiliary tasks: one loss of every task for each image, and what is refused."""

import math

import pytest
import torch
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError, OptionError, ShapeError
from auxo.layers.heads import linear_head
from auxo.pretexts import GivenTasksConfig
from auxo.pretexts.rotation import rotate_all
from auxo.random import Draws, named_generator
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch

COUNT, SIDE = 6, 28
RUNTIME = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
TASK = Classification(("a", "b", "c"), 3, SIDE, SIDE)
COLUMNS = {
    "fine": Target("fine", ("p", "q", "r", "s")),
    "one": Target("one", ("p",)),
    "depth": Target("depth", (), has_places=True),
    "mask": Target("mask", ("ground", "square"), has_places=True, ignore=255),
}


def make_networks(backbone="resnet8", columns=COLUMNS):
    return Networks(BackboneConfig(name=backbone), TASK, seed=0, columns=columns)


def make_batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(COUNT, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    fine = torch.tensor([0, 1, 2, 3, -1, 1])
    mask = torch.randint(0, 2, (COUNT, SIDE, SIDE), generator=generator)
    mask[0] = 255
    mask[1, :7] = 255
    return Batch(images, {"label": fine.clamp(0, 2), "fine": fine, "mask": mask}, torch.arange(COUNT))


def draws(stream, batch):
    return Draws(named_generator(0, stream), first=batch.first, total=batch.joined_size)


def answer(config, batch=None, networks=None):
    """The tasks, what the backbone says of the images, and the losses."""
    networks, batch = networks or make_networks(), batch or make_batch()
    tasks, backbone = config.build(networks).double(), networks.backbone.double().eval()
    features = backbone(batch.images)
    return tasks, backbone, features, tasks(backbone, features, tasks.prepare(batch, draws), runtime=RUNTIME)


def test_losses__column_and_pretexts__are_in_the_order_of_their_names_with_one_for_every_image():
    tasks, _, _, losses = answer(GivenTasksConfig(columns=("fine",), pretexts=("rotation", "jigsaw")))
    assert tasks.names == ("fine", "rotation", "jigsaw")
    assert tasks.num_outputs == (4, 4, 30)
    assert losses.shape == (COUNT, 3)
    assert losses.requires_grad


def test_losses__column__are_the_cross_entropy_of_its_head_and_zero_without_a_value():
    _, _, features, losses = answer(GivenTasksConfig(columns=("fine",)))
    head = linear_head("column/fine", 64, 4, seed=0).double()
    chances = functional.linear(features.pooled, head.weight, head.bias).log_softmax(1)
    values = make_batch().targets["fine"]
    expected = torch.stack([-chances[i, v] if v >= 0 else torch.tensor(0.0) for i, v in enumerate(values.tolist())])
    torch.testing.assert_close(losses[:, 0], expected, check_dtype=False)
    (slope,) = torch.autograd.grad(losses.sum(), [features.pooled])
    assert not slope[4].any()
    assert slope[[0, 1, 2, 3, 5]].any(1).all()


def test_losses__pretext_with_several_inputs_of_an_image__are_averaged_over_them():
    tasks, backbone, _, losses = answer(GivenTasksConfig(pretexts=("rotation",)))
    outputs = tasks.pretexts["rotation"].head(backbone(rotate_all(make_batch().images)).pooled)
    each = functional.cross_entropy(outputs, torch.arange(4).repeat_interleave(COUNT), reduction="none")
    torch.testing.assert_close(losses[:, 0], each.view(4, COUNT).mean(0))


def test_losses__no_task__are_of_no_column():
    tasks, _, _, losses = answer(GivenTasksConfig())
    assert (losses.shape, tasks.names, [*tasks.parameters()]) == ((COUNT, 0), (), [])


def test_losses__column_with_places__are_means_over_places_without_those_to_ignore():
    config = GivenTasksConfig(columns=("mask",))
    tasks, backbone, features, losses = answer(config)
    (whole,) = tasks.loss_list(backbone, features, tasks.prepare(make_batch(), draws), runtime=RUNTIME)
    assert whole.shape == (COUNT, SIDE, SIDE)
    assert not whole[0].any()
    assert not whole[1, :7].any()
    assert whole[1, 7:].all()
    torch.testing.assert_close(losses[:, 0], whole.mean((1, 2)))
    layer = tasks.column_heads[0].layer
    cell = functional.linear(features.maps["stage1"][2, :, 3, 5], layer.weight, layer.bias).log_softmax(0)
    scale = SIDE // features.maps["stage1"].shape[-1]
    value = make_batch().targets["mask"][2, 3 * scale, 5 * scale]
    torch.testing.assert_close(whole[2, 3 * scale, 5 * scale], -cell[value])


def test_first_weights__of_every_head__do_not_depend_on_the_other_tasks():
    alone = GivenTasksConfig(pretexts=("rotation",)).build(make_networks())
    among = GivenTasksConfig(columns=("fine",), pretexts=("jigsaw", "rotation")).build(make_networks())
    one, other = (tasks.pretexts["rotation"].head.weight for tasks in (alone, among))
    assert torch.equal(one, other)


def test_prepare__random_pretext__draws_the_same_for_the_parts_of_a_batch_as_for_the_whole():
    tasks = GivenTasksConfig(pretexts=("jigsaw",)).build(make_networks())
    batch = make_batch()
    whole = tasks.prepare(batch, draws).made["jigsaw"].targets
    parts = [
        Batch(batch.images[part], {}, part, first=int(part[0]), total=COUNT, num_processes=2)
        for part in (torch.arange(4), torch.arange(4, 6))
    ]
    assert torch.equal(torch.cat([tasks.prepare(part, draws).made["jigsaw"].targets for part in parts]), whole)


def test_pretext_heads__with_classes_for_answers__can_be_measured():
    networks = make_networks()
    tasks = GivenTasksConfig(columns=("fine",), pretexts=("rotation", "inpaint")).build(networks)
    heads = tasks.pretext_heads(networks.backbone)
    assert [*heads] == ["rotation"]
    assert heads["rotation"].answer(make_batch().images.float()).shape == (COUNT, 4)
    assert math.isclose(heads["rotation"].pretext.chance, 0.25)


@pytest.mark.parametrize(
    ("options", "columns", "message"),
    [
        ({"columns": ("one",)}, COLUMNS, r"at least two values of the auxiliary column 'one', got \['p'\]"),
        ({"columns": ("depth",)}, COLUMNS, "at least two values of the auxiliary column 'depth', got quantities"),
        ({"columns": ("label",)}, COLUMNS, "auxiliary columns beside the task's own targets, got 'label'"),
        ({"columns": ("fine",)}, {}, "a column 'fine' that the run learns, got none without 'fine'"),
        ({"columns": ("mask",), "map_name": "x"}, COLUMNS, "a map 'x' of the backbone.*got stage1, stage2, stage3"),
    ],
)
def test_build__column_that_cannot_be_told__is_refused_in_one_line(options, columns, message):
    with pytest.raises(ConfigError, match=message) as refused:
        GivenTasksConfig(**options).build(make_networks(columns=columns))
    assert "\n" not in str(refused.value)


def test_build__map_that_leaves_the_rim_out__is_refused():
    with pytest.raises(ConfigError, match="a map that lies over the whole image, got 'stage2' of LeNet5"):
        GivenTasksConfig(columns=("mask",), map_name="stage2").build(make_networks("lenet5"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ("a", "a")}, "columns of different names, got a twice"),
        ({"pretexts": ("rotation", "rotation")}, "pretexts of different names, got rotation twice"),
        ({"columns": ("rotation",), "pretexts": ("rotation",)}, "pretexts of different names, got rotation twice"),
        ({"pretexts": ("simclr",)}, "pretexts of one image each, got simclr"),
        ({"pretexts": ("rotations",)}, "did you mean rotation"),
    ],
)
def test_options__task_that_is_named_twice_or_is_none__is_refused(options, message):
    with pytest.raises((OptionError, ConfigError), match=message):
        GivenTasksConfig(**options)


def test_losses__column_of_another_shape__is_refused():
    batch = make_batch()
    batch.targets["mask"] = batch.targets["mask"].unsqueeze(1)
    with pytest.raises(ShapeError, match="one value of 'mask' for each image or place"):
        answer(GivenTasksConfig(columns=("mask",)), batch)
