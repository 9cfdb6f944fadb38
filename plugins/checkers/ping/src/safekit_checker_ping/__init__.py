"""The `ping` checker."""

from safekit_checker_ping.checker import PingChecker, PingConfig

__all__ = ["PingChecker", "PingConfig"]
