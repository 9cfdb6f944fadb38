"""Plugins of this Python environment: found by their packages' metadata, loaded by name. stevedore and pluggy
are imported here and nowhere else in core."""

from safekit.plugins.discovery import PACKAGE_PREFIX, PluginInfo, discover, names, readme
from safekit.plugins.loading import RAISED, calling, load, load_object
from safekit.plugins.observers import Observers
from safekit.plugins.sources import declared_api

__all__ = [
    "PACKAGE_PREFIX",
    "RAISED",
    "Observers",
    "PluginInfo",
    "calling",
    "declared_api",
    "discover",
    "load",
    "load_object",
    "names",
    "readme",
]
