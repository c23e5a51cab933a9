"""In one process, synchronised batch norm is batch norm."""

import copy

import pytest
import torch
from torch import nn

from auxo.layers.batch_norm import (
    SynchronisedBatchNorm1d,
    SynchronisedBatchNorm2d,
    keep_running_statistics,
    record_running_statistics,
    use_running_statistics,
)


def batches(count=3, channels=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, channels, 3, 2), (2, channels, 1, 1), (1, channels, 4, 4)][:count]
    return [3 * torch.randn(shape, generator=generator, dtype=dtype) + 7 for shape in shapes]


def pair(**options):
    """Return batch norm with random weights, and its synchronised twin."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(4, dtype=torch.float64, **options))
    if plain[0].affine:
        nn.init.normal_(plain[0].weight)
        nn.init.normal_(plain[0].bias)
    twin = copy.deepcopy(plain)
    SynchronisedBatchNorm2d.convert(twin, all_reduce=lambda tensor: tensor)
    assert type(twin[0]) is SynchronisedBatchNorm2d
    return plain, twin


def close(first, second):
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


OPTIONS = [{}, {"momentum": 0.3, "eps": 1e-2}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_forward__one_process__equals_batch_norm_with_gradients_and_statistics(options):
    plain, twin = pair(**options)
    for images in batches():
        cotangent = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        results = []
        for module in (plain, twin):
            module.zero_grad()
            inputs = images.clone().requires_grad_()
            outputs = module(inputs)
            (outputs * cotangent).sum().backward()
            results.append((outputs, inputs.grad, [parameter.grad for parameter in module.parameters()]))
        for ours, theirs in zip(results[0][2], results[1][2], strict=True):
            close(ours, theirs)
        close(results[0][0], results[1][0])
        close(results[0][1], results[1][1])
        for name, buffer in plain.state_dict().items():
            close(buffer, twin.state_dict()[name])


@pytest.mark.parametrize("options", OPTIONS[:3], ids=repr)
def test_forward__evaluation__equals_batch_norm(options):
    plain, twin = pair(**options)
    for module in (plain, twin):
        module(batches()[0])
        module.eval()
    close(plain(batches()[1]), twin(batches()[1]))


def test_forward__bfloat16__is_computed_in_float32_and_given_back_as_it_came():
    module = SynchronisedBatchNorm2d(4, all_reduce=lambda tensor: tensor)
    images = batches(1, dtype=torch.float32)[0]
    low = images.to(torch.bfloat16)
    outputs = module(low)
    assert outputs.dtype == torch.bfloat16
    assert torch.equal(outputs, nn.BatchNorm2d(4)(low.float()).to(torch.bfloat16))


def test_forward__second_process_with_the_same_images__changes_nothing_but_the_unbiased_variance():
    plain, _ = pair()
    twin = copy.deepcopy(plain)
    SynchronisedBatchNorm2d.convert(twin, all_reduce=lambda tensor: 2 * tensor)
    images = batches()[0]
    close(plain(images), twin(images))
    close(plain[0].running_mean, twin[0].running_mean)
    count = images.numel() / 4
    own, joined = (module[0].running_var - 0.9 for module in (plain, twin))
    close(joined, own * (count - 1) / count * (2 * count) / (2 * count - 1))


def test_convert__nested_module__replaces_every_layer_and_keeps_its_tensors():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, eps=0.5), nn.ReLU()), nn.BatchNorm2d(4))
    before = dict(module.state_dict(keep_vars=True))
    SynchronisedBatchNorm2d.convert(module, all_reduce=lambda tensor: tensor)
    kinds = [type(layer) for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert kinds == [SynchronisedBatchNorm2d, SynchronisedBatchNorm2d]
    assert module[1][0].eps == 0.5
    after = module.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is tensor for name, tensor in before.items())


@pytest.mark.parametrize("synchronised", [False, True])
def test_keep_running_statistics__training__normalises_by_the_batch_and_leaves_the_buffers(synchronised):
    module = pair()[synchronised]
    expected = copy.deepcopy(module)
    images = batches()[0]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with keep_running_statistics(module):
        outputs = module(images)
        outputs.sum().backward()
    close(outputs, expected(images))
    assert module[0].weight.grad is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    module(images)
    for name, tensor in module.state_dict().items():
        close(tensor, expected.state_dict()[name])


def test_keep_running_statistics__error_inside__puts_every_layer_back():
    module = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(ValueError, match="expected 4D"), keep_running_statistics(module):
        module(torch.ones(3, 4))
    assert [layer.track_running_stats for layer in module] == [True, False]


@pytest.mark.parametrize("synchronised", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_record_running_statistics__applied__moves_as_so_many_passes(options, synchronised):
    module = pair(**options)[synchronised]
    module.append(nn.BatchNorm2d(4, dtype=torch.float64).eval())  # evaluates by its own statistics, which stay
    first, second, unused = batches()
    module(unused)
    expected, before = copy.deepcopy(module), module.state_dict(keep_vars=True)
    with record_running_statistics(module) as move:
        outputs = module(first) + module(second).sum()
    assert all(module.state_dict(keep_vars=True)[name] is tensor for name, tensor in before.items())
    for times in range(4):
        again = copy.deepcopy(expected)
        for _ in range(times):
            close(outputs, again(first) + again(second).sum())
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        move.apply(times)
        for name, tensor in again.state_dict().items():
            close(module.state_dict()[name], tensor)
        module.load_state_dict(before)


def test_record_running_statistics__layer_not_used__keeps_its_statistics():
    module = nn.ModuleList([nn.BatchNorm1d(2), nn.BatchNorm1d(2, momentum=None), nn.BatchNorm1d(2)])
    for layer in module[:2]:
        nn.init.normal_(layer.running_mean)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match="expected 2D"), record_running_statistics(module) as move:
        module[2](torch.ones(1, 1, 1, 1))
    move.apply(3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def rows(seed=0):
    """Inputs of the two shapes that one-dimensional batch norm takes."""
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 7 for shape in ((6, 4), (3, 4, 5))]


def pair_1d(**options):
    """Return one-dimensional batch norm with random weights, and its synchronised twin."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm1d(4, dtype=torch.float64, **options))
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    twin = copy.deepcopy(plain)
    SynchronisedBatchNorm2d.convert(twin, all_reduce=lambda tensor: tensor)
    assert type(twin[0]) is SynchronisedBatchNorm1d
    return plain, twin


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_forward__rows__equals_one_dimensional_batch_norm_with_both_derivatives_and_statistics(options):
    plain, twin = pair_1d(**options)
    for inputs in rows():
        results = []
        for module in (plain, twin):
            leaves = [inputs.clone().requires_grad_(), *module.parameters()]
            outputs = module(leaves[0])
            first = torch.autograd.grad(outputs.pow(3).sum(), leaves, create_graph=True)
            second = torch.autograd.grad(sum(part.square().sum() for part in first), leaves)
            results.append([outputs, *first, *second])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for name, buffer in plain.state_dict().items():
        close(buffer, twin.state_dict()[name])


