"""MLflow: curves and options on the server of MLFLOW_TRACKING_URI, or offline in a file in the run directory."""

import importlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from auxo.errors import ConfigError
from auxo.runs.trackers._interface import AbstractTracker, TrackedRun

SOURCE = (
    "https://github.com/mlflow/mlflow, through its client, so that no global run begins. Names of curves keep the "
    "letters that MLflow allows; options are parameters called by their paths, such as data.image_size."
)

PACKAGE = "mlflow"

_FORBIDDEN = re.compile(r"[^\w\-. /]")
_MOST_PARAMS = 100  # of one call
_LONGEST = 500


class MlflowTracker(AbstractTracker):
    """A run of MLflow.

    Args:
        library: mlflow.
        client: of the place where runs are kept.
        identity: of the run there.
    """

    def __init__(self, library: ModuleType, client: Any, identity: str) -> None:  # noqa: ANN401 mlflow is an extra
        self._entities = library.entities
        self._client = client
        self.identity = identity

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """See :meth:`AbstractTracker.add`."""
        now = round(time.time() * 1000)
        points = [self._entities.Metric(_FORBIDDEN.sub("_", key), value, now, step) for key, value in values.items()]
        self._client.log_batch(self.identity, metrics=points)

    def add_params(self, config: Mapping[str, Any]) -> None:
        """Write the options of the run as parameters; those that are there stay."""
        params = [self._entities.Param(name, text[:_LONGEST]) for name, text in _flatten_config("", config)]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self.identity, params=params[start : start + _MOST_PARAMS])

    def sync(self) -> None:
        """Do nothing: every call is answered when the point is there."""

    def close(self, *, is_finished: bool = False) -> None:
        """See :meth:`AbstractTracker.close`."""
        self._client.set_terminated(self.identity, status="FINISHED" if is_finished else "KILLED")


def list_failures() -> tuple[type[Exception], ...]:
    """Return what is raised when points cannot be written."""
    return (OSError, RuntimeError, importlib.import_module(PACKAGE).exceptions.MlflowException)


def open_tracker(run: TrackedRun) -> MlflowTracker:
    """Return a new run of MLflow, or the one that it had before.

    Raises:
        ConfigError: its place cannot be used.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    mlflow = importlib.import_module(PACKAGE)
    place = f"sqlite:///{(run.folder / 'mlflow.db').resolve()}" if run.is_offline else None
    try:
        client = mlflow.MlflowClient(tracking_uri=place)
        if run.identity is not None:
            client.update_run(run.identity, status="RUNNING")
            return MlflowTracker(mlflow, client, run.identity)
        known = client.get_experiment_by_name(run.project)
        experiment = client.create_experiment(run.project) if known is None else known.experiment_id
        begun = client.create_run(experiment, run_name=run.folder.name)
        tracker = MlflowTracker(mlflow, client, begun.info.run_id)
        tracker.add_params(run.config)
        return tracker
    except (mlflow.exceptions.MlflowException, ImportError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "set MLFLOW_TRACKING_URI, or pass --training.trackers-offline"
        raise ConfigError("a place where MLflow keeps runs", f"none ({first})", fix) from error


def _flatten_config(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the options of a config by their paths, as text."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flatten_config(f"{prefix}.{name}" if prefix else str(name), each)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _flatten_config(f"{prefix}.{number}", each)
    elif value is not None:
        yield prefix, str(value)
