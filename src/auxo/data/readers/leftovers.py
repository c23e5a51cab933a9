"""What file managers, archivers and network drives leave beside images."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

_LEFTOVERS = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),  # Windows Explorer
        *("$recycle.bin", "system volume information"),  # the root of a Windows drive
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS, and archives made there
        *("@eadir", "@tmp", "#recycle", "#snapshot"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
        *("lost+found", "picasa.ini"),  # the root of an ext file system, Picasa
    )
)
_NAMES_SHOWN = 4


def is_leftover(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a program left: it is never an image or a class.

    Args:
        name: of the file or folder itself, without those above.

    Example:
        >>> [is_leftover(name) for name in (".DS_Store", "._cat.jpg", "Thumbs.db", "@eaDir", "cat.jpg")]
        [True, True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in _LEFTOVERS


def describe_leftovers(name: str, skipped: Sequence[str | PurePath]) -> tuple[str, ...]:
    """Return one sentence that counts what was left out of a set by name or ending; none where nothing was.

    Args:
        name: of the set.
        skipped: the files and folders.

    Example:
        >>> describe_leftovers("photos", ["a/Thumbs.db", "b/Thumbs.db", "@eaDir"])
        ("left out 3 files and folders of 'photos' that are no images: Thumbs.db (2), @eaDir",)
        >>> describe_leftovers("photos", ["a/1.heic", "b/2.heic", "notes.txt"])
        ("left out 3 files and folders of 'photos' that are no images: *.heic (2), notes.txt",)
        >>> describe_leftovers("photos", [])
        ()
    """
    names = [PurePath(each).name for each in skipped]
    endings = Counter(map(_find_ending, names))
    counts = Counter(f"*{ending}" if endings[ending := _find_ending(name)] > 1 and ending else name for name in names)
    if not counts:
        return ()
    # repr, but without quotes: a name may have control characters
    shown = [
        repr(each)[1:-1] + (f" ({count})" if count > 1 else "") for each, count in counts.most_common(_NAMES_SHOWN)
    ]
    more = f" and {len(counts) - _NAMES_SHOWN} other names" if len(counts) > _NAMES_SHOWN else ""
    total = counts.total()
    what = "file or folder" if total == 1 else "files and folders"
    is_one = "that is no image" if total == 1 else "that are no images"
    return (f"left out {total} {what} of '{name}' {is_one}: {', '.join(shown)}{more}",)


def _find_ending(name: str) -> str:
    """Return the ending of a file's name; none of what a program left, which is known by its name."""
    return "" if is_leftover(name) else PurePath(name).suffix.lower()
