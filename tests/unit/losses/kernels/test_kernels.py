import math

import pytest
import torch

from auxo.errors import OptionError
from auxo.losses.kernels.energy import Energy
from auxo.losses.kernels.laplace import Laplace
from auxo.losses.kernels.rbf import RBF

ROWS = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)


def test_compare__two_rows__are_the_formulas() -> None:
    for kernel, expected in (
        (RBF(sigma=5.0), math.exp(-0.5)),
        (RBF(sigma=5.0, scales=(1.0, 2.0)), (math.exp(-0.5) + math.exp(-0.125)) / 2),
        (Laplace(sigma=7.0), math.exp(-1)),
        (Energy(), -5.0),
    ):
        found = kernel.compare(ROWS)
        assert float(found[0, 1]) == pytest.approx(expected, rel=1e-12)
        assert torch.equal(found, found.T)
        assert float(found[0, 2]) == (0.0 if isinstance(kernel, Energy) else 1.0)


@pytest.mark.parametrize("kernel", [RBF(sigma=None), Laplace(sigma=None)])
def test_compare__median_scale__does_not_change_with_the_rows_unit(kernel: RBF | Laplace) -> None:
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(kernel.compare(rows), kernel.compare(1000 * rows))


def test_compare__equal_rows__have_finite_gradients() -> None:
    for kernel in (RBF(sigma=None), Laplace(), Energy()):
        rows = torch.ones(4, 2, requires_grad=True)
        kernel.compare(rows).sum().backward()
        assert torch.equal(rows.grad, torch.zeros(4, 2))


def test_rbf__without_scales_or_length__is_refused() -> None:
    with pytest.raises(OptionError, match="scales of at least one number, got none"):
        RBF(scales=())
    with pytest.raises(OptionError, match="sigma > 0"):
        RBF(sigma=0.0)
