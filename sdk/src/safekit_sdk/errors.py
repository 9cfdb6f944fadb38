"""One error root; each class is named by who must act."""

from __future__ import annotations


class SafekitError(Exception):
    """What went wrong, where, and what to do about it."""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        located = f"{self.where}: {self.message}" if self.where else self.message
        return f"{located}\n  to do: {self.hint}" if self.hint else located


class ConfigError(SafekitError):
    """The operator must change a setting, a file or the machine."""


class PluginError(SafekitError):
    """The plugin's author must act."""


class PeerError(SafekitError):
    """Another node is unreachable, or refuses."""


class RefusedError(SafekitError):
    """Done as asked, it could lose data or run a module twice."""


class InternalError(SafekitError):
    """We must act: a defect of the framework itself."""
