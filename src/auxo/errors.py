"""The errors auxo raises on purpose: one line each, saying what was expected, what came and what to do.

AuxoError                 exit code 2
├── ConfigError           an option, recipe or config file that cannot be used
│   ├── OptionError       a value that an option cannot have
│   └── ForeignCodeError  code of the user's that raised an error of its own
├── DataError             an image, label, folder or table that cannot be used
├── ShapeError            a tensor of the wrong shape, type or range
├── CheckpointError       a checkpoint that is damaged, foreign or missing
├── OutputError           a place that cannot be written
├── DeviceError           a device, port or process group that cannot be used
├── HypergradientError    a two-level problem that cannot be differentiated as asked
├── SelectionError        test data offered where only validation data may decide
├── NonFiniteError        exit code 3: a loss that is no longer a number
└── InterruptedRunError   exit code 128 and the signal's number: stopped by it, state saved
"""

from typing import Any

_MOST_LETTERS = 600


class AuxoError(Exception):
    """Base of every deliberate error.

    Args:
        expected: what would have been right.
        got: what came instead.
        fix: what the reader can do about it.

    The message is the one line ``expected …, got …: …``, in which the middle of what is very long is left out.

    Example:
        >>> print(AuxoError("a folder", "'x.txt', a file", "name its folder"))
        expected a folder, got 'x.txt', a file: name its folder
    """

    exit_code = 2

    def __init__(self, expected: str, got: str, fix: str) -> None:
        self.expected = expected
        self.got = got
        self.fix = fix
        super().__init__(f"expected {_shorten_text(expected)}, got {_shorten_text(got)}: {_shorten_text(fix)}")

    def __reduce__(self) -> tuple[type["AuxoError"], tuple[Any, ...]]:
        """Survive the way back from a data-loading worker process."""
        return type(self), (self.expected, self.got, self.fix)


class ConfigError(AuxoError):
    """An option, recipe or config file cannot be used."""


class OptionError(ConfigError):
    """An option has a value that it cannot have.

    What holds the options adds its own name in front, so that the message has the whole path of the option.

    Args:
        option: its name, or the names on the way to it.
        rule: what its values are, such as ``>= 0``.
        got: see :class:`AuxoError`.
        fix: see :class:`AuxoError`.

    Example:
        >>> print(OptionError("max_margin", ">= 0", "-1", "choose a value in that range").under("method", "loss"))
        expected method.loss.max-margin >= 0, got -1: choose a value in that range
    """

    def __init__(self, option: str | tuple[str, ...], rule: str, got: str, fix: str) -> None:
        self.steps = (option,) if isinstance(option, str) else option
        self.rule = rule
        super().__init__(f"{'.'.join(self.steps).replace('_', '-')} {rule}", got, fix)

    def __reduce__(self) -> tuple[type[AuxoError], tuple[Any, ...]]:
        """Keep the way to the option between processes."""
        return type(self), (self.steps, self.rule, self.got, self.fix)

    def under(self, *steps: str) -> "OptionError":
        """Return the error as it is further out, with the names of what holds the options."""
        return OptionError((*steps, *self.steps), self.rule, self.got, self.fix)


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

    def __reduce__(self) -> tuple[type[AuxoError], tuple[Any, ...]]:
        """Keep the signal on the way between processes."""
        return type(self), (self.expected, self.got, self.fix, self.signal_number)


def _shorten_text(text: str) -> str:
    """Return a text without its middle where that is long, as a cell of a table or a word of a command may be."""
    half = _MOST_LETTERS // 2
    return text if len(text) <= _MOST_LETTERS else f"{text[:half]} ... {text[-half:]}"


_SIGNS_OF_FULL_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, of Python or of torch on any device, says that there is no memory left."""
    says_so = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS_OF_FULL_MEMORY)
    return says_so or isinstance(error, MemoryError)