@pytest.mark.parametrize("options", OPTIONS[:3], ids=repr)
def test_forward__rows_in_evaluation__equals_one_dimensional_batch_norm(options):
    plain, twin = pair_1d(**options)
    for module in (plain, twin):
        module(rows()[0])
        module.eval()
    close(plain(rows(1)[0]), twin(rows(1)[0]))


def test_forward__input_of_another_dimension__is_refused_as_torch_does():
    one, two = (
        kind(4, all_reduce=lambda tensor: tensor) for kind in (SynchronisedBatchNorm1d, SynchronisedBatchNorm2d)
    )
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        one(torch.zeros(2, 4, 3, 3))
    with pytest.raises(ValueError, match="expected 4D"):
        two(torch.zeros(2, 4))


def test_convert__network_with_a_projector__replaces_layers_of_both_kinds():
    module = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    SynchronisedBatchNorm1d.convert(module, all_reduce=lambda tensor: tensor)
    assert [type(module[0]), type(module[1][1])] == [SynchronisedBatchNorm2d, SynchronisedBatchNorm1d]


@pytest.mark.parametrize("synchronised", [False, True])
@pytest.mark.parametrize("context", [keep_running_statistics, use_running_statistics])
def test_running_statistics__of_rows__stay_within_either_context(context, synchronised):
    module = pair_1d()[synchronised]
    module(rows()[0])
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    inputs = rows(1)[0]
    with context(module):
        outputs = module(inputs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    expected = copy.deepcopy(module).train(context is keep_running_statistics)(inputs)
    close(outputs, expected)
    module(inputs)
    assert not torch.equal(module.state_dict()["0.running_mean"], before["0.running_mean"])
