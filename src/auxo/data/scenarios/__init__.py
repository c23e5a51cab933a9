"""Built-in scenarios: a training set, its held-out images and sets from elsewhere, ready to be used by name.

Each module has a ``SOURCE`` and a ``build(config, *, seed, task)`` that returns :class:`auxo.data.splits.Splits`.
"""

__all__: list[str] = []
