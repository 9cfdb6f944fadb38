"""The application `podman`."""

from safekit_podman.app import PodmanApp
from safekit_podman.config import PodmanConfig

__all__ = ["PodmanApp", "PodmanConfig"]
