"""The application `mariadb`."""

from safekit_mariadb.app import MariadbApp
from safekit_mariadb.config import MariadbConfig

__all__ = ["MariadbApp", "MariadbConfig"]
