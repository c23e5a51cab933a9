"""Cells of a CSV that no spreadsheet takes for a formula."""

from pathlib import PurePath

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(value: object) -> object:
    """Return a cell with an apostrophe in front where a spreadsheet would compute its text; numbers stay.

    See https://owasp.org/www-community/attacks/CSV_Injection.

    Example:
        >>> safe_cell("=1+1"), safe_cell("-x.png"), safe_cell("-0.5"), safe_cell("cat")
        ("'=1+1", "'-x.png", '-0.5', 'cat')
    """
    text = str(value) if isinstance(value, str | PurePath) else ""
    if not text.startswith(_FORMULA):
        return value
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return value
