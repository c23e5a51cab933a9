"""Whether a folder is a run directory, told without importing torch."""

from pathlib import Path

from auxo.errors import ConfigError


def require_run(folder: Path) -> Path:
    """Return the path of a run's config.

    Raises:
        ConfigError: the folder is no run directory.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"a run directory at {folder}", "no config.json there", "name a folder under runs/")
    return path
