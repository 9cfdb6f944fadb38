"""The `nagios` checker."""

from safekit_checker_nagios.checker import NagiosChecker
from safekit_checker_nagios.config import NagiosConfig

__all__ = ["NagiosChecker", "NagiosConfig"]
