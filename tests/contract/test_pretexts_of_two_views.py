"""What every registered pretext on two views must do, whatever it is."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.interfaces import PretextConfig
from auxo.layers.batch_norm import SynchronisedBatchNorm2d, keep_running_statistics
from auxo.options import find_member
from auxo.pretexts import AbstractPairModule, Pair, PairConfig
from auxo.pretexts.byol import BYOL
from auxo.pretexts.simclr import SimCLR
from auxo.pretexts.vicreg import VICReg
from auxo.registry import entries
from auxo.tasks import Classification

NAMES = [name for name in entries("pretexts") if issubclass(find_member(PretextConfig, name), PairConfig)]
COUNT, SIDE = 6, 12
VARIANTS = {name: find_member(PretextConfig, name)(hidden=16, outputs=8) for name in NAMES}
VARIANTS |= {
    "byol-constant": BYOL.Config(momentum_schedule="constant", hidden=16, outputs=8),
    "two layers": SimCLR.Config(num_layers=2, hidden=16, outputs=8),
    "wider than the batch": VICReg.Config(hidden=4, outputs=32),
}


@pytest.fixture(params=VARIANTS)
def config(request):
    return VARIANTS[request.param]


def make(config, seed=0):
    backbone = BackboneConfig(name="resnet8").build(Classification(("a", "b"), 3, SIDE, SIDE), seed=seed)
    return backbone, config.build(backbone, seed=seed)


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    images, noise = (torch.randn(COUNT, 3, SIDE, SIDE, generator=generator).to(dtype) for _ in range(2))
    return Pair(images, images + 0.3 * noise)


def trained(backbone, pretext):
    """The parameters that a gradient should reach, by name."""
    named = {**dict(backbone.named_parameters(prefix="backbone")), **dict(pretext.named_parameters())}
    return {name: value for name, value in named.items() if name not in pretext.frozen_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_module__of_every_pretext__names_source_and_builds_a_documented_class(name):
    entry = entries("pretexts")[name]
    assert "arXiv" in entry.source
    assert entry.summary
    _, pretext = make(find_member(PretextConfig, name)())
    assert isinstance(pretext, AbstractPairModule)
    assert type(pretext).__module__ == entry.module
    assert type(pretext).__doc__


def test_forward__of_every_pretext__finite_loss_and_detached_embeddings(config):
    backbone, pretext = make(config)
    result = pretext(backbone, pair())
    assert result.loss.shape == ()
    assert result.loss.requires_grad
    assert torch.isfinite(result.loss)
    assert result.embeddings.shape == (COUNT, config.outputs)
    assert not result.embeddings.requires_grad
    assert torch.isfinite(result.embeddings).all()


def test_no_dead_head__every_parameter__gets_a_gradient_or_is_listed_frozen(config):
    backbone, pretext = make(config)
    pretext(backbone, pair()).loss.backward()
    frozen = pretext.frozen_parameters()
    named = dict(pretext.named_parameters())
    assert set(frozen) <= set(named)
    assert all(frozen.values())
    for name in frozen:
        assert not named[name].requires_grad
        assert named[name].grad is None, f"{name} is listed frozen and has a gradient"
    for name, parameter in trained(backbone, pretext).items():
        assert parameter.grad is not None, f"{name} gets no gradient and is not listed frozen"
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 1e-7, f"{name} does not move"


def test_forward__views_swapped__same_loss_and_the_other_embeddings(config):
    backbone, pretext = (module.double() for module in make(config))
    views = pair(torch.float64)
    result, swapped = pretext(backbone, views), pretext(backbone, Pair(views.second, views.first))
    torch.testing.assert_close(swapped.loss, result.loss, rtol=0, atol=1e-12)
    assert not torch.allclose(swapped.embeddings, result.embeddings)


def test_forward__images_in_another_order__same_loss(config):
    backbone, pretext = (module.double() for module in make(config))
    views, order = pair(torch.float64), torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))
    permuted = pretext(backbone, Pair(views.first[order], views.second[order]))
    torch.testing.assert_close(permuted.loss, pretext(backbone, views).loss, rtol=0, atol=1e-11)


def test_build__equal_seeds__equal_weights_and_untouched_generator(config):
    state = torch.random.get_rng_state()
    first, again, other = (make(config, seed)[1].state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    weights = [name for name, tensor in first.items() if tensor.ndim > 1]
    assert all(not torch.equal(first[name], other[name]) for name in weights)


def test_forward__channels_last__same_loss(config):
    backbone, pretext = make(config)
    expected = pretext(backbone, pair()).loss
    views = pair()
    last = Pair(*(view.contiguous(memory_format=torch.channels_last) for view in (views.first, views.second)))
    for module in (backbone, pretext):
        module.to(memory_format=torch.channels_last)
    torch.testing.assert_close(pretext(backbone, last).loss, expected, rtol=1e-4, atol=1e-5)


def test_state_dict__loaded_into_another__same_bits(config):
    backbone, pretext = make(config)
    pretext(backbone, pair())  # moves running statistics
    _, other = make(config, seed=5)
    other.load_state_dict(pretext.state_dict())
    results = [module(backbone, pair()) for module in (pretext, other)]
    assert torch.equal(results[0].loss, results[1].loss)
    assert torch.equal(results[0].embeddings, results[1].embeddings)


def test_second_derivative__of_the_backbone__is_the_difference_of_gradients(config):
    backbone, pretext = (module.double() for module in make(config))
    views = pair(torch.float64)
    parameters = [*backbone.parameters()]
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]

    def gradients():
        with keep_running_statistics(backbone), keep_running_statistics(pretext):
            return torch.autograd.grad(pretext(backbone, views).loss, parameters, create_graph=True)

    @torch.no_grad()
    def move(length):
        for parameter, part in zip(parameters, direction, strict=True):
            parameter.add_(part, alpha=length)

    exact = torch.autograd.grad(gradients(), parameters, direction)
    step = 1e-8  # so small that no ReLU switches
    move(step)
    ahead = gradients()
    move(-2 * step)
    behind = gradients()
    for product, after, before in zip(exact, ahead, behind, strict=True):
        scale = product.abs().max().item()
        torch.testing.assert_close((after - before) / (2 * step), product, rtol=1e-4, atol=1e-4 * (scale + 1e-2))


def test_forward__autocast__compares_in_float32(config):
    backbone, pretext = make(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = pretext(backbone, pair())
    assert result.loss.dtype == result.embeddings.dtype == torch.float32
    torch.testing.assert_close(result.loss, pretext(backbone, pair()).loss, rtol=0.1, atol=0.05)


def test_forward__each_view__moves_running_statistics_by_itself(config):
    backbone, pretext = make(config)
    pretext(backbone, pair())
    counts = {int(value) for name, value in pretext.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {2}


def test_synchronised_batch_norm__one_process__same_loss_in_every_head(config):
    backbone, pretext = (module.double() for module in make(config))
    views = pair(torch.float64)
    expected = pretext(backbone, views)
    for module in (backbone, pretext):
        SynchronisedBatchNorm2d.convert(module, all_reduce=lambda tensor: tensor)
    result = pretext(backbone, views)
    torch.testing.assert_close(result.loss, expected.loss, rtol=0, atol=1e-12)


def test_follow_and_restart__of_every_pretext__leave_what_is_trained_alone(config):
    backbone, pretext = make(config)
    before = {name: value.detach().clone() for name, value in trained(backbone, pretext).items()}
    with torch.no_grad():
        backbone.convolution.weight.add_(1.0)
    before["backbone.convolution.weight"] += 1.0
    pretext.follow(backbone, progress=0.5)
    pretext.restart(backbone)
    assert all(torch.equal(value, before[name]) for name, value in trained(backbone, pretext).items())
