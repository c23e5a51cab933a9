"""Whether embeddings still tell images apart: two numbers that fall when they stop."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def embedding_std(embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    r"""Return the mean standard deviation of the features of unit-length embeddings, times ``sqrt(dim)``.

    1 where the directions are spread evenly over the sphere, 0 where all embeddings have one direction.

    Source: Chen & He, Exploring Simple Siamese Representation Learning, CVPR 2021, Section 4.1
        (https://arxiv.org/abs/2011.10566). Ours: the factor, so that one scale holds for every length.

    Args:
        embeddings: one row per image; rows of zeros stay zero.

    Returns:
        In [0, 1]; detached, at least float32. Of this process's images only.

    Example:
        >>> embedding_std(torch.ones(4, 8))
        tensor(0.)
        >>> embedding_std(torch.cat([torch.eye(4), -torch.eye(4)]))
        tensor(1.)
    """
    rows = embeddings.float() if embeddings.dtype.itemsize < 4 else embeddings
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    units: Tensor = rows / lengths.clamp_min(torch.finfo(rows.dtype).tiny)
    return units.std(0, correction=0).mean() * math.sqrt(rows.shape[1])


@torch.no_grad()
def effective_rank(embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    r"""Return :math:`\exp(-\sum_k p_k \ln p_k)`, ``p`` being the centred embeddings' singular values over their sum.

    Between 1, where the embeddings lie on a line or in a point, and ``min(batch - 1, dim)``, where every direction has
    the same share. Without the centring, as in RankMe (Garrido et al., ICML 2023), a mean far from zero would lower it
    by itself. Variation below the rounding of the embeddings' own precision counts as none.

    Source: Roy & Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007, Definition 1.
    Cost: the eigenvalues of a square matrix of the smaller side, in float64; on GPUs the host waits for them.

    Args:
        embeddings: one row per image.

    Returns:
        Detached, at least float32. Of this process's images only.

    Example:
        >>> effective_rank(torch.ones(6, 4))
        tensor(1.)
        >>> effective_rank(torch.cat([torch.eye(4), -torch.eye(4)]))
        tensor(4.)
    """
    kind = embeddings.dtype if embeddings.dtype.itemsize >= 4 else torch.float32
    rows = embeddings.to(torch.float64)
    noise = torch.finfo(embeddings.dtype).eps ** 2 * rows.square().sum()
    centred = rows - rows.mean(0)
    gram = centred @ centred.T if len(rows) <= rows.shape[1] else centred.T @ centred
    squares = torch.linalg.eigvalsh(gram)
    smallest = noise + torch.finfo(torch.float64).eps * len(squares) * squares.max()
    values = torch.where(squares > smallest, squares, 0.0).sqrt()
    shares = values / values.sum().clamp_min(torch.finfo(torch.float64).tiny)
    entropy: Tensor = torch.special.entr(shares).sum()
    return entropy.exp().to(kind)


def collapse_metrics(embeddings: Float[Tensor, "batch dim"] | None) -> dict[str, Float[Tensor, ""]]:
    """Return :func:`embedding_std` and :func:`effective_rank` by name, for a step's metrics.

    Args:
        embeddings: one row per image, as :class:`auxo.interfaces.PretextLoss` has them; nothing is returned for
            ``None``.
    """
    if embeddings is None:
        return {}
    return {"embedding_std": embedding_std(embeddings), "effective_rank": effective_rank(embeddings)}
