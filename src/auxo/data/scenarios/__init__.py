"""Built-in scenarios: a training set, its held-out images and sets from elsewhere, ready to be used by name.

Each module has a ``SOURCE`` and a ``build(config, *, seed, task)`` that returns :class:`auxo.data.splits.Splits`.
``REDRAWN``, where there is one, names the test sets whose images are others under another seed, or is ``"all"``; they
come from one pool with the training images, unless ``HAS_POOL`` is false.
"""

__all__: list[str] = []
