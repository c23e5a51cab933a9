"""p-values: of permutations, and corrected for their number."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from auxo.errors import ConfigError

# Equal statistics of other orders of summation count as equal, those of images all alike, which are 0, as well.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12


def permutation_p_value(observed: float, drawn: Float[Tensor, " draws"]) -> float:
    """Return how often a statistic is as large as the one observed, among it and those of random permutations.

    ``(1 + number of draws that are as large) / (1 + number of draws)``: where nothing distinguishes the observed order
    from a random one, this is at most any level with a probability of at most that level.

    Args:
        observed: of the order that was seen.
        drawn: shape ``(draws,)``; of orders drawn at random.

    Source: Phipson & Smyth, Permutation P-values Should Never Be Zero, Statistical Applications in Genetics and
        Molecular Biology 9, 2010 (https://doi.org/10.2202/1544-6115.1585).

    Example:
        >>> import torch
        >>> permutation_p_value(3.0, torch.tensor([1.0, 2.0, 3.0]))
        0.5
    """
    least = observed - max(_RELATIVE * abs(observed), _ABSOLUTE)
    return (1 + int((drawn >= least).sum())) / (1 + len(drawn))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, so that any error among those below a level is as rare as the level.

    Sorted upwards, the k-th of m is multiplied by ``m - k + 1``, and none is smaller than one before it, nor above 1.

    Args:
        p_values: each in [0, 1].

    Raises:
        ConfigError: one is no probability.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979
        (https://www.jstor.org/stable/4615733).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    return holm_along(np.array(p_values, dtype=np.float64)).tolist()  # type: ignore[no-any-return]


def holm_along(p_values: Float[np.ndarray, "*families tests"]) -> Float[np.ndarray, "*families tests"]:
    """Return p-values corrected by :func:`holm`, each family of tests along the last axis for itself.

    Args:
        p_values: each in [0, 1].

    Raises:
        ConfigError: one is no probability.
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ConfigError("p-values in [0, 1]", str(p_values.ravel()[:3].tolist()), "compute them anew")
    num_tests = p_values.shape[-1]
    order = p_values.argsort(axis=-1, kind="stable")
    scaled = np.take_along_axis(p_values, order, axis=-1) * np.arange(num_tests, 0, -1)
    corrected = np.empty_like(scaled)
    np.put_along_axis(corrected, order, np.maximum.accumulate(np.minimum(scaled, 1.0), axis=-1), axis=-1)
    return corrected
