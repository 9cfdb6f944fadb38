"""The `errd` checker."""

from safekit_checker_errd.checker import ErrdChecker, ErrdConfig

__all__ = ["ErrdChecker", "ErrdConfig"]
