"""Text as a terminal may have it."""

import re
import sys

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_controls(text: str) -> str:
    r"""Return text whose control characters are spelled out, so that no name of a file moves the cursor.

    Lines and tabs stay. Marks that turn the direction of writing, and bytes of a name that are no UTF-8, are spelled,
    too.

    Example:
        >>> print(escape_controls("a\x1b[2Jb"))
        a\x1b[2Jb
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str = "", *, end: str = "\n", is_error: bool = False, flush: bool = False) -> None:
    """Print text, on standard error if it is one, with its control characters spelled out."""
    print(escape_controls(text), end=end, file=sys.stderr if is_error else sys.stdout, flush=flush)
