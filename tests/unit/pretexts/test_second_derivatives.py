"""Products with the Hessian of the whole pretext, through fast and plain second derivatives."""

import pytest
import torch

from auxo.bilevel.second_order import FastSecondDerivatives
from auxo.layers.batch_norm import SynchronisedBatchNorm2d, keep_running_statistics


def hessian_product(backbone, pretext, pair, mode=None):
    """The gradient in all that is trained, and its derivative along a direction, from a cached graph."""
    parameters = [p for p in (*backbone.parameters(), *pretext.parameters()) if p.requires_grad]
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    with keep_running_statistics(backbone), keep_running_statistics(pretext):
        if mode is None:
            loss = pretext(backbone, pair).loss
        else:
            with mode:
                loss = pretext(backbone, pair).loss
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    return gradients, torch.autograd.grad(gradients, parameters, direction)


@pytest.mark.parametrize("name", ["simclr", "byol", "barlow_twins", "vicreg"])
def test_hessian_product__fast_second_derivatives__those_of_torch(build, pair, name):
    backbone, pretext = build(name=name)
    plain = hessian_product(backbone, pretext, pair)
    fast = hessian_product(backbone, pretext, pair, FastSecondDerivatives())
    assert max(part.abs().max() for part in plain[1]) > 1e-3
    for ours, theirs in zip((*fast[0], *fast[1]), (*plain[0], *plain[1]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["simclr", "byol", "barlow_twins", "vicreg"])
def test_hessian_product__synchronised_batch_norm__that_of_torchs(build, pair, name):
    backbone, pretext = build(name=name)
    plain = hessian_product(backbone, pretext, pair)
    for module in (backbone, pretext):
        SynchronisedBatchNorm2d.convert(module, all_reduce=lambda tensor: tensor)
    ours = hessian_product(backbone, pretext, pair)
    for mine, theirs in zip((*ours[0], *ours[1]), (*plain[0], *plain[1]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
