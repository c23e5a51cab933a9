"""What a verification finds, one line each."""

from typing import Literal, NamedTuple, TypeAlias

Status: TypeAlias = Literal["equal", "differs", "undecided", "noted"]
"""Equal to the bit; not what the run says it is; not to be decided on this machine; said for the reader alone."""


class Finding(NamedTuple):
    """What was found of one part of a run.

    Args:
        status: whether it is what the run says it is.
        subject: the part, such as a file or a segment.
        text: what was compared, or what differs.
    """

    status: Status
    subject: str
    text: str
