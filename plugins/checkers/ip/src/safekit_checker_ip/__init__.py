"""The `ip` checker."""

from safekit_checker_ip.checker import IpChecker
from safekit_checker_ip.config import IpConfig

__all__ = ["IpChecker", "IpConfig"]
