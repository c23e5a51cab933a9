"""Matrices with a known spectrum."""

import torch


def symmetric(values, seed=0):
    """A symmetric matrix with the given eigenvalues and random eigenvectors."""
    values = torch.as_tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))
    return basis @ torch.diag(values) @ basis.T


def log_spaced(size, condition):
    """Eigenvalues spread evenly on a log scale from 1 to ``condition``."""
    return torch.logspace(0, torch.tensor(float(condition)).log10().item(), size, dtype=torch.float64)
