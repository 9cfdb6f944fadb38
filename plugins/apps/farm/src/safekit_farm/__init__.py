"""The generic application `farm`."""

from safekit_farm.app import FarmApp, FarmConfig

__all__ = ["FarmApp", "FarmConfig"]
