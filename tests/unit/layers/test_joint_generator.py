"""Generated items: how they begin, what their targets are, and what an item that says nothing does."""

import pytest
import torch

from auxo.layers.joint_generator import Generated, Items, JointGenerator, TargetBlock, generated_losses, mix_items
from auxo.layers.sub_classes import SubClasses

CLASSES = (TargetBlock(3, True),)
TABLE = (TargetBlock(3, True), TargetBlock(1, False))


def make_items(labels, *, quantities=None, known=None, cells=(), seed=0):
    numbers = torch.nn.functional.one_hot(torch.tensor(labels), 3).float()
    if quantities is not None:
        numbers = torch.cat([numbers, torch.tensor(quantities).view(-1, 1)], 1)
    features = torch.randn(len(labels), *cells, 4, generator=torch.Generator().manual_seed(seed))
    known = torch.ones(len(labels), 1 if quantities is None else 2) if known is None else torch.tensor(known)
    spread = [part.view(len(labels), *[1] * len(cells), -1).expand(-1, *cells, -1) for part in (numbers, known)]
    return Items(features, *spread)


def pair_up(labels, **options):
    own = make_items(labels, **options)
    return own, own.pick(torch.arange(len(labels)).roll(1), lambda rows: rows)


def keep_rows(rows):
    return rows


def test_pick__places__features_and_numbers_of_those_items_attached():
    own = make_items([0, 1, 2])
    own.features.requires_grad_()
    partner = own.pick(torch.tensor([2, 0, 1]), keep_rows)
    assert torch.equal(partner.features, own.features[[2, 0, 1]])
    assert partner.numbers.argmax(1).tolist() == [2, 0, 1]
    (slope,) = torch.autograd.grad(partner.features[0].sum(), own.features)
    assert slope.sum(1).tolist() == [0, 0, 4]


def test_generator__first_weights__no_residual_and_features_between_both():
    own, partner = pair_up([0, 1, 2])
    made = JointGenerator(4, CLASSES, hidden=8, seed=1)(own, partner)
    low, high = torch.minimum(own.features, partner.features), torch.maximum(own.features, partner.features)
    assert ((made.features >= low) & (made.features <= high)).all()
    assert not torch.allclose(made.features, own.features)


def test_generator__probabilities__sum_to_one_and_lie_mostly_on_both_classes():
    own, partner = pair_up([0, 1, 2])
    generator = JointGenerator(4, CLASSES, hidden=8, seed=1)
    torch.nn.init.zeros_(generator.labels[3].weight)
    torch.nn.init.zeros_(generator.labels[3].bias)
    made = generator(own, partner)
    torch.testing.assert_close(made.targets.sum(1), torch.ones(3))
    either = own.numbers + partner.numbers
    torch.testing.assert_close((made.targets * either).sum(1), torch.full((3,), 1 - 0.01 / 3))


@pytest.mark.parametrize("made", ["both", "features", "labels"])
def test_generator__targets__do_not_carry_the_features_graph_and_generated_features_do(made):
    own, _ = pair_up([0, 1, 2])
    own.features.requires_grad_()
    found = JointGenerator(4, CLASSES, made=made, hidden=8, seed=1)(own, own.pick(torch.tensor([1, 2, 0]), keep_rows))
    (slope,) = torch.autograd.grad(found.targets[:, 0].sum(), own.features, allow_unused=True, retain_graph=True)
    assert slope is None
    (slope,) = torch.autograd.grad(found.features.sum(), own.features)
    assert slope.abs().max() > 0


def test_generator__labels_alone__features_of_the_image_itself():
    own, partner = pair_up([0, 1, 2])
    generator = JointGenerator(4, CLASSES, made="labels", hidden=8, seed=1)
    found = generator(own, partner)
    assert torch.equal(found.features, own.features)
    assert found.targets.argmax(1).tolist() == [0, 1, 2]
    assert not any(name.startswith(("gate", "residual", "strength")) for name, _ in generator.named_parameters())


