"""The `load` checker."""

from safekit_checker_load.checker import LoadChecker
from safekit_checker_load.config import LoadConfig

__all__ = ["LoadChecker", "LoadConfig"]
