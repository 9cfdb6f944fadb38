"""The `module` checker."""

from safekit_checker_module.checker import ModuleChecker
from safekit_checker_module.config import ModuleConfig

__all__ = ["ModuleChecker", "ModuleConfig"]
