"""Plugins of this Python environment: found by their packages' metadata, loaded by name. stevedore and pluggy
are imported here and nowhere else in core."""

from safekit.plugins.discovery import PACKAGE_PREFIX, PluginInfo, discover, names
from safekit.plugins.loading import load, load_object
from safekit.plugins.observers import Observers

__all__ = ["PACKAGE_PREFIX", "Observers", "PluginInfo", "discover", "load", "load_object", "names"]
