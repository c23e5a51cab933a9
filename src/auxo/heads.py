"""Heads: what turns pooled features into answers."""

from torch import nn

from auxo.random import derive_seed, global_seed

__all__ = ["linear_head"]


def linear_head(name: str, num_features: int, num_outputs: int, *, seed: int) -> nn.Linear:
    """Return a linear layer with zero bias, initialised from the random stream of its name.

    A head has the same first weights whichever other heads a method has, so runs of different methods are paired.

    Args:
        name: of the head, for instance ``"semantic"``.
        num_features: length of the pooled vector.
        num_outputs: number of classes.
        seed: the run's seed.
    """
    with global_seed(derive_seed(seed, "init", name)):
        head = nn.Linear(num_features, num_outputs)
    nn.init.zeros_(head.bias)
    return head
