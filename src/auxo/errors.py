"""The errors auxo raises on purpose: one line each, saying what was expected, what came and what to do.

AuxoError                 exit code 2
├── ConfigError           an option, recipe or config file that cannot be used
│   └── ForeignCodeError  code of the user's that raised an error of its own
├── DataError             an image, label, folder or table that cannot be used
├── ShapeError            a tensor of the wrong shape, type or range
├── CheckpointError       a checkpoint that is damaged, foreign or missing
├── OutputError           a place that cannot be written
├── DeviceError           a device, port or process group that cannot be used
├── HypergradientError    a two-level problem that cannot be differentiated as asked
├── SelectionError        test data offered where only validation data may decide
├── NonFiniteError        exit code 3: a loss that is no longer a number
└── InterruptedRunError       exit code 130 or 143: stopped by a signal, state saved
"""


class AuxoError(Exception):
    """Base of every deliberate error.

    Args:
        expected: what would have been right.
        got: what came instead.
        fix: what the reader can do about it.

    The message is the one line ``expected …, got …: …``.

    Example:
        >>> print(AuxoError("a folder", "'x.txt', a file", "name its folder"))
        expected a folder, got 'x.txt', a file: name its folder
    """

    exit_code = 2

    def __init__(self, expected: str, got: str, fix: str) -> None:
        self.expected = expected
        self.got = got
        self.fix = fix
        super().__init__(f"expected {expected}, got {got}: {fix}")

    def __reduce__(self) -> tuple[type["AuxoError"], tuple[str | int, ...]]:
        """Survive the way back from a data-loading worker process."""
        return type(self), (self.expected, self.got, self.fix)


class ConfigError(AuxoError):
    """An option, recipe or config file cannot be used."""


class ForeignCodeError(ConfigError):
    """Code of the user's raised something other than an error of auxo's, which is its ``__cause__``."""


class DataError(AuxoError):
    """An image, a label, a folder or a table cannot be used."""


class ShapeError(AuxoError):
    """A tensor has the wrong shape, dtype or range."""


class CheckpointError(AuxoError):
    """A checkpoint or run directory is damaged, foreign or missing."""


class OutputError(AuxoError):
    """Something could not be written."""


class DeviceError(AuxoError):
    """A device, port or process group cannot be used."""


class HypergradientError(AuxoError):
    """A two-level problem cannot be differentiated in the way that was asked for."""


class SelectionError(AuxoError):
    """Something other than validation data was offered to choose a checkpoint."""


class NonFiniteError(AuxoError):
    """A loss stopped being a finite number; the last good checkpoint is kept."""

    exit_code = 3


class InterruptedRunError(AuxoError):
    """A signal stopped the run after its state was saved.

    Args:
        expected: see :class:`AuxoError`.
        got: see :class:`AuxoError`.
        fix: see :class:`AuxoError`.
        signal_number: the signal; the exit code is 128 plus it, as shells have it.
    """

    def __init__(self, expected: str, got: str, fix: str, signal_number: int = 2) -> None:
        super().__init__(expected, got, fix)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type[AuxoError], tuple[str | int, ...]]:
        """Keep the signal on the way between processes."""
        return type(self), (self.expected, self.got, self.fix, self.signal_number)
