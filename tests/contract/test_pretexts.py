"""What every registered pretext must do, whatever it is."""

import pytest
import torch

from auxo.interfaces import AbstractImagePretext, PretextConfig
from auxo.options import find_member
from auxo.pretexts.compose import Compose
from auxo.pretexts.flip import Flip
from auxo.pretexts.inpaint import Inpaint
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.lorot import LoRot
from auxo.pretexts.rotation import Rotation
from auxo.random import Draws, named_generator
from auxo.registry import entries

KINDS = {name: find_member(PretextConfig, name) for name in entries("pretexts")}
KINDS = {name: kind for name, kind in KINDS.items() if issubclass(kind, AbstractImagePretext)}
PRETEXTS = {name: kind() for name, kind in KINDS.items()} | {
    "rotation-random": Rotation("random"),
    "lorot-I": LoRot("I"),
    "flip-vertical": Flip("vertical"),
    "jigsaw-2x2": Jigsaw(grid=2),
    "jigsaw-64": Jigsaw(num_orders=64),
    "inpaint-center": Inpaint("center", cells=2),
    "compose-two": Compose(("lorot", "channel_shuffle")),
}
COUNT = 6
SIDE = 18


@pytest.fixture(params=PRETEXTS)
def pretext(request):
    return PRETEXTS[request.param]


def images(count=COUNT, side=SIDE, dtype=torch.float64):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


def draws(seed=0, **share):
    return Draws(named_generator(seed, "pretext"), **share)


def has_classes(made):
    return made.targets.dtype == torch.int64 and made.targets.ndim == 1


def outputs_for(pretext, count):
    generator = torch.Generator().manual_seed(2)
    outputs = torch.randn(count, pretext.num_outputs, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_()


@pytest.mark.parametrize("name", KINDS)
def test_module__of_every_pretext__names_source_and_describes_its_class(name):
    entry = entries("pretexts")[name]
    assert entry.source
    assert entry.summary
    assert KINDS[name].__doc__
    assert KINDS[name]().name == KINDS[name]().label == name


@pytest.mark.parametrize("way", ["make", "make_all"])
def test_make__images__give_inputs_answers_and_sources_that_fit(pretext, way):
    batch = images()
    before = batch.clone()
    made = pretext.make(batch, draws=draws()) if way == "make" else pretext.make_all(batch)
    assert torch.equal(batch, before)
    assert made.inputs.shape == (len(made.targets), *batch.shape[1:])
    assert made.inputs.dtype == batch.dtype
    assert made.sources.shape == (len(made.targets),)
    assert made.sources.dtype == torch.int64
    assert made.sources.bincount(minlength=COUNT).unique().numel() == 1
    if made.targets.dtype == torch.int64:
        assert int(made.targets.min()) >= 0
        assert int(made.targets.max()) < pretext.num_outputs
    else:
        assert made.targets.shape == (len(made.inputs), pretext.num_outputs)
        assert not made.targets.requires_grad


def test_make__draws__decide_everything(pretext):
    batch = images()
    state = torch.random.get_rng_state()
    first, again = (pretext.make(batch, draws=draws()) for _ in range(2))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_make__other_seeds__make_other_inputs_where_anything_is_drawn(pretext):
    generator = named_generator(0, "pretext")
    state = generator.get_state()
    first = pretext.make(images(), draws=Draws(generator))
    is_random = not torch.equal(generator.get_state(), state)
    other = pretext.make(images(), draws=draws(1))
    assert torch.equal(first.inputs, other.inputs) is not is_random


def test_make_all__twice__has_no_randomness_and_shows_every_class(pretext):
    state = torch.random.get_rng_state()
    first, again = pretext.make_all(images()), pretext.make_all(images())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)
    if has_classes(first):
        assert first.targets.unique().tolist() == list(range(pretext.num_outputs))


def test_make_all__one_image__is_its_part_of_the_batch(pretext):
    whole, alone = pretext.make_all(images()), pretext.make_all(images()[2:3])
    assert torch.equal(whole.inputs[whole.sources == 2], alone.inputs)
    assert torch.equal(whole.targets[whole.sources == 2], alone.targets)


def test_make__two_processes__make_the_parts_of_the_joined_batch(pretext):
    batch = images(count=7)
    whole = pretext.make(batch, draws=draws())
    for first, last in ((0, 4), (4, 7)):
        part = pretext.make(batch[first:last], draws=draws(first=first, total=7))
        mine = (whole.sources >= first) & (whole.sources < last)
        assert torch.equal(part.inputs, whole.inputs[mine])
        assert torch.equal(part.targets, whole.targets[mine])
        assert torch.equal(part.sources + first, whole.sources[mine])


@pytest.mark.parametrize("way", ["make", "make_all"])
def test_make__channels_last__changes_the_storage_alone(pretext, way):
    batch = images(dtype=torch.float32)
    stored = batch.contiguous(memory_format=torch.channels_last)
    made, other = (
        pretext.make(each, draws=draws()) if way == "make" else pretext.make_all(each) for each in (batch, stored)
    )
    assert torch.equal(made.inputs, other.inputs)
    assert made.inputs.is_contiguous()
    assert other.inputs.is_contiguous(memory_format=torch.channels_last)


def test_loss__of_every_input__is_its_own_and_has_a_finite_gradient(pretext):
    made = pretext.make(images(), draws=draws())
    outputs = outputs_for(pretext, len(made.inputs))
    losses = pretext.loss(outputs, made.targets)
    assert losses.shape == (len(made.inputs),)
    assert (losses >= 0).all()
    (gradient,) = torch.autograd.grad(losses[1], outputs)
    assert torch.isfinite(gradient).all()
    assert gradient[1].abs().max() > 0
    assert not gradient[[0, *range(2, len(outputs))]].any()
    torch.testing.assert_close(pretext.loss(outputs[1:2], made.targets[1:2]), losses[1:2])


def test_loss__bfloat16_outputs__is_of_higher_precision(pretext):
    made = pretext.make(images(dtype=torch.float32), draws=draws())
    outputs = outputs_for(pretext, len(made.inputs)).detach().bfloat16()
    assert pretext.loss(outputs, made.targets).dtype == torch.float32


def test_make__after_evaluation_in_inference_mode__lets_gradients_reach_the_images(pretext):
    with torch.inference_mode():
        pretext.make_all(images(side=20))
    batch = images(side=20).requires_grad_()
    made = pretext.make(batch, draws=draws())
    (gradient,) = torch.autograd.grad((made.inputs * 2).sum(), batch)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