def test_generator__features_alone__targets_are_mixed_by_the_mean_of_the_gate():
    own, partner = pair_up([0, 1, 2])
    generator = JointGenerator(4, CLASSES, made="features", hidden=8, seed=1)
    torch.nn.init.zeros_(generator.gate[3].weight)
    torch.nn.init.constant_(generator.gate[3].bias, 2.0)
    share = float(torch.sigmoid(torch.tensor(2.0)))
    found = generator(own, partner)
    torch.testing.assert_close(found.targets, share * own.numbers + (1 - share) * partner.numbers)
    torch.testing.assert_close(found.features, share * own.features + (1 - share) * partner.features)


def test_generator__sub_classes__those_of_both_classes_alone_and_of_all_where_neither_is_known():
    own, partner = pair_up([0, 1, 2])
    own = own._replace(numbers=torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 0]]))
    partner = partner._replace(numbers=torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, 0, 0]]))
    generator = JointGenerator(4, CLASSES, hidden=8, sub_classes=SubClasses([2, 1, 2], num_classes=3), seed=1)
    targets = generator(own, partner).targets
    assert (targets > 0).int().tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    torch.testing.assert_close(targets.sum(1), torch.ones(3))
    assert generator.blocks == (TargetBlock(5, True),)


def test_generator__classes_and_a_quantity__probabilities_and_a_number():
    own, partner = pair_up([0, 1, 2], quantities=[1.0, 20.0, -3.0])
    generator = JointGenerator(4, TABLE, hidden=8, seed=1)
    torch.nn.init.zeros_(generator.labels[3].weight)
    torch.nn.init.zeros_(generator.labels[3].bias)
    torch.nn.init.zeros_(generator.gate[3].weight)
    torch.nn.init.zeros_(generator.gate[3].bias)
    targets = generator(own, partner).targets
    torch.testing.assert_close(targets[:, :3].sum(1), torch.ones(3))
    torch.testing.assert_close(targets[:, 3], torch.tensor([-1.0, 10.5, 8.5]))


def test_generator__cells__each_from_those_at_its_place():
    own, partner = pair_up([0, 1, 2], cells=(2, 5))
    generator = JointGenerator(4, CLASSES, hidden=8, seed=1)
    found = generator(own, partner)
    one = [Items(*(part[:, 1, 3] for part in items)) for items in (own, partner)]
    torch.testing.assert_close(found.features[:, 1, 3], generator(*one).features)
    torch.testing.assert_close(found.targets[:, 1, 3], generator(*one).targets)


def test_generated_losses__classes_and_quantity__soft_cross_entropy_and_squared_error():
    outputs = torch.tensor([[1.0, 0.0, 0.0, 2.0]])
    made = Generated(torch.zeros(1, 4), torch.tensor([[0.5, 0.5, 0.0, 5.0]]), torch.ones(1, 2))
    logs = torch.log_softmax(outputs[0, :3], 0)
    expected = -(logs[0] + logs[1]) / 2 + 9
    torch.testing.assert_close(generated_losses(outputs, made, TABLE), expected.view(1))


@pytest.mark.parametrize(("known", "expected"), [([[1.0, 0.0]], "classes"), ([[0.0, 1.0]], "quantity")])
def test_generated_losses__a_target_that_says_nothing__counts_as_zero(known, expected):
    outputs = torch.tensor([[1.0, 0.0, 0.0, 2.0]])
    made = Generated(torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 5.0]]), torch.tensor(known))
    value = -torch.log_softmax(outputs[0, :3], 0)[0] if expected == "classes" else torch.tensor(9.0)
    torch.testing.assert_close(generated_losses(outputs, made, TABLE), value.view(1))


def test_mix_items__share__of_features_and_targets_and_both_must_be_known():
    own, partner = pair_up([0, 1, 2], known=[[1.0], [0.0], [1.0]])
    made = mix_items(own, partner, torch.tensor(0.25))
    torch.testing.assert_close(made.features, 0.25 * own.features + 0.75 * partner.features)
    assert made.targets[1].tolist() == [0.75, 0.25, 0.0]
    assert made.known.flatten().tolist() == [1.0, 0.0, 0.0]
