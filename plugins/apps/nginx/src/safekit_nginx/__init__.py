"""The application `nginx`."""

from safekit_nginx.app import NginxApp
from safekit_nginx.config import NginxConfig

__all__ = ["NginxApp", "NginxConfig"]
