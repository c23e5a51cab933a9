"""What the renderings share: arithmetic in double precision."""

import pytest
import torch


@pytest.fixture
def float64():
    """Make new tensors double, and draw the same ones in every test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
