"""The `tcp` checker."""

from safekit_checker_tcp.checker import TcpChecker, TcpConfig

__all__ = ["TcpChecker", "TcpConfig"]
