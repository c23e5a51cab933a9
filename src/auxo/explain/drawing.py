"""One image of an explanation, with the rows of numbers that it can be drawn from again."""

from typing import Any, NamedTuple


class Drawing(NamedTuple):
    """What Grad-CAM or t-SNE found.

    Args:
        rows: one with the settings, then one per image.
        image: as PNG.
        note: a line for the terminal.
    """

    rows: list[dict[str, Any]]
    image: bytes
    note: str
