"""The application `postgresql`."""

from safekit_postgresql.app import PostgresqlApp
from safekit_postgresql.config import PostgresqlConfig

__all__ = ["PostgresqlApp", "PostgresqlConfig"]
