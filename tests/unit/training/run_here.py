"""A run in this process."""

from auxo.runs.document import config_digest, to_json
from auxo.runtime import open_runtime
from auxo.training import SilentObserver, train_run


def run_here(config, folder, splits, observer=None):
    """Make a run, or go on with it; without an observer nobody is told."""
    with open_runtime(config.runtime) as runtime:
        return train_run(
            config,
            document=to_json(config),
            digest=config_digest(config),
            folder=folder,
            runtime=runtime,
            observer=observer or SilentObserver(),
            splits=splits,
        )
