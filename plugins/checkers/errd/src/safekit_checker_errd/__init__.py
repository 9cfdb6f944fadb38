"""The `errd` checker."""

from safekit_checker_errd.checker import ErrdChecker
from safekit_checker_errd.config import ErrdConfig

__all__ = ["ErrdChecker", "ErrdConfig"]
