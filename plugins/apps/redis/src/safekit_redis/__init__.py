"""The application `redis`."""

from safekit_redis.app import RedisApp
from safekit_redis.config import RedisConfig

__all__ = ["RedisApp", "RedisConfig"]
