"""Which auxo, torch and Python made a file."""

import importlib.metadata
import json
import platform
from pathlib import Path

import torch

import auxo


def versions() -> str:
    """Return the versions that matter to an export, in words."""
    commit = source_commit()
    told = f" (commit {commit[:12]})" if commit else " (commit not known)"
    return f"auxo {auxo.__version__}{told}, torch {torch.__version__}, Python {platform.python_version()}"


def source_commit() -> str | None:
    """Return the git commit that this auxo was installed from or is checked out at; ``None`` if neither tells.

    Changes to a checkout since its commit do not show.
    """
    try:
        installed = importlib.metadata.distribution("auxo").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        installed = None
    commit = json.loads(installed or "{}").get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else _read_head(Path(auxo.__file__).parents[2] / ".git")


def _read_head(git: Path) -> str | None:
    """Return the commit that a repository's HEAD names."""
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text(encoding="ascii").strip()
        packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((line.partition(" ")[0] for line in packed if line.endswith(f" {name}")), None)
