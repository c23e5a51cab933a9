"""The command line. Only this package prints; ``auxo --help`` imports nothing heavy."""

from auxo.cli.entry import main

__all__ = ["main"]
