"""The `custom` checker."""

from safekit_checker_custom.checker import CustomChecker
from safekit_checker_custom.config import CustomConfig

__all__ = ["CustomChecker", "CustomConfig"]
