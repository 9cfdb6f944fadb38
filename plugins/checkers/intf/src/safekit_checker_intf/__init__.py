"""The `intf` checker."""

from safekit_checker_intf.checker import IntfChecker, IntfConfig

__all__ = ["IntfChecker", "IntfConfig"]
