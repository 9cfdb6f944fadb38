"""The `disk` checker."""

from safekit_checker_disk.checker import DiskChecker
from safekit_checker_disk.config import DiskConfig

__all__ = ["DiskChecker", "DiskConfig"]
