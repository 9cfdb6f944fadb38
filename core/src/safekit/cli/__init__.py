"""The command line. Imports are lazy: a command loads only what it uses."""

from safekit.cli.app import main

__all__ = ["main"]
