"""The short help of ``auxo train``, which names no option of a method, so that it needs no torch."""

from auxo import registry

_TRAIN = """usage: auxo train RECIPE [OPTIONS]
       auxo train --config FILE [OPTIONS]
       auxo train --resume RUN [--epochs N]

RECIPE is a method ({methods}), a function in a file of yours (my_method.py:recipe)
or a function in a module (auxo.methods.ossl:cifar10_released).

  --config FILE   repeat the run that a config.json describes, changed by OPTIONS
  --resume RUN    go on with an interrupted run, to the same result to the bit;
                  with --epochs N, give a finished one more epochs, N in all
  --code FILE     let a config run this Python file of yours; repeat it for several
  --out DIR       the run directory; by default a new one under runs/

auxo train RECIPE --help shows the other options with units and defaults.
"""


def train_usage() -> str:
    """Return the help of ``auxo train`` without a recipe."""
    return _TRAIN.format(methods=", ".join(registry.entries("methods")))
