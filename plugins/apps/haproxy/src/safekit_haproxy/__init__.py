"""The application `haproxy`."""

from safekit_haproxy.app import HaproxyApp
from safekit_haproxy.config import HaproxyConfig

__all__ = ["HaproxyApp", "HaproxyConfig"]
