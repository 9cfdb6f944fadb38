"""The generic application `mirror`."""

from safekit_mirror.app import MirrorApp, MirrorConfig

__all__ = ["MirrorApp", "MirrorConfig"]
