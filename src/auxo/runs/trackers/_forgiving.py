"""A service that fails while a run trains: its points are lost, the run is not."""

from collections.abc import Callable, Mapping

from auxo.runs.trackers._interface import AbstractTracker


class ForgivingTracker(AbstractTracker):
    """Writes to a tracker until that fails; then it says so once and writes nothing more.

    Args:
        inner: the tracker.
        failures: what it raises when its service cannot be reached.
        tell: called with the first line of the error.
    """

    def __init__(
        self, inner: AbstractTracker, *, failures: tuple[type[Exception], ...], tell: Callable[[str], None]
    ) -> None:
        self._inner = inner
        self._failures = failures
        self._tell = tell
        self._has_failed = False
        self.identity = inner.identity

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """See :meth:`AbstractTracker.add`."""
        self._try(lambda: self._inner.add(step, values))

    def sync(self) -> None:
        """See :meth:`AbstractTracker.sync`."""
        self._try(self._inner.sync)

    def close(self, *, is_finished: bool = False) -> None:
        """See :meth:`AbstractTracker.close`."""
        self._try(lambda: self._inner.close(is_finished=is_finished))

    def _try(self, act: Callable[[], None]) -> None:
        """Do something unless the tracker has failed."""
        if self._has_failed:
            return
        try:
            act()
        except self._failures as error:
            self._has_failed = True
            self._tell((str(error).splitlines() or [type(error).__name__])[0])
