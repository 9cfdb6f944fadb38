"""The `http` checker."""

from safekit_checker_http.checker import HttpChecker
from safekit_checker_http.config import HttpConfig

__all__ = ["HttpChecker", "HttpConfig"]
