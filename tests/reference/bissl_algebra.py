"""Matrices, lengths and steps that the tests of BiSSL's plain rendering share."""

import torch


def spd(size, largest, smallest=0.0):
    basis, _ = torch.linalg.qr(torch.randn(size, size))
    return basis @ torch.diag(torch.linspace(smallest, largest, size)) @ basis.T


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def relative(ours, theirs):
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


class Idle:
    """An optimiser that does nothing."""

    def step(self, gradients):
        pass
