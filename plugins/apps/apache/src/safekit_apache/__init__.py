"""The application `apache`."""

from safekit_apache.app import ApacheApp
from safekit_apache.config import ApacheConfig

__all__ = ["ApacheApp", "ApacheConfig"]
