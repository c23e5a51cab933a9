"""The last batch of an epoch where it has a single image: whether the method can take it is tried before training."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from auxo.errors import ConfigError
from auxo.interfaces import AbstractMethod, TrainState
from auxo.random import derive_seed, global_seed
from auxo.runtime import Runtime
from auxo.training.feeds import Feeds

_SIGN = "more than 1 value per channel"  # what torch's batch norm says


def check_last_batch(method: AbstractMethod, state: TrainState, feeds: Feeds, runtime: Runtime) -> None:
    """Refuse a last batch of one image that batch norm over one pixel would stop at, an epoch later.

    A copy of the method takes one step on it; the method and its state stay as they are.

    Args:
        method: of the stage, with what it has prepared.
        state: of the stage.
        feeds: of the stage; must be opened again afterwards.
        runtime: device and processes.

    Raises:
        ConfigError: the method cannot take the batch.

    Cost: one step, and only where there is such a batch.
    """
    step = feeds.find_lone_image(state.steps_per_epoch)
    if step is None or runtime.config.compile:  # a compiled network has no copy
        return
    plan = feeds.plan(step)
    feeds.open(step, step + 1)
    batches, _ = feeds.read(plan)
    tried, own = copy.deepcopy((method, state))  # at once: the copied optimisers then hold the copied weights
    own.step, own.kind = step, plan.kind
    tried.train()
    got = f"one image in the last batch, step {step + 1} of an epoch"
    fix = "pass --drop-last, or another --batch-size or --data.num-train"
    with naming_lone_image(got, fix=fix), global_seed(derive_seed(state.seed, "layers", step, runtime.rank)):
        tried.update(own, batches, runtime)


@contextmanager
def naming_lone_image(got: str, *, fix: str) -> Iterator[None]:
    """Say what was too few images where batch norm over one pixel stops at it within the block.

    Raises:
        ConfigError: it did.
    """
    try:
        yield
    except ValueError as error:
        if _SIGN not in str(error):
            raise
        raise ConfigError("batches of two images or more for batch norm over single pixels", got, fix) from error
